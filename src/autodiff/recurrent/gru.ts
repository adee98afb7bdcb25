/** @file The gradient of a GRU. Its gates are computed again, all steps at once, from Y; only the way back goes step by step. */
import type { Value } from "../../ir/value.ts";
import type { Activation } from "./activation.ts";
import {
  type Cell,
  type CellGradients,
  columns,
  hiddenGradient,
  keptWhereEnded,
  sumOfRows,
  whereValid,
} from "./cell.ts";
import { recurrence } from "./recurrence.ts";

// z = f(…), r = f(…); with h' the h before: n = g(x Wn' + r (h' Rn' + Rbn) + Wbn), or g(x Wn' + (r h') Rn' + Rbn + Wbn);
// h = (1 - z) n + z h'
export function gruGradients(cell: Cell): CellGradients {
  const { op, x, w, previous, biases, steps, hidden } = cell;
  const [gate, squash] = cell.activations as [Activation, Activation];
  const resetAfter = cell.node.int("linear_before_reset", 0) !== 0;
  const [rGates, rNew] = op.emit("Split", [cell.r, [2 * hidden, hidden], { axis: 0 }], 2) as [Value, Value];
  const [bGates, bNew] = biases ? op.emit("Split", [biases[1], [2 * hidden, hidden], { axis: 0 }], 2) : [];
  const [xz, xr, xn] = columns(op, op.Gemm(x, w, biases?.[0], { transB: 1 }), 3) as [Value, Value, Value];
  const [hz, hr] = columns(op, op.Gemm(previous, rGates, bGates, { transB: 1 }), 2);
  const z = gate.of(op, op.Add(xz, hz));
  const r = gate.of(op, op.Add(xr, hr));
  // What R's last part multiplies.
  const source = resetAfter ? previous : op.Mul(r.value, previous);
  const q = op.Gemm(source, rNew, bNew, { transB: 1 });
  const n = squash.of(op, op.Add(xn, resetAfter ? op.Mul(r.value, q) : q));

  const toUpdate = op.Mul(op.Sub(previous, n.value), z.slope);
  const toNew = op.Mul(op.Sub(op.like(z.value, 1), z.value), n.slope);
  const held = keptWhereEnded(cell, z.value);
  const dyReads = cell.dy ? [cell.dy] : [];
  const spec = { count: steps, reverse: !cell.reverse, carries: [cell.dHidden] };

  const after = () => {
    const toReset = op.Mul(op.Mul(toNew, q), r.slope);
    const toSum = op.Mul(toNew, r.value);
    const factors = whereValid(cell, op.Concat(toUpdate, toReset, toSum, { axis: 1 }));
    const { carries, gives } = recurrence(op, {
      ...spec,
      reads: [factors, held, ...dyReads],
      step: (inner, [carried], [factor, stay, dy]) => {
        const dh = hiddenGradient(inner, carried, dy);
        const dq = inner.Mul(inner.Concat(dh, dh, dh, { axis: 1 }), factor);
        return { carries: [inner.Gemm(dq, cell.r, inner.Mul(dh, stay))], gives: [dq, dh] };
      },
    });
    const [dq, dh] = gives as [Value, Value];
    const [dz, dr] = columns(op, dq, 3);
    const dn = op.Mul(dh, whereValid(cell, toNew));
    return {
      initialHidden: carries[0] as Value,
      sums: op.Concat(dz, dr, dn, { axis: 1 }),
      r: op.Gemm(dq, previous, { transA: 1 }),
      bias: sumOfRows(op, dq),
    };
  };

  const before = () => {
    const toReset = op.Mul(previous, r.slope);
    const factors = whereValid(cell, op.Concat(toUpdate, toNew, { axis: 1 }));
    const { carries, gives } = recurrence(op, {
      ...spec,
      reads: [factors, held, toReset, r.value, ...dyReads],
      step: (inner, [carried], [factor, stay, reset, open, dy]) => {
        const dh = hiddenGradient(inner, carried, dy);
        const [dz, dn] = columns(inner, inner.Mul(inner.Concat(dh, dh, { axis: 1 }), factor as Value), 2);
        const dSource = inner.Gemm(dn, rNew);
        const dGates = inner.Concat(dz, inner.Mul(dSource, reset), { axis: 1 });
        const direct = inner.Add(inner.Mul(dh, stay), inner.Mul(dSource, open));
        return { carries: [inner.Gemm(dGates, rGates, direct)], gives: [dGates, dn as Value] };
      },
    });
    const [dGates, dn] = gives as [Value, Value];
    const sums = op.Concat(dGates, dn, { axis: 1 });
    return {
      initialHidden: carries[0] as Value,
      sums,
      r: op.Concat(op.Gemm(dGates, previous, { transA: 1 }), op.Gemm(dn, source, { transA: 1 }), { axis: 0 }),
      bias: sumOfRows(op, sums),
    };
  };

  const { initialHidden, sums, r: dR, bias } = resetAfter ? after() : before();
  return {
    x: op.Gemm(sums, w),
    w: op.Gemm(sums, x, { transA: 1 }),
    r: dR,
    biases: [sumOfRows(op, sums), bias],
    initialHidden,
  };
}
