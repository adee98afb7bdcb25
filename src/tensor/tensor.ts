/** @file Tensor: an element type, dims, and bytes that may still lie in a file. */
import { type ByteSource, MemorySource, readAll } from "../util/bytes.ts";
import { invariant, TersorError } from "../util/errors.ts";
import { byteSize, type DType, dtypeInfo } from "./dtype.ts";
import { bfloatToFloat, floatToBfloat, floatToHalf, halfToFloat } from "./half.ts";
import { decodeFloat8, unpackBits } from "./pack.ts";

export type TypedArray =
  | Float32Array
  | Float64Array
  | Int8Array
  | Int16Array
  | Int32Array
  | BigInt64Array
  | Uint8Array
  | Uint16Array
  | Uint32Array
  | BigUint64Array;

/**
 * An immutable tensor. `bytes` holds the elements little-endian and row-major, packed as ONNX' raw_data; it may be a
 * lazy range of a file or a computation. Strings are kept apart, as UTF-8, in `strings`.
 */
export class Tensor {
  readonly dtype: DType;
  readonly dims: readonly number[];
  readonly bytes: ByteSource;
  readonly strings: readonly Uint8Array[] | undefined;

  /** @throws shape-mismatch when `bytes` is not exactly as long as dims and dtype say. */
  constructor(dtype: DType, dims: readonly number[], bytes: ByteSource, strings?: readonly Uint8Array[]) {
    const expected = dtype === "string" ? 0 : byteSize(dtype, elementCount(dims));
    if (bytes.byteLength !== expected)
      throw new TersorError(
        "shape-mismatch",
        `tensor ${dtype} [${dims}]: wrong number of bytes: expected ${expected}, got ${bytes.byteLength}.`,
      );
    this.dtype = dtype;
    this.dims = dims;
    this.bytes = bytes;
    this.strings = strings;
  }

  /** Number of elements. */
  get size(): number {
    return elementCount(this.dims);
  }

  /** Bytes of the elements in raw_data form. */
  get byteLength(): number {
    return this.bytes.byteLength;
  }

  /**
   * The elements as the typed array of their own width: 16-bit floats as Uint16Array bits, 8-bit floats and bool as
   * Uint8Array, packed types still packed as Uint8Array. Reads all bytes; may alias the tensor's memory.
   */
  toTypedArray(): TypedArray {
    return viewAs(this.dtype, readAll(this.bytes));
  }

  /** The elements as numbers, whatever the type (64-bit integers lose precision beyond 2^53). @throws bad-data for strings and complex. */
  toNumbers(): Float64Array {
    return new Float64Array(this.#numeric());
  }

  /** The elements as float32. Float32 tensors may alias the tensor's memory. @throws bad-data for strings and complex. */
  toFloat32(): Float32Array {
    const numeric = this.#numeric();
    return numeric instanceof Float32Array ? numeric : new Float32Array(numeric);
  }

  #numeric(): ArrayLike<number> {
    const array = this.toTypedArray();
    const { kind, bits } = dtypeInfo(this.dtype);
    if (kind === "string" || kind === "complex")
      throw new TersorError("bad-data", `tensor ${this.dtype} [${this.dims}]: expected numbers, got ${this.dtype}.`);
    if (array instanceof BigInt64Array || array instanceof BigUint64Array)
      return Float64Array.from({ length: array.length }, (_, i) => Number(array[i]));
    if (bits < 8) return unpackBits(array as Uint8Array, this.dtype, this.size);
    if (this.dtype === "float16") return Float32Array.from(array, halfToFloat);
    if (this.dtype === "bfloat16") return Float32Array.from(array, bfloatToFloat);
    if (kind === "float" && bits === 8) return Float32Array.from(array, (code) => decodeFloat8(this.dtype, code));
    return array;
  }
}

/** A float32 tensor over an array (not copied). */
export function float32(dims: readonly number[], data: Float32Array | readonly number[]): Tensor {
  return fromTypedArray("float32", dims, data instanceof Float32Array ? data : Float32Array.from(data));
}

/** An int64 tensor from numbers. */
export function int64(dims: readonly number[], data: readonly (number | bigint)[]): Tensor {
  return fromTypedArray("int64", dims, BigInt64Array.from(data, BigInt));
}

/** A tensor over a typed array of the element type's own width (not copied; see {@link Tensor.toTypedArray}). */
export function fromTypedArray(dtype: DType, dims: readonly number[], data: TypedArray): Tensor {
  return new Tensor(dtype, dims, new MemorySource(new Uint8Array(data.buffer, data.byteOffset, data.byteLength)));
}

/** A tensor of a numeric type from plain numbers, converted (16-bit floats round to nearest even). Not for packed or 8-bit floats. */
export function fromNumbers(dtype: DType, dims: readonly number[], data: ArrayLike<number>): Tensor {
  const convert = converters[dtype];
  invariant(convert, `no conversion from numbers to ${dtype}`);
  return fromTypedArray(dtype, dims, convert(data));
}

/** A tensor of strings. */
export function stringTensor(dims: readonly number[], strings: readonly Uint8Array[]): Tensor {
  return new Tensor("string", dims, new MemorySource(new Uint8Array(0)), strings);
}

const converters: { readonly [dtype in DType]?: (data: ArrayLike<number>) => TypedArray } = {
  float32: (data) => Float32Array.from(data),
  float64: (data) => Float64Array.from(data),
  float16: (data) => Uint16Array.from(data, floatToHalf),
  bfloat16: (data) => Uint16Array.from(data, floatToBfloat),
  int8: (data) => Int8Array.from(data),
  int16: (data) => Int16Array.from(data),
  int32: (data) => Int32Array.from(data),
  int64: (data) => BigInt64Array.from({ length: data.length }, (_, i) => BigInt(Math.trunc(data[i] as number))),
  uint8: (data) => Uint8Array.from(data),
  uint16: (data) => Uint16Array.from(data),
  uint32: (data) => Uint32Array.from(data),
  uint64: (data) => BigUint64Array.from({ length: data.length }, (_, i) => BigInt(Math.trunc(data[i] as number))),
  bool: (data) => Uint8Array.from(data, (x) => (x ? 1 : 0)),
};

/** Number of elements of a shape; 1 for a scalar. */
export function elementCount(dims: readonly number[]): number {
  let count = 1;
  for (const dim of dims) count *= dim;
  return count;
}

/** Views raw bytes as the typed array of a dtype's width, copying only when they are not aligned. */
export function viewAs(dtype: DType, bytes: Uint8Array): TypedArray {
  const { bits, kind } = dtypeInfo(dtype);
  const width = kind === "complex" ? bits / 16 : Math.max(1, bits / 8);
  const aligned = bytes.byteOffset % width === 0 ? bytes : new Uint8Array(bytes); // a Buffer's slice() would not copy
  const View = arrayTypes[`${kind}${bits}`] ?? Uint8Array;
  return new View(aligned.buffer as ArrayBuffer, aligned.byteOffset, aligned.byteLength / width);
}

type ArrayConstructor = new (buffer: ArrayBuffer, offset: number, length: number) => TypedArray;
const arrayTypes: Readonly<Record<string, ArrayConstructor>> = {
  float32: Float32Array,
  float64: Float64Array,
  float16: Uint16Array,
  complex64: Float32Array,
  complex128: Float64Array,
  int8: Int8Array,
  int16: Int16Array,
  int32: Int32Array,
  int64: BigInt64Array,
  uint16: Uint16Array,
  uint32: Uint32Array,
  uint64: BigUint64Array,
};
