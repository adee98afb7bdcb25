/** @file The gradient of a plain recurrent layer: h = f(x W' + h' R' + b), h' being the h before. */
import type { Value } from "../../ir/value.ts";
import type { Activation } from "./activation.ts";
import { type Cell, type CellGradients, hiddenGradient, sumOfRows, whereValid } from "./cell.ts";
import { recurrence } from "./recurrence.ts";

export function rnnGradients(cell: Cell): CellGradients {
  const { op, x, w, r, previous, biases } = cell;
  const [squash] = cell.activations as [Activation];
  const sums = op.Gemm(previous, r, op.Gemm(x, w, biases && op.Add(...biases), { transB: 1 }), { transB: 1 });
  const held = cell.valid && op.Sub(op.like(cell.valid, 1), cell.valid);
  const { carries, gives } = recurrence(op, {
    count: cell.steps,
    reverse: !cell.reverse,
    carries: [cell.dHidden],
    reads: [whereValid(cell, squash.of(op, sums).slope), ...(held ? [held] : []), ...(cell.dy ? [cell.dy] : [])],
    step: (inner, [carried], [slope, ...rest]) => {
      const dh = hiddenGradient(inner, carried, cell.dy && rest.at(-1));
      const dz = inner.Mul(dh, slope);
      return { carries: [held ? inner.Gemm(dz, r, inner.Mul(dh, rest[0])) : inner.Gemm(dz, r)], gives: [dz] };
    },
  });
  const dz = gives[0] as Value;
  const db = sumOfRows(op, dz);
  return {
    x: op.Gemm(dz, w),
    w: op.Gemm(dz, x, { transA: 1 }),
    r: op.Gemm(dz, previous, { transA: 1 }),
    biases: [db, db],
    initialHidden: carries[0] as Value,
  };
}
