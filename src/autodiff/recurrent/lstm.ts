/**
 * @file The gradient of an LSTM. The layer is computed by steps of our own, which keep the sums that enter the gates; back, a step is
 * one product with R and six elementwise operations.
 */
import type { Value } from "../../ir/value.ts";
import type { Emitter } from "../emitter.ts";
import type { Activated, Activation } from "./activation.ts";
import {
  type Cell,
  type CellGradients,
  type CellInputs,
  type CellRun,
  columns,
  entering,
  hiddenGradient,
  keptWhereEnded,
  sumOfRows,
  whereValid,
} from "./cell.ts";
import { recurrence } from "./recurrence.ts";

type Gates = (op: Emitter, sums: readonly [Value, Value], before: Value) => { i: Activated; f: Activated };

/** The input and forget gates, of the sums that enter them and the cell state before. */
function gatesOf({ node, activations, peepholes }: CellInputs): Gates {
  const [gate] = activations as [Activation];
  const coupled = node.int("input_forget", 0) === 1;
  return (op, [si, sf], before) => {
    const i = gate(op, peek(op, si, before, peepholes?.[0]));
    return { i, f: coupled ? oneMinus(op, i) : gate(op, peek(op, sf, before, peepholes?.[2])) };
  };
}

function peek(op: Emitter, sum: Value, state: Value, weight: Value | undefined): Value {
  return weight ? op.Add(sum, op.Mul(state, weight)) : sum;
}

// i = f(zi + Pi c'), o = f(zo + Po c), f = f(zf + Pf c'), g = g(zg); c = f c' + i g; h = o h(c), where c' is the c before
export function lstmRun(cell: CellInputs): CellRun {
  const { op, x, w, r, biases, peepholes, steps, reverse } = cell;
  const [gate, squash, output] = cell.activations as [Activation, Activation, Activation];
  const gates = gatesOf(cell);
  const { carries, gives } = recurrence(op, {
    count: steps,
    reverse,
    carries: [cell.initialHidden, cell.initialCell],
    reads: [op.Gemm(x, w, biases && op.Add(...biases), { transB: 1 }), ...(cell.valid ? [cell.valid] : [])],
    step: (inner, carried, [entering, valid]) => {
      const [hidden, before] = carried as [Value, Value];
      const sums = inner.Gemm(hidden, r, entering, { transB: 1 });
      const [zi, zo, zf, zg] = columns(inner, sums, 4) as [Value, Value, Value, Value];
      const { i, f } = gates(inner, [zi, zf], before);
      const next = inner.Add(inner.Mul(f.value, before), inner.Mul(i.value, squash(inner, zg).value));
      const o = gate(inner, peek(inner, zo, next, peepholes?.[1]));
      const y = inner.Mul(o.value, output(inner, next).value);
      if (!valid) return { carries: [y, next], gives: [sums, next, y] };
      const isValid = inner.Greater(valid, 0);
      const kept = inner.Where(isValid, next, before);
      return { carries: [inner.Where(isValid, y, hidden), kept], gives: [sums, kept, inner.Mul(y, valid)] };
    },
  });
  const [sums, cells, y] = gives as [Value, Value, Value];
  return { sums, cells, y, last: carries };
}

export function lstmGradients(cell: Cell, { sums, cells: c }: CellRun): CellGradients {
  const { op, x, w, r, previous, peepholes, steps, batch, hidden } = cell;
  const [gate, squash, output] = cell.activations as [Activation, Activation, Activation];
  const coupled = cell.node.int("input_forget", 0) === 1;
  const [zi, zo, zf, zg] = columns(op, sums, 4) as [Value, Value, Value, Value];
  const g = squash(op, zg);
  const inTime = op.reshape(c, [steps, batch, hidden]);
  const before = op.reshape(entering(op, inTime, cell.initialCell, { reverse: cell.reverse, steps }), [
    steps * batch,
    hidden,
  ]);
  const { i, f } = gatesOf(cell)(op, [zi, zf], before);
  const o = gate(op, peek(op, zo, c, peepholes?.[1]));
  const squashed = output(op, c);

  // What dh and dc are multiplied by, on their way to the gates and to the step before.
  const toOutput = op.Mul(squashed.value, o.slope);
  const toInput = op.Mul(coupled ? op.Sub(g.value, before) : g.value, i.slope);
  const toForget = coupled ? op.Mul(toInput, 0) : op.Mul(before, f.slope);
  const toSquash = op.Mul(i.value, g.slope);
  const direct = op.Mul(o.value, squashed.slope);
  const toCell = peepholes ? op.Add(direct, op.Mul(toOutput, peepholes[1])) : direct;
  const stays = peepholes ? op.Sum(f.value, op.Mul(toInput, peepholes[0]), op.Mul(toForget, peepholes[2])) : f.value;
  const factors = op.Concat(toInput, toOutput, toForget, toSquash, { axis: 1 });
  const held = cell.valid && op.Sub(op.like(cell.valid, 1), cell.valid);

  const { carries, gives } = recurrence(op, {
    count: steps,
    reverse: !cell.reverse,
    carries: [cell.dHidden, cell.dCell],
    reads: [
      whereValid(cell, factors),
      whereValid(cell, toCell),
      keptWhereEnded(cell, stays),
      ...(held ? [held] : []),
      ...(cell.dy ? [cell.dy] : []),
    ],
    step: (inner, [hidden, state], [factor, viaHidden, stay, ...rest]) => {
      const hold = held && rest[0];
      const dh = hiddenGradient(inner, hidden, cell.dy && rest.at(-1));
      const dc = inner.Add(inner.Mul(dh, viaHidden), state);
      const dz = inner.Mul(inner.Concat(dc, dh, dc, dc, { axis: 1 }), factor);
      const back = hold ? inner.Gemm(dz, r, inner.Mul(dh, hold)) : inner.Gemm(dz, r);
      return { carries: [back, inner.Mul(dc, stay)], gives: [dz] };
    },
  });
  const [initialHidden, initialCell] = carries as [Value, Value];
  const dz = gives[0] as Value;
  const db = sumOfRows(op, dz);
  const [di, dO, df] = peepholes ? (columns(op, dz, 4) as [Value, Value, Value, Value]) : [];
  return {
    x: op.Gemm(dz, w),
    w: op.Gemm(dz, x, { transA: 1 }),
    r: op.Gemm(dz, previous, { transA: 1 }),
    biases: [db, db],
    ...(di &&
      dO &&
      df && {
        peepholes: [sumOfRows(op, op.Mul(di, before)), sumOfRows(op, op.Mul(dO, c)), sumOfRows(op, op.Mul(df, before))],
      }),
    initialHidden,
    initialCell,
  };
}

function oneMinus(op: Emitter, { value, slope }: Activated): Activated {
  return { value: op.Sub(op.like(value, 1), value), slope: op.Neg(slope) };
}
