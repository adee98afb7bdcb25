/** @file Takes indices out of tensors; what is left is copied when it is written. */
import { dtypeInfo } from "../../tensor/dtype.ts";
import { elementCount, Tensor } from "../../tensor/tensor.ts";
import { ComputedSource, readAll } from "../../util/bytes.ts";

/** Bytes that are copied one by one. */
const SHORT = 64;

/** Indices that follow each other, as runs of bytes. */
function runsOf(indices: readonly number[], inner: number): { readonly first: number; readonly length: number }[] {
  const runs: { first: number; length: number }[] = [];
  for (const index of indices) {
    const run = runs.at(-1);
    if (run && run.first + run.length === index * inner) run.length += inner;
    else runs.push({ first: index * inner, length: inner });
  }
  return runs;
}

/** The tensor at these indices of every axis (undefined: all of it). For types of whole bytes. */
export function take(tensor: Tensor, kept: readonly (readonly number[] | undefined)[]): Tensor {
  const { dims, dtype } = tensor;
  const result = dims.map((dim, axis) => kept[axis]?.length ?? dim);
  const width = dtypeInfo(dtype).bits / 8;
  const last = kept.findLastIndex((indices) => indices !== undefined);
  if (last < 0) return tensor;
  const inner = elementCount(dims.slice(last + 1)) * width;
  const source = new ComputedSource(elementCount(result) * width, function* () {
    const from = readAll(tensor.bytes);
    const to = new Uint8Array(elementCount(result) * width);
    let at = 0;
    const runs = runsOf(kept[last] as readonly number[], inner);
    const copy = (axis: number, offset: number) => {
      if (axis === last)
        for (const { first, length } of runs) {
          const start = offset + first;
          // A view costs more than a few elements do.
          if (length > SHORT) to.set(from.subarray(start, start + length), at);
          else for (let i = 0; i < length; i++) to[at + i] = from[start + i] as number;
          at += length;
        }
      else {
        const step = elementCount(dims.slice(axis + 1)) * width;
        const count = result[axis] as number;
        for (let i = 0; i < count; i++) copy(axis + 1, offset + (kept[axis]?.[i] ?? i) * step);
      }
    };
    copy(0, 0);
    yield to;
  });
  return new Tensor(dtype, result, source);
}
