/** @file What the gradient of a recurrent layer works on: one direction of a node. Sizes: t steps, n batch, i inputs, h hidden, g gates. */
import type { Node } from "../../ir/node.ts";
import type { Value } from "../../ir/value.ts";
import type { Emitter } from "../emitter.ts";
import type { Activation } from "./activation.ts";

/** What a cell is before it runs: {@link Cell} without what depends on its states. */
export interface CellInputs {
  readonly op: Emitter;
  readonly node: Node;
  readonly activations: readonly Activation[];
  /** Whether it starts from the last step. */
  readonly reverse: boolean;
  readonly steps: number;
  readonly batch: number;
  readonly hidden: number;
  /** [t·n, i] */
  readonly x: Value;
  /** [g·h, i] */
  readonly w: Value;
  /** [g·h, h] */
  readonly r: Value;
  /** Of W and of R, [g·h] each. */
  readonly biases: readonly [Value, Value] | undefined;
  /** Of an LSTM: input, output, forget, [h] each. */
  readonly peepholes: readonly [Value, Value, Value] | undefined;
  /** The hidden state that enters the first step, [n, h]. */
  readonly initialHidden: Value;
  /** The cell state that enters the first step, [n, h]. */
  readonly initialCell: Value;
  /** 1 for steps within their sequence's length, [t·n, 1]; undefined when all are. */
  readonly valid: Value | undefined;
}

/** The layer computed by steps of our own, which keep what its gradient needs. */
export interface CellRun {
  /** The hidden state that leaves each step, zero beyond a sequence's length, [t·n, h]. */
  readonly y: Value;
  /** The last states, [n, h] each. */
  readonly last: readonly Value[];
}

export interface Cell extends CellInputs {
  /** The hidden state that enters each step, [t·n, h]. */
  readonly previous: Value;
  /** Gradients: of Y [t·n, h], zero beyond a sequence's length, and of the last states [n, h]. */
  readonly dy: Value | undefined;
  readonly dHidden: Value;
  readonly dCell: Value;
}

/** By what they belong to, in the shapes of {@link Cell}. */
export interface CellGradients {
  readonly x: Value;
  readonly w: Value;
  readonly r: Value;
  readonly biases: readonly [Value, Value];
  readonly peepholes?: readonly [Value, Value, Value];
  readonly initialHidden: Value;
  readonly initialCell?: Value;
}

/** [rows, columns] summed over its rows. */
export function sumOfRows(op: Emitter, x: Value): Value {
  return op.ReduceSum(x, [0], { keepdims: 0 });
}

/** The columns of [rows, parts · width], one value a part. */
export function columns(op: Emitter, x: Value, parts: number): readonly Value[] {
  return parts === 1 ? [x] : op.emit("Split", [x, { axis: 1, num_outputs: parts }], parts);
}

/** A factor of a step: nothing flows where the sequence has ended. */
export function whereValid({ op, valid }: Cell, factor: Value): Value {
  return valid ? op.Mul(factor, valid) : factor;
}

/** The share of a state that stays: all of it where the sequence has ended. */
export function keptWhereEnded({ op, valid }: Cell, share: Value): Value {
  return valid ? op.Add(op.Mul(share, valid), op.Sub(op.like(valid, 1), valid)) : share;
}

/** The gradient of the hidden state as it enters a step: dy comes on top. */
export function hiddenGradient(op: Emitter, carried: Value | undefined, dy: Value | undefined): Value {
  return dy ? op.Add(carried, dy) : (carried as Value);
}

/** The state that enters each step, [t, n, h], from those that leave them: the first one comes from outside. Of `valid`, see {@link Cell}: [t, n, 1] here. */
export function entering(
  op: Emitter,
  y: Value,
  initial: Value,
  { reverse, steps, valid }: { reverse: boolean; steps: number; valid?: Value | undefined },
): Value {
  const first = op.Unsqueeze(initial, [0]);
  if (steps === 1) return first;
  if (!reverse) return op.Concat(first, op.Slice(y, [0], [steps - 1], [0]), { axis: 0 });
  // Read from its end, a short sequence starts after steps that are not its own.
  const later = op.Slice(y, [1], [steps], [0]);
  const own = valid && op.Greater(op.Slice(valid, [1], [steps], [0]), 0);
  return op.Concat(own ? op.Where(own, later, first) : later, first, { axis: 0 });
}
