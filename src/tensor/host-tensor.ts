/** @file HostTensor: a tensor in this program's memory, as data sources give it, runtimes take it and metrics read it. */
import { TersorError } from "../util/errors.ts";
import { type DType, dtypeInfo } from "./dtype.ts";
import { elementCount, fromNumbers, fromTypedArray, type TypedArray } from "./tensor.ts";

/**
 * `data` is row-major, as the typed array of the type's own width (16-bit floats as bits in a Uint16Array, bool as
 * Uint8Array, 4-bit integers packed low nibble first in a Uint8Array), or strings for dtype "string".
 */
export interface HostTensor {
  readonly dtype: DType;
  readonly dims: readonly number[];
  readonly data: TypedArray | string[];
}

/** A host tensor from plain numbers, converted to the type (16-bit floats round to nearest even, integers truncate). */
export function hostTensor(dtype: DType, dims: readonly number[], data: ArrayLike<number>): HostTensor {
  return { dtype, dims, data: fromNumbers(dtype, dims, data).toTypedArray() };
}

/**
 * The elements as numbers, whatever the type (64-bit integers lose precision beyond 2^53). Aliases the tensor's memory
 * where it already holds numbers. @throws bad-data for strings and complex; `subject` opens the message.
 */
export function numbersOf(tensor: HostTensor, subject: string): ArrayLike<number> {
  const { dtype, dims, data } = tensor;
  const { kind, bits } = dtypeInfo(dtype);
  if (kind === "string" || kind === "complex" || Array.isArray(data))
    throw new TersorError("bad-data", `${subject}: expected a tensor of numbers, got ${dtype} [${dims}].`);
  const isDirect = kind === "float" ? bits >= 32 : bits >= 8;
  if (isDirect && !(data instanceof BigInt64Array || data instanceof BigUint64Array)) return data;
  return fromTypedArray(dtype, dims, data).toNumbers();
}

/** `dtype [dims]`, as messages spell a tensor. */
export function describeTensor(tensor: { readonly dtype: DType; readonly dims: readonly number[] }): string {
  return `${tensor.dtype} [${tensor.dims.join(", ")}]`;
}

/** Elements `index` of axis 0, as a view of the same memory with a leading dim of 1. `tensor` must have a rank of at least 1. */
export function rowOf(tensor: HostTensor, index: number): HostTensor {
  const dims = [1, ...tensor.dims.slice(1)];
  const step = elementCount(dims);
  const { data } = tensor;
  const start = index * step;
  const row = Array.isArray(data) ? data.slice(start, start + step) : data.subarray(start, start + step);
  return { dtype: tensor.dtype, dims, data: row };
}
