/** @file Samples from plain values, as JSON or a module gives them: nested arrays, typed arrays or tensors. */
import type { DType } from "../tensor/dtype.ts";
import { type HostTensor, hostTensor } from "../tensor/host-tensor.ts";
import { elementCount } from "../tensor/tensor.ts";
import { TersorError } from "../util/errors.ts";
import type { Label } from "./dataset.ts";
import { convert, fitInputs, type InputInfo } from "./fit-input.ts";
import { parseLabel } from "./labels.ts";

/** A sample's inputs from JSON or from a module: nested arrays, typed arrays or tensors, by name. */
export function inputsFrom(values: Readonly<Record<string, unknown>>, inputs: readonly InputInfo[], subject: string) {
  const given = Object.entries(values).map(([name, value]) => {
    const wanted = inputs.find((input) => input.name === name);
    return [name, wanted ? tensorFrom(value, wanted, subject) : hostTensor("float32", [0], [])] as const;
  });
  return fitInputs(Object.fromEntries(given), inputs, subject);
}

/** A label from JSON or from a module; an array is one value per element, int64 where all are whole. */
export function labelFrom(value: unknown, classes: readonly string[] | undefined, subject: string): Label {
  if (typeof value === "string" || typeof value === "number") return parseLabel(value, classes, subject);
  if (isHostTensor(value)) return value;
  const wanted = (dtype: "float32" | "int64"): InputInfo => ({ name: "label", dtype, dims: [] });
  const floats = tensorFrom(value, wanted("float32"), subject);
  return (floats.data as Float32Array).every(Number.isInteger) ? tensorFrom(value, wanted("int64"), subject) : floats;
}

function isHostTensor(value: unknown): value is HostTensor {
  return typeof value === "object" && value !== null && "dtype" in value && "dims" in value && "data" in value;
}

/**
 * A tensor from what JSON or a module gives: a number, nested arrays, `{ data, dims }`, or a typed array (then of the
 * wanted type; flat, so `dims` are the model's where they are fixed).
 */
function tensorFrom(value: unknown, wanted: InputInfo, subject: string): HostTensor {
  const about = `${subject}: input "${wanted.name}"`;
  if (isTensorLike(value)) {
    const flat = flatten(value.data, about);
    const { dtype, data } = typed(value.data, value.dtype, flat.values, wanted, value.dims, about);
    return { dtype, dims: value.dims, data };
  }
  const { values, dims } = flatten(value, about);
  const shape = dims.length === 1 ? flatShape(values.length, wanted) : dims;
  return typed(value, undefined, values, wanted, shape, about);
}

function typed(
  source: unknown,
  dtype: DType | undefined,
  values: readonly unknown[] | ArrayLike<number | bigint>,
  wanted: InputInfo,
  dims: readonly number[],
  subject: string,
): HostTensor {
  if (elementCount(dims) !== values.length)
    throw new TersorError(
      "bad-data",
      `${subject}: dims do not fit the data: expected ${elementCount(dims)} elements for [${dims}], got ${values.length}.`,
    );
  if (dtype !== undefined && ArrayBuffer.isView(source))
    return { dtype, dims, data: source as HostTensor["data"] & object };
  if (wanted.dtype === "string") return { dtype: "string", dims, data: Array.from(values, String) };
  const numbers = Float64Array.from(values as ArrayLike<number | bigint>, Number);
  return convert({ dtype: "float64", dims, data: numbers }, wanted.dtype, subject);
}

/** A flat array for a model of higher rank gets its dims, where at most one behind the batch is free. */
function flatShape(length: number, { dims }: InputInfo): readonly number[] {
  const rest = dims.slice(1);
  const fixed = rest.reduce<number>((product, dim) => (typeof dim === "number" ? product * dim : product), 1);
  const free = rest.filter((dim) => typeof dim !== "number").length;
  if (dims.length < 2 || free > 1 || fixed === 0) return [length];
  const open = length / fixed;
  if (!Number.isInteger(open) || (free === 0 && open !== 1)) return [length];
  return [1, ...rest.map((dim) => (typeof dim === "number" ? dim : open))];
}

interface TensorLike {
  readonly data: unknown;
  readonly dims: readonly number[];
  readonly dtype?: DType;
}

function isTensorLike(value: unknown): value is TensorLike {
  return typeof value === "object" && value !== null && "data" in value && "dims" in value && Array.isArray(value.dims);
}

/** Dims of one tensor, as in models. */
const RANK = 64;

function flatten(value: unknown, subject: string): { values: unknown[] | ArrayLike<number>; dims: number[] } {
  if (ArrayBuffer.isView(value) && !(value instanceof DataView)) {
    const array = value as unknown as ArrayLike<number>;
    return { values: array, dims: [array.length] };
  }
  const dims: number[] = [];
  for (let level = value; Array.isArray(level) && dims.length <= RANK; level = level[0]) dims.push(level.length);
  if (dims.length > RANK)
    throw new TersorError("bad-data", `${subject}: expected at most ${RANK} dims, got arrays nested deeper.`);
  const values = dims.length > 1 ? (value as unknown[]).flat(dims.length - 1) : Array.isArray(value) ? value : [value];
  const scalar = (each: unknown) => ["number", "boolean", "bigint", "string"].includes(typeof each);
  if (values.length !== elementCount(dims) || !values.every(scalar) || !isRectangular(value, dims))
    throw new TersorError(
      "bad-data",
      `${subject}: expected a number or nested arrays of equal length, got something else.`,
    );
  return { values, dims };
}

function isRectangular(value: unknown, dims: readonly number[]): boolean {
  if (dims.length === 0) return !Array.isArray(value);
  return Array.isArray(value) && value.length === dims[0] && value.every((part) => isRectangular(part, dims.slice(1)));
}
