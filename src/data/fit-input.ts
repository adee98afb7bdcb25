/** @file Fits what a data source holds to what a model declares: names, element type, rank and dims. */
import { type DType, dtypeInfo } from "../tensor/dtype.ts";
import { describeTensor, type HostTensor, hostTensor, numbersOf } from "../tensor/host-tensor.ts";
import { TersorError } from "../util/errors.ts";

/** An input as the model declares it. */
export interface InputInfo {
  readonly name: string;
  readonly dtype: DType;
  /** A number where fixed, a name where symbolic, null where unknown. Empty for a scalar and where the rank is unknown. */
  readonly dims: readonly (number | string | null)[];
}

/**
 * A sample's inputs in the model's types, with the batch axis in front.
 * @throws bad-data, opening with `subject`, for a missing or unknown input, a rank or dim that the model does not
 * take, and values that its type cannot hold.
 */
export function fitInputs(
  given: Readonly<Record<string, HostTensor>>,
  wanted: readonly InputInfo[],
  subject: string,
): Record<string, HostTensor> {
  const names = wanted.map((input) => input.name);
  const unknown = Object.keys(given).filter((name) => !names.includes(name));
  const missing = names.filter((name) => !Object.hasOwn(given, name));
  if (unknown.length > 0 || missing.length > 0)
    throw new TersorError(
      "bad-data",
      `${subject}: wrong inputs: expected ${list(names)}, got ${list(Object.keys(given))}. Name the values as the model's inputs are named.`,
    );
  return Object.fromEntries(
    wanted.map((input) => [input.name, fitInput(given[input.name] as HostTensor, input, subject)]),
  );
}

/** One input in the model's type and rank. @throws bad-data as {@link fitInputs}. */
export function fitInput(given: HostTensor, wanted: InputInfo, subject: string): HostTensor {
  const about = `${subject}: input "${wanted.name}"`;
  return convert(fitDims(given, wanted, about), wanted.dtype, about);
}

/** The only input of a model. @throws bad-data when it has several; `subject` opens the message. */
export function onlyInput(inputs: readonly InputInfo[], subject: string): InputInfo {
  const [input] = inputs;
  if (input && inputs.length === 1) return input;
  throw new TersorError(
    "bad-data",
    `${subject}: expected a model with one input, got ${list(inputs.map((each) => each.name))}. Name the input that each value belongs to.`,
  );
}

function fitDims(given: HostTensor, wanted: InputInfo, subject: string): HostTensor {
  const { dims } = wanted;
  if (dims.length === 0) return given;
  const batched = given.dims.length === dims.length - 1 ? { ...given, dims: [1, ...given.dims] } : given;
  // A fixed batch is met by joining samples: each has one row, or as many as the model wants.
  const fits = (dim: number | string | null, axis: number) =>
    typeof dim !== "number" || dim === batched.dims[axis] || (axis === 0 && batched.dims[0] === 1);
  if (batched.dims.length === dims.length && dims.every(fits)) return batched;
  throw new TersorError(
    "bad-data",
    `${subject}: wrong shape: expected ${shapeText(wanted)}, got ${describeTensor(given)}. The first axis is the batch; a sample may leave it out.`,
  );
}

/** Dims as messages spell them: `float32 [N, 3, 32, 32]`. */
export function shapeText({ dtype, dims }: InputInfo): string {
  return `${dtype} [${dims.map((dim) => dim ?? "?").join(", ")}]`;
}

/**
 * A tensor in another element type, when no value is lost but float precision.
 * @throws bad-data for a fraction, NaN or an out-of-range number in an integer type, and between text and numbers.
 */
export function convert(tensor: HostTensor, dtype: DType, subject: string): HostTensor {
  if (tensor.dtype === dtype) return tensor;
  if (dtype === "string")
    throw new TersorError("bad-data", `${subject}: expected text, got ${describeTensor(tensor)}.`);
  const numbers = numbersOf(tensor, subject);
  checkRange(numbers, dtype, subject);
  return hostTensor(dtype, tensor.dims, numbers);
}

/** Largest finite values; what rounds to more becomes infinite. */
const largest: { readonly [dtype in DType]?: number } = { float32: 3.4028235677973366e38, float16: 65519.99 };

function checkRange(numbers: ArrayLike<number>, dtype: DType, subject: string): void {
  const { kind, range } = dtypeInfo(dtype);
  const most = largest[dtype];
  for (let i = 0; most !== undefined && i < numbers.length; i++) {
    const size = Math.abs(numbers[i] as number);
    if (size > most && size < Number.POSITIVE_INFINITY)
      throw new TersorError(
        "bad-data",
        `${subject}: element ${i} does not fit the model's type: expected ${dtype}, got ${numbers[i]}.`,
      );
  }
  if (kind !== "int" && kind !== "uint") return;
  const [low, high] = range ?? [kind === "uint" ? 0 : Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];
  for (let i = 0; i < numbers.length; i++) {
    const value = numbers[i] as number;
    if (Number.isInteger(value) && value >= low && value <= high) continue;
    throw new TersorError(
      "bad-data",
      `${subject}: element ${i} does not fit the model's type: expected ${dtype}, got ${value}.`,
    );
  }
}

function list(names: readonly string[]): string {
  return names.length === 0 ? "none" : names.map((name) => `"${name}"`).join(", ");
}
