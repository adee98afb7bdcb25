/** @file Which positions of a run are padding: what an attention mask says, and which outputs have a place for each position. */
import { dtypeInfo } from "../tensor/dtype.ts";
import { type HostTensor, numbersOf } from "../tensor/host-tensor.ts";
import { elementCount } from "../tensor/tensor.ts";

/** Input names of exporters: transformers' own, BERT's from TensorFlow, and both as its servings spell them. */
const maskNames = /^(?:serving_default_)?(?:attention|input)_mask(?::0)?$/;

/** Whether an input of this name and rank is a mask over [batch, sequence]. */
export function isAttentionMask(name: string, dtype: HostTensor["dtype"], rank: number): boolean {
  const { kind } = dtypeInfo(dtype);
  return maskNames.test(name) && rank === 2 && (kind === "int" || kind === "uint" || kind === "bool");
}

/** The mask of one run. */
export interface Padding {
  readonly name: string;
  /** [batch, sequence]. */
  readonly dims: readonly number[];
  /** 1 for each position that counts. */
  readonly real: ArrayLike<number>;
  /** Positions that do not. */
  readonly count: number;
}

/** What the inputs say of padding; undefined where they say nothing, or that there is none. */
export function paddingOf(inputs: Readonly<Record<string, HostTensor>>): Padding | undefined {
  for (const [name, tensor] of Object.entries(inputs)) {
    if (!isAttentionMask(name, tensor.dtype, tensor.dims.length)) continue;
    const real = numbersOf(tensor, `input "${name}"`);
    let count = 0;
    for (let i = 0; i < real.length; i++) {
      if (real[i] !== 0 && real[i] !== 1) return undefined;
      if (real[i] === 0) count++;
    }
    return count > 0 ? { name, dims: tensor.dims, real, count } : undefined;
  }
  return undefined;
}

/** What is known of a value's axes: whether they are [batch, sequence, …], or both joined to one, [batch · sequence, …]. */
export type Positions = boolean | "joined" | undefined;

/**
 * Whether a value has a place for each position: [batch, sequence, …], or both axes joined. Sizes alone show it from three axes on: [batch, hidden] may be as long as the sequence by chance.
 * @param known what the model says of it, where it does
 */
export function hasPositions(
  dims: readonly number[],
  { dims: [batch, sequence], real }: Padding,
  known?: Positions,
): boolean {
  if (known === "joined") return dims[0] === real.length;
  if (known === false || dims[0] !== batch || dims[1] !== sequence) return false;
  return known === true || dims.length >= 3;
}

/** Calls `visit` with the ranges of elements that count, of a value with a place for each position. */
export function eachReal(dims: readonly number[], { real }: Padding, visit: (from: number, to: number) => void): void {
  const inner = elementCount(dims) / real.length;
  for (let position = 0; position < real.length; position++)
    if (real[position] === 1) visit(position * inner, (position + 1) * inner);
}
