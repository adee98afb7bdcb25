/** @file The gradient of a GRU. The layer is computed by steps of our own, which keep its gates. */
import type { Value } from "../../ir/value.ts";
import { type Activated, type Activation, keptOf, takeKept } from "./activation.ts";
import {
  type Cell,
  type CellGradients,
  type CellInputs,
  type CellRun,
  columns,
  hiddenGradient,
  keptWhereEnded,
  sumOfRows,
  whereValid,
} from "./cell.ts";
import { recurrence } from "./recurrence.ts";

/** What a GRU's functions gave at all steps, [t·n, h] each. */
interface GruRun extends CellRun {
  readonly z: Activated;
  readonly r: Activated;
  readonly n: Activated;
  /** What r multiplies in n: h' Rn' + Rbn, where it is reset after that product. */
  readonly q: Value | undefined;
}

/** R and its bias, in parts: of the gates, and of what becomes the new state. */
function partsOf({ op, r, biases, hidden }: CellInputs) {
  const split = (value: Value) => op.emit("Split", [value, [2 * hidden, hidden], { axis: 0 }], 2) as [Value, Value];
  const [rGates, rNew] = split(r);
  const [bGates, bNew] = biases ? split(biases[1]) : [];
  return { rGates, rNew, bGates, bNew };
}

const resetsAfter = ({ node }: CellInputs) => node.int("linear_before_reset", 0) !== 0;

// z = f(…), r = f(…); with h' the h before: n = g(x Wn' + r (h' Rn' + Rbn) + Wbn), or g(x Wn' + (r h') Rn' + Rbn + Wbn);
// h = (1 - z) n + z h'
export function gruRun(cell: CellInputs): GruRun {
  const { op, x, w, biases, steps, reverse } = cell;
  const [gate, squash] = cell.activations as [Activation, Activation];
  const resetAfter = resetsAfter(cell);
  const { rGates, rNew, bGates, bNew } = partsOf(cell);
  const { carries, gives } = recurrence(op, {
    count: steps,
    reverse,
    carries: [cell.initialHidden],
    reads: [op.Gemm(x, w, biases?.[0], { transB: 1 }), ...(cell.valid ? [cell.valid] : [])],
    step: (inner, carried, [entering, valid]) => {
      const before = carried[0] as Value;
      const [xz, xr, xn] = columns(inner, entering as Value, 3) as [Value, Value, Value];
      const sums = resetAfter
        ? inner.Gemm(before, cell.r, biases?.[1], { transB: 1 })
        : inner.Gemm(before, rGates, bGates, { transB: 1 });
      const [hz, hr, hn] = columns(inner, sums, resetAfter ? 3 : 2);
      const z = gate.of(inner, inner.Add(xz, hz));
      const r = gate.of(inner, inner.Add(xr, hr));
      const product = hn ? inner.Mul(r.value, hn) : inner.Gemm(inner.Mul(r.value, before), rNew, bNew, { transB: 1 });
      const n = squash.of(inner, inner.Add(xn, product));
      const y = inner.Add(n.value, inner.Mul(z.value, inner.Sub(before, n.value)));
      const given = [...keptOf(gate, z), ...keptOf(gate, r), ...keptOf(squash, n), ...(hn ? [hn] : [])];
      if (!valid) return { carries: [y], gives: [y, ...given] };
      const next = inner.Where(inner.Greater(valid, 0), y, before);
      return { carries: [next], gives: [inner.Mul(y, valid), ...given] };
    },
  });
  const [y, ...given] = gives as [Value, ...Value[]];
  const next = (activation: Activation) => takeKept(op, activation, given);
  const [z, r, n] = [next(gate), next(gate), next(squash)];
  return { z, r, n, q: given[0], y, last: carries };
}

export function gruGradients(cell: Cell, { z, r, n, q }: GruRun): CellGradients {
  const { op, x, w, previous, steps } = cell;
  const { rGates, rNew } = partsOf(cell);

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
      r: op.Concat(op.Gemm(dGates, previous, { transA: 1 }), op.Gemm(dn, op.Mul(r.value, previous), { transA: 1 }), {
        axis: 0,
      }),
      bias: sumOfRows(op, sums),
    };
  };

  const { initialHidden, sums, r: dR, bias } = resetsAfter(cell) ? after() : before();
  return {
    x: op.Gemm(sums, w),
    w: op.Gemm(sums, x, { transA: 1 }),
    r: dR,
    biases: [sumOfRows(op, sums), bias],
    initialHidden,
  };
}
