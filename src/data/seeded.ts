/** @file Made-up inputs of the declared shapes, for when there is no data: enough to run, not to judge accuracy. */
import { dtypeInfo } from "../tensor/dtype.ts";
import { type HostTensor, hostTensor } from "../tensor/host-tensor.ts";
import { elementCount } from "../tensor/tensor.ts";
import { TersorError } from "../util/errors.ts";
import { own } from "../util/own.ts";
import { Rng } from "../util/rng.ts";
import { type IndexedDataset, indexedDataset } from "./dataset.ts";
import { convert, type InputInfo } from "./fit-input.ts";
import { dataLimits } from "./limits.ts";

export interface SeededOptions {
  readonly seed?: number;
  /** Samples. 8 when absent. */
  readonly count?: number;
  /** Sizes of symbolic dims, by their name. */
  readonly dims?: Readonly<Record<string, number>>;
  /** Range of an integer input, inclusive, by its name: [0, vocabulary − 1] for token ids. */
  readonly ranges?: Readonly<Record<string, readonly [number, number]>>;
}

interface Filling {
  readonly name: RegExp;
  fill(count: number): ArrayLike<number>;
}

/** Inputs whose values are not free. */
const fillings: readonly Filling[] = [
  { name: /attention_mask$/, fill: (count) => new Float64Array(count).fill(1) },
  { name: /^token_type_ids$/, fill: (count) => new Float64Array(count) },
  { name: /^position_ids$/, fill: (count) => Float64Array.from({ length: count }, (_, i) => i) },
  { name: /^use_cache_branch$/, fill: (count) => new Float64Array(count) },
];

/** Sizes of dims that are not fixed: batch 1, no past tokens, 64 pixels, 16 of anything else. */
const batch = 1;
const imageSide = 64;
const length = 16;
/** Integers without a given range stay small: an index must lie within a table that is not known here. */
const smallIntegers = [0, 9] as const;

/**
 * Samples from a seed alone: standard normal floats, uniform integers, true and false evenly. The same seed gives the
 * same values on every machine and in any order.
 */
export function seededDataset(inputs: readonly InputInfo[], options: SeededOptions = {}): IndexedDataset {
  const { seed = 0, count = 8 } = options;
  checkSizes(inputs, options);
  return indexedDataset({
    name: `made-up inputs (seed ${seed})`,
    size: count,
    synthetic: true,
    at: (index) => ({
      id: `seed ${seed} #${index}`,
      inputs: Object.fromEntries(
        inputs.map((input) => [input.name, seededTensor(input, new Rng(seed, `${input.name}#${index}`), options)]),
      ),
    }),
  });
}

/** Sizes of an input, with those that the model leaves open. */
function sizesOf(input: InputInfo, { dims: sizes = {} }: SeededOptions): number[] {
  return input.dims.map((dim, axis) => {
    if (typeof dim === "number") return dim;
    const sizeOf = (name: string) => own(sizes, name) ?? defaultSize(name, axis, input.dims.length);
    return dim !== null && Object.hasOwn(sizes, dim) ? sizeOf(dim) : sumOf(dim ?? "", sizeOf);
  });
}

/** @throws limit-exceeded for inputs that no memory holds */
function checkSizes(inputs: readonly InputInfo[], options: SeededOptions): void {
  let numbers = 0;
  for (const input of inputs) {
    const dims = sizesOf(input, options);
    numbers += dims.reduce((product, dim) => product * dim, 1);
    if (numbers > dataLimits.madeUpNumbers)
      throw new TersorError(
        "limit-exceeded",
        `input "${input.name}": [${dims}] is too much to make up: expected at most ${dataLimits.madeUpNumbers} numbers in all inputs, got ${numbers}. Give smaller sizes with --shapes where the model leaves them open, or real samples with --data.`,
      );
  }
}

function seededTensor(input: InputInfo, random: Rng, options: SeededOptions): HostTensor {
  const { ranges = {} } = options;
  const dims = sizesOf(input, options);
  const count = elementCount(dims);
  const { kind, range: all } = dtypeInfo(input.dtype);
  if (kind === "string") return { dtype: "string", dims, data: Array<string>(count).fill("text") };
  const filling = fillings.find(({ name }) => name.test(input.name));
  if (filling) return convert(hostTensor("float64", dims, filling.fill(count)), input.dtype, `input "${input.name}"`);
  if (kind === "float")
    return hostTensor(
      input.dtype,
      dims,
      draw(count, () => random.normal()),
    );
  if (kind === "bool")
    return hostTensor(
      "bool",
      dims,
      draw(count, () => random.int(2)),
    );
  const isPixels = all !== undefined && all[1] - all[0] === 255;
  const [low, high] = own(ranges, input.name) ?? (isPixels ? all : smallIntegers);
  return hostTensor(
    input.dtype,
    dims,
    draw(count, () => low + random.int(high - low + 1)),
  );
}

function draw(count: number, next: () => number): Float64Array {
  const values = new Float64Array(count);
  for (let i = 0; i < count; i++) values[i] = next();
  return values;
}

/** Exporters name derived dims by their formula: `past_sequence_length + 1`. */
function sumOf(formula: string, sizeOf: (name: string) => number): number {
  const terms = formula.split("+").map((term) => term.trim());
  return terms.reduce((sum, term) => sum + (/^\d+$/.test(term) ? Number(term) : sizeOf(term)), 0);
}

function defaultSize(name: string, axis: number, rank: number): number {
  if (axis === 0 || /batch/i.test(name)) return batch;
  if (/past/i.test(name)) return 0;
  return rank === 4 ? imageSide : length;
}
