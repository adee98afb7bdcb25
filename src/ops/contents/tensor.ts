/** @file Small tensors whose elements are known at least in part: making, reading and indexing them. */
import type { Dim, Shape } from "../../ir/types.ts";
import { type DType, dtypeInfo } from "../../tensor/dtype.ts";
import { elementCount, type Tensor } from "../../tensor/tensor.ts";
import type { Contents } from "../shapes/call.ts";
import { floorDim } from "../symbolic/dim.ts";

/** Tensors with more elements are not followed. */
export const contentsLimit = 1024;

/** Contents of these elements, undefined when there are too many or none is known. */
export function contentsOf(dtype: DType, dims: readonly number[], values: readonly Dim[]): Contents | undefined {
  if (values.length > contentsLimit || values.length !== elementCount(dims)) return undefined;
  if (values.length > 0 && values.every((value) => value === null)) return undefined;
  return { dtype, dims, values };
}

/** The elements of a constant, when it is small and numeric. Reads the tensor's bytes. */
export function contentsOfTensor(tensor: Tensor): Contents | undefined {
  const { kind } = dtypeInfo(tensor.dtype);
  if (tensor.size > contentsLimit || kind === "string" || kind === "complex") return undefined;
  const bound = Number.MAX_SAFE_INTEGER;
  const saturates = kind === "int" || kind === "uint";
  const values = Array.from(tensor.toNumbers(), (x): Dim => {
    if (saturates) return Math.min(bound, Math.max(-bound, x));
    return Number.isFinite(x) ? x : null;
  });
  return contentsOf(tensor.dtype, tensor.dims, values);
}

/** An element as its type can hold it: integers cut off, null when out of range or not exact. */
export function fitted(dtype: DType, value: Dim): Dim {
  const { kind, range, bits } = dtypeInfo(dtype);
  if (kind === "float") {
    if (typeof value !== "number" || bits === 64) return value;
    return bits === 32 ? Math.fround(value) : Number.isInteger(value) && Math.abs(value) <= 256 ? value : null;
  }
  if (typeof value !== "number") return value;
  if (kind === "bool") return value === 0 ? 0 : 1;
  const whole = Math.trunc(value);
  const [low, high] = range ?? [kind === "uint" ? 0 : -Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER];
  return whole >= low && whole <= high ? whole + 0 : null;
}

/** An element converted from one type to another. A symbolic fraction is cut off: sizes are not negative. */
export function converted(from: DType, to: DType, value: Dim): Dim {
  if (typeof value === "number") return fitted(to, value);
  const target = dtypeInfo(to).kind;
  if (value === null || target === "bool") return null;
  return dtypeInfo(from).kind === "float" && target !== "float" ? floorDim(value) : value;
}

/** Row-major strides. */
export function stridesOf(dims: readonly number[]): number[] {
  const strides = new Array<number>(dims.length).fill(1);
  for (let i = dims.length - 2; i >= 0; i--) strides[i] = (strides[i + 1] ?? 1) * (dims[i + 1] ?? 1);
  return strides;
}

/** Calls `visit` with every index of a tensor, row-major; undefined when it has too many elements. */
export function build<T>(dims: readonly number[], visit: (index: readonly number[]) => T): T[] | undefined {
  const count = elementCount(dims);
  if (count > contentsLimit) return undefined;
  const index = new Array<number>(dims.length).fill(0);
  return Array.from({ length: count }, () => {
    const item = visit(index);
    for (let axis = dims.length - 1; axis >= 0; axis--) {
      index[axis] = (index[axis] ?? 0) + 1;
      if ((index[axis] ?? 0) < (dims[axis] ?? 0)) break;
      index[axis] = 0;
    }
    return item;
  });
}

/** The element at an index; along dims of size 1 the index is ignored (broadcasting), from the last axis on. */
export function at(contents: Contents, index: readonly number[]): Dim {
  const { dims, values } = contents;
  let flat = 0;
  for (const [axis, dim] of dims.entries()) {
    const i = index[index.length - dims.length + axis] ?? 0;
    flat = flat * dim + (dim === 1 ? 0 : i);
  }
  return values[flat] ?? null;
}

/** The numbers of a shape without symbols. */
export function numericShape(shape: Shape | undefined): readonly number[] | undefined {
  return shape?.every((dim) => typeof dim === "number") ? shape : undefined;
}
