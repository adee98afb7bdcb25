/**
 * @file The gradient of an LSTM. The layer is computed by steps of our own, which keep its gates; back, a step is
 * one product with R and six elementwise operations.
 */
import type { Value } from "../../ir/value.ts";
import type { Emitter } from "../emitter.ts";
import { type Activated, type Activation, keptOf, takeKept } from "./activation.ts";
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

function peek(op: Emitter, sum: Value, state: Value, weight: Value | undefined): Value {
  return weight ? op.Add(sum, op.Mul(state, weight)) : sum;
}

/** What an LSTM's functions gave at all steps, [t·n, h] each. */
interface LstmRun extends CellRun {
  readonly i: Activated;
  readonly o: Activated;
  readonly f: Activated;
  readonly g: Activated;
  /** Of the cell state. */
  readonly squashed: Activated;
  /** The cell state that leaves each step. */
  readonly cells: Value;
}

const isCoupled = ({ node }: CellInputs) => node.int("input_forget", 0) === 1;

// i = f(zi + Pi c'), o = f(zo + Po c), f = f(zf + Pf c'), g = g(zg); c = f c' + i g; h = o h(c), where c' is the c before
export function lstmRun(cell: CellInputs): LstmRun {
  const { op, x, w, r, biases, peepholes, steps, reverse } = cell;
  const [gate, squash, output] = cell.activations as [Activation, Activation, Activation];
  const coupled = isCoupled(cell);
  const { carries, gives } = recurrence(op, {
    count: steps,
    reverse,
    carries: [cell.initialHidden, cell.initialCell],
    reads: [op.Gemm(x, w, biases && op.Add(...biases), { transB: 1 }), ...(cell.valid ? [cell.valid] : [])],
    step: (inner, carried, [entering, valid]) => {
      const [hidden, before] = carried as [Value, Value];
      const sums = columns(inner, inner.Gemm(hidden, r, entering, { transB: 1 }), 4);
      const [zi, zo, zf, zg] = sums as [Value, Value, Value, Value];
      const i = gate.of(inner, peek(inner, zi, before, peepholes?.[0]));
      const f = coupled ? oneMinus(inner, i) : gate.of(inner, peek(inner, zf, before, peepholes?.[2]));
      const g = squash.of(inner, zg);
      const next = inner.Add(inner.Mul(f.value, before), inner.Mul(i.value, g.value));
      const o = gate.of(inner, peek(inner, zo, next, peepholes?.[1]));
      const squashed = output.of(inner, next);
      const y = inner.Mul(o.value, squashed.value);
      const given = [
        keptOf(gate, i),
        keptOf(gate, o),
        keptOf(squash, g),
        keptOf(output, squashed),
        coupled ? [] : keptOf(gate, f),
      ];
      if (!valid) return { carries: [y, next], gives: [next, y, ...given.flat()] };
      const isValid = inner.Greater(valid, 0);
      const leaving = inner.Where(isValid, next, before);
      return {
        carries: [inner.Where(isValid, y, hidden), leaving],
        gives: [leaving, inner.Mul(y, valid), ...given.flat()],
      };
    },
  });
  const [cells, y, ...given] = gives as [Value, Value, ...Value[]];
  const next = (activation: Activation) => takeKept(op, activation, given);
  const [i, o, g, squashed] = [next(gate), next(gate), next(squash), next(output)];
  return { i, o, g, squashed, f: coupled ? oneMinus(op, i) : next(gate), cells, y, last: carries };
}

export function lstmGradients(cell: Cell, { i, o, f, g, squashed, cells: c }: LstmRun): CellGradients {
  const { op, x, w, r, previous, peepholes, steps, batch, hidden } = cell;
  const coupled = isCoupled(cell);
  const inTime = op.reshape(c, [steps, batch, hidden]);
  const before = op.reshape(entering(op, inTime, cell.initialCell, { reverse: cell.reverse, steps }), [
    steps * batch,
    hidden,
  ]);

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
