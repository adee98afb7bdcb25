/** @file Takes indices out of tensors; what is left is copied when it is written. */
import { dtypeInfo } from "../tensor/dtype.ts";
import { elementCount, Tensor } from "../tensor/tensor.ts";
import { ComputedSource, readAll } from "../util/bytes.ts";

/** The tensor at these indices of every axis (undefined: all of it). For types of whole bytes. */
export function take(tensor: Tensor, kept: readonly (readonly number[] | undefined)[]): Tensor {
  const { dims, dtype } = tensor;
  const result = dims.map((dim, axis) => kept[axis]?.length ?? dim);
  const width = dtypeInfo(dtype).bits / 8;
  const last = dims.length - 1 - [...kept].reverse().findIndex((indices) => indices !== undefined);
  if (last >= dims.length) return tensor;
  const inner = elementCount(dims.slice(last + 1)) * width;
  const source = new ComputedSource(elementCount(result) * width, function* () {
    const from = readAll(tensor.bytes);
    const to = new Uint8Array(elementCount(result) * width);
    let at = 0;
    const copy = (axis: number, offset: number) => {
      const step = elementCount(dims.slice(axis + 1)) * width;
      const count = result[axis] as number;
      for (let i = 0; i < count; i++) {
        const start = offset + (kept[axis]?.[i] ?? i) * step;
        if (axis < last) copy(axis + 1, start);
        else {
          to.set(from.subarray(start, start + inner), at);
          at += inner;
        }
      }
    };
    copy(0, 0);
    yield to;
  });
  return new Tensor(dtype, result, source);
}
