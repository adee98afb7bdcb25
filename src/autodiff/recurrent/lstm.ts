/**
 * @file The gradient of an LSTM. Its gates are computed again, all steps at once, from Y; what remains step by step is the cell
 * state forward and, back, one product with R and six elementwise operations.
 */
import type { Value } from "../../ir/value.ts";
import type { Emitter } from "../emitter.ts";
import type { Activated, Activation } from "./activation.ts";
import {
  type Cell,
  type CellGradients,
  columns,
  entering,
  hiddenGradient,
  keptWhereEnded,
  sumOfRows,
  whereValid,
} from "./cell.ts";
import { recurrence } from "./recurrence.ts";

// i = f(zi + Pi c'), o = f(zo + Po c), f = f(zf + Pf c'), g = g(zg); c = f c' + i g; h = o h(c), where c' is the c before
export function lstmGradients(cell: Cell): CellGradients {
  const { op, x, w, r, biases, previous, peepholes, steps, batch, hidden } = cell;
  const [gate, squash, output] = cell.activations as [Activation, Activation, Activation];
  const coupled = cell.node.int("input_forget", 0) === 1;
  const bias = biases && op.Add(...biases);
  const z = columns(op, op.Gemm(previous, r, op.Gemm(x, w, bias, { transB: 1 }), { transB: 1 }), 4);
  const [zi, zo, zf, zg] = z as [Value, Value, Value, Value];
  const g = squash(op, zg);
  const gates = (inner: Emitter, [si, sf]: readonly [Value, Value], before: Value) => {
    const peek = (sum: Value, weight: Value | undefined) => (weight ? inner.Add(sum, inner.Mul(before, weight)) : sum);
    const i = gate(inner, peek(si, peepholes?.[0]));
    return { i, f: coupled ? oneMinus(inner, i) : gate(inner, peek(sf, peepholes?.[2])) };
  };

  const c = cellStates(cell, gates, [zi, zf], g.value);
  const inTime = op.reshape(c, [steps, batch, hidden]);
  const before = op.reshape(entering(op, inTime, cell.initialCell, { reverse: cell.reverse, steps }), [
    steps * batch,
    hidden,
  ]);
  const { i, f } = gates(op, [zi, zf], before);
  const o = gate(op, peepholes ? op.Add(zo, op.Mul(c, peepholes[1])) : zo);
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

  /** The cell state that leaves each step, [t·n, h]. */
  function cellStates(
    { initialCell: first, reverse }: Cell,
    gatesOf: typeof gates,
    sums: readonly [Value, Value],
    candidate: Value,
  ): Value {
    const ahead = peepholes ? undefined : gatesOf(op, sums, candidate);
    const reads = ahead
      ? [keptWhereEnded(cell, ahead.f.value), whereValid(cell, op.Mul(ahead.i.value, candidate))]
      : [...sums, candidate, ...(cell.valid ? [cell.valid] : [])];
    const carryOn = (state: Value) => ({ carries: [state], gives: [state] });
    const { gives: states } = recurrence(op, {
      count: steps,
      reverse,
      carries: [first],
      reads,
      step: (inner, [state], now) => {
        const last = state as Value;
        if (ahead) return carryOn(inner.Add(inner.Mul(last, now[0]), now[1]));
        const [si, sf, entering, valid] = now as [Value, Value, Value, Value | undefined];
        const { i: input, f: forget } = gatesOf(inner, [si, sf], last);
        const next = inner.Add(inner.Mul(forget.value, last), inner.Mul(input.value, entering));
        return carryOn(valid ? inner.Where(inner.Greater(valid, 0), next, last) : next);
      },
    });
    return states[0] as Value;
  }
}

function oneMinus(op: Emitter, { value, slope }: Activated): Activated {
  return { value: op.Sub(op.like(value, 1), value), slope: op.Neg(slope) };
}
