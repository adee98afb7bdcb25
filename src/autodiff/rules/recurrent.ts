/** @file Gradient rules: recurrent layers. The formulas are in `../recurrent`, one file a kind of layer. */
import type { Value } from "../../ir/value.ts";
import type { Emitter } from "../emitter.ts";
import { activationsOf } from "../recurrent/activation.ts";
import { type Cell, type CellGradients, type CellInputs, type CellRun, entering } from "../recurrent/cell.ts";
import { gruGradients, gruRun } from "../recurrent/gru.ts";
import { lstmGradients, lstmRun } from "../recurrent/lstm.ts";
import { rnnGradients } from "../recurrent/rnn.ts";
import type { GradientContext, GradientRule, GradientRules } from "../rule.ts";

/** A kind of layer. The second form runs it in place of the operator: that leaves its gradient less to do. */
type Layer<Run extends CellRun> =
  | { readonly gradients: (cell: Cell) => CellGradients }
  | { readonly run: (cell: CellInputs) => Run; readonly gradients: (cell: Cell, run: Run) => CellGradients };

/**
 * Gives each direction its part of the inputs and gradients, and puts what comes back together. Layout 0: the batch-first one has
 * been taken apart.
 */
function recurrent<Run extends CellRun>(defaults: readonly string[], layer: Layer<Run>): GradientRule {
  return (context) => {
    const { op, node, x: inputs, needs } = context;
    const [steps = 0, batch = 0, width = 0] = op.shape(inputs[0]);
    const [directions = 1, , hidden = 0] = op.shape(inputs[2]);
    const activations = activationsOf(node, defaults, directions);
    const runs: [CellRun, Cell][] = [];
    const results = Array.from({ length: directions }, (_, d) => {
      const functions = activations.slice(d * defaults.length, (d + 1) * defaults.length);
      const reverse = d === 1 || node.string("direction", "forward") === "reverse";
      const known = inputsOf(context, { d, steps, batch, width, hidden, reverse, functions });
      if (!("run" in layer)) return layer.gradients(cellOf(context, known, d));
      const run = layer.run(known);
      const cell = cellOf(context, known, d, run.y);
      runs.push([run, cell]);
      return layer.gradients(cell, run);
    });
    replaceOutputs(context, runs);
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

/** What steps of our own gave is the node's output: nothing needs the node any more. */
function replaceOutputs({ op, node }: GradientContext, runs: readonly (readonly [CellRun, Cell])[]): void {
  if (runs.length === 0) return;
  const stacked = (pick: (run: CellRun, cell: Cell) => Value | undefined, axis: number) => {
    const parts = runs.map(([run, cell]) => op.Unsqueeze(pick(run, cell), [axis]));
    return parts.length > 1 ? op.Concat(...parts, { axis }) : (parts[0] as Value);
  };
  const inTime = (run: CellRun, { steps, batch, hidden }: Cell) => op.reshape(run.y, [steps, batch, hidden]);
  node.outputs.forEach((output, i) => {
    if (!output || output.isUnused) return;
    op.graph.replaceUses(output, i === 0 ? stacked(inTime, 1) : stacked(({ last }) => last[i - 1], 0));
  });
}

interface Direction {
  readonly d: number;
  readonly steps: number;
  readonly batch: number;
  readonly width: number;
  readonly hidden: number;
  readonly reverse: boolean;
  readonly functions: Cell["activations"];
}

/** The direction's part of a value, along an axis that counts directions, without that axis. */
function partOf(op: Emitter, value: Value | undefined, axis: number, d: number): Value {
  const shape = op.shape(value);
  const part = shape[axis] === 1 ? value : op.Slice(value, [d], [d + 1], [axis]);
  return op.reshape(
    part,
    shape.filter((_, i) => i !== axis),
  );
}

function stateOf(op: Emitter, value: Value | undefined, d: number, { x, batch, hidden }: StateSizes): Value {
  return value ? partOf(op, value, 0, d) : op.Expand(op.like(x, 0), [batch, hidden]);
}

type StateSizes = Pick<CellInputs, "x" | "batch" | "hidden">;

function inputsOf({ op, node, x: inputs }: GradientContext, direction: Direction): CellInputs {
  const { d, steps, batch, width, hidden, reverse, functions } = direction;
  const [input, w, r, b, lengths, initialHidden, initialCell, p] = inputs;
  const x = op.reshape(input, [steps * batch, width]);
  const sizes = { x, batch, hidden };
  const parts = (value: Value, count: number) =>
    op.emit("Split", [partOf(op, value, 0, d), { axis: 0, num_outputs: count }], count);
  return {
    ...sizes,
    op,
    node,
    activations: functions,
    reverse,
    steps,
    w: partOf(op, w, 0, d),
    r: partOf(op, r, 0, d),
    biases: b && (parts(b, 2) as [Value, Value]),
    peepholes: p && (parts(p, 3) as [Value, Value, Value]),
    initialHidden: stateOf(op, initialHidden, d, sizes),
    initialCell: stateOf(op, initialCell, d, sizes),
    valid: lengths && op.reshape(validSteps(op, lengths, steps, x), [steps * batch, 1]),
  };
}

/** @param y the hidden states, [t·n, h], where steps of our own gave them */
function cellOf({ op, node, dy }: GradientContext, known: CellInputs, d: number, y?: Value): Cell {
  const { steps, batch, hidden, reverse, valid, initialHidden } = known;
  const rows = [steps * batch, hidden];
  const states = y ? op.reshape(y, [steps, batch, hidden]) : partOf(op, op.output(node, 0), 1, d);
  const inTime = valid && op.reshape(valid, [steps, batch, 1]);
  const dSteps = dy[0] && op.reshape(partOf(op, dy[0], 1, d), rows);
  return {
    ...known,
    previous: op.reshape(entering(op, states, initialHidden, { reverse, steps, valid: inTime }), rows),
    dy: dSteps && valid ? op.Mul(dSteps, valid) : dSteps,
    dHidden: stateOf(op, dy[1], d, known),
    dCell: stateOf(op, dy[2], d, known),
  };
}

/** 1 where a step is within its sequence's length, [t, n, 1]. */
function validSteps(op: Emitter, lengths: Value, steps: number, like: Value | undefined): Value {
  const times = op.constant("int64", [steps, 1], [...Array(steps).keys()]);
  return op.Unsqueeze(op.mask(op.Less(times, op.cast(lengths, "int64")), like), [2]);
}

export const recurrents = {
  LSTM: recurrent(["Sigmoid", "Tanh", "Tanh"], { run: lstmRun, gradients: lstmGradients }),
  GRU: recurrent(["Sigmoid", "Tanh"], { run: gruRun, gradients: gruGradients }),
  RNN: recurrent(["Tanh"], { gradients: rnnGradients }),
} satisfies GradientRules;
