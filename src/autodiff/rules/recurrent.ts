/** @file Gradient rules: recurrent layers. The formulas are in `../recurrent`, one file a kind of layer. */
import type { Value } from "../../ir/value.ts";
import type { Emitter } from "../emitter.ts";
import { activationsOf } from "../recurrent/activation.ts";
import { type Cell, type CellGradients, entering } from "../recurrent/cell.ts";
import { gruGradients } from "../recurrent/gru.ts";
import { lstmGradients } from "../recurrent/lstm.ts";
import { rnnGradients } from "../recurrent/rnn.ts";
import type { GradientContext, GradientRule, GradientRules } from "../rule.ts";

/**
 * Gives each direction its part of the inputs and gradients, and puts what comes back together. Layout 0: the batch-first one has
 * been taken apart.
 */
function recurrent(defaults: readonly string[], gradientsOf: (cell: Cell) => CellGradients): GradientRule {
  return (context) => {
    const { op, node, x: inputs, needs } = context;
    const [steps = 0, batch = 0, width = 0] = op.shape(inputs[0]);
    const [directions = 1, , hidden = 0] = op.shape(inputs[2]);
    const activations = activationsOf(node, defaults, directions);
    const results = Array.from({ length: directions }, (_, d) => {
      const functions = activations.slice(d * defaults.length, (d + 1) * defaults.length);
      const reverse = d === 1 || node.string("direction", "forward") === "reverse";
      return gradientsOf(cellOf(context, { d, directions, steps, batch, width, hidden, reverse, functions }));
    });
    const each = (pick: (gradients: CellGradients) => Value | undefined) => {
      const list = results.map(pick).filter((value) => value !== undefined);
      const stacked = list.map((value) => op.Unsqueeze(value, [0]));
      return stacked.length > 1 ? op.Concat(...stacked, { axis: 0 }) : stacked[0];
    };
    const join = (values: readonly Value[] | undefined) => values && op.Concat(...values, { axis: 0 });
    return [
      op.reshape(op.sum(results.map(({ x }) => x)), [steps, batch, width]),
      each(({ w }) => w),
      each(({ r }) => r),
      needs[3] ? each(({ biases }) => join(biases)) : undefined,
      undefined,
      each(({ initialHidden }) => initialHidden),
      each(({ initialCell }) => initialCell),
      each(({ peepholes }) => join(peepholes)),
    ];
  };
}

interface Direction {
  readonly d: number;
  readonly directions: number;
  readonly steps: number;
  readonly batch: number;
  readonly width: number;
  readonly hidden: number;
  readonly reverse: boolean;
  readonly functions: Cell["activations"];
}

function cellOf({ op, node, x: inputs, dy }: GradientContext, direction: Direction): Cell {
  const { d, directions, steps, batch, width, hidden, reverse, functions } = direction;
  const [x, w, r, b, lengths, initialHidden, initialCell, p] = inputs;
  /** The direction's part along an axis that counts directions, without that axis. */
  const pick = (value: Value | undefined, axis: number) => {
    const part = directions === 1 ? value : op.Slice(value, [d], [d + 1], [axis]);
    return op.reshape(
      part,
      op.shape(value).filter((_, i) => i !== axis),
    );
  };
  const state = (value: Value | undefined) => (value ? pick(value, 0) : op.Expand(op.like(x, 0), [batch, hidden]));
  const parts = (value: Value, count: number) =>
    op.emit("Split", [pick(value, 0), { axis: 0, num_outputs: count }], count);
  const valid = lengths && validSteps(op, lengths, steps, x);
  const rows = [steps * batch, hidden];
  const dSteps = dy[0] && op.reshape(pick(dy[0], 1), rows);
  const flatValid = valid && op.reshape(valid, [steps * batch, 1]);
  const first = state(initialHidden);
  return {
    op,
    node,
    activations: functions,
    reverse,
    steps,
    batch,
    hidden,
    x: op.reshape(x, [steps * batch, width]),
    w: pick(w, 0),
    r: pick(r, 0),
    biases: b && (parts(b, 2) as [Value, Value]),
    peepholes: p && (parts(p, 3) as [Value, Value, Value]),
    previous: op.reshape(entering(op, pick(op.output(node, 0), 1), first, { reverse, steps, valid }), rows),
    initialCell: state(initialCell),
    valid: flatValid,
    dy: dSteps && flatValid ? op.Mul(dSteps, flatValid) : dSteps,
    dHidden: state(dy[1]),
    dCell: state(dy[2]),
  };
}

/** 1 where a step is within its sequence's length, [t, n, 1]. */
function validSteps(op: Emitter, lengths: Value, steps: number, like: Value | undefined): Value {
  const times = op.constant("int64", [steps, 1], [...Array(steps).keys()]);
  return op.Unsqueeze(op.mask(op.Less(times, op.cast(lengths, "int64")), like), [2]);
}

export const recurrents = {
  LSTM: recurrent(["Sigmoid", "Tanh", "Tanh"], lstmGradients),
  GRU: recurrent(["Sigmoid", "Tanh"], gruGradients),
  RNN: recurrent(["Tanh"], rnnGradients),
} satisfies GradientRules;
