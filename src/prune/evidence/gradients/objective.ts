/** @file What gradient criteria differentiate: a loss on labels, or the model's own outputs in random directions, where there are none. */
import type { Emitter } from "../../../autodiff/emitter.ts";
import type { Batch } from "../../../data/batch.ts";
import type { Label, Sample } from "../../../data/dataset.ts";
import type { Value } from "../../../ir/value.ts";
import { plausibleOutput } from "../../../ops/plausible-output.ts";
import type { HostTensor } from "../../../tensor/host-tensor.ts";
import { elementCount } from "../../../tensor/tensor.ts";
import { emitLosses, newInput } from "../../../train/emit-losses.ts";
import { logitsOf } from "../../../train/log-probabilities.ts";
import { lossOptions } from "../../../train/loss-rule.ts";
import { labelTensor } from "../../../train/targets.ts";
import { TersorError } from "../../../util/errors.ts";
import { keyOf, uniform } from "../../../util/rng.ts";

/**
 * labels: cross-entropy of the output that suits them. outputs: Σ ε y / |y| with signs ε drawn anew for every batch. The square of its gradient is on
 * average that of the outputs' relative change (Hutchinson 1989), which is what second order leaves of their squared error: the first is
 * zero at the model's own outputs. curvature: Σ (B ε) y with B Bᵀ the Hessian of cross-entropy in the logits, so that squared gradients are on average
 * the diagonal of the Gauss-Newton matrix; it needs no labels.
 */
export type Objective = "labels" | "outputs" | "curvature";

/** What is fed beside the model's inputs. */
export interface ObjectiveInputs {
  readonly loss: Value;
  /** Values that count as constants. */
  readonly stopped: readonly string[];
  feeds(batch: Batch, index: number): Record<string, HostTensor>;
}

/** Whether cross-entropy suits a sample's label. */
export function hasClass({ label }: Sample): boolean {
  return Number.isInteger(label) || (typeof label === "object" && label.dtype.startsWith("int"));
}

/** Adds an objective to a graph. @throws bad-data where no output can be differentiated */
export function emitObjective(
  op: Emitter,
  objective: Objective,
  { seed, label }: { readonly seed: number; readonly label?: Label | undefined },
): ObjectiveInputs {
  op.subject = "objective";
  const floats = op.graph.outputs.filter((value) => op.typeOf(value)?.dtype === "float32");
  const plausible = plausibleOutput(op.graph, (value) => op.typeOf(value), label)?.value;
  const first = floats.find((value) => value === plausible) ?? floats[0];
  if (!first)
    throw new TersorError("bad-data", "prune: gradients: expected a float32 output to differentiate, got none.");
  if (objective === "labels") return onLabels(op, first);
  if (objective === "outputs") {
    const parts = floats.map((y) => {
      const norm = op.Sqrt(op.Add(op.ReduceSum(op.Mul(y, y), { keepdims: 0 }), 1e-20));
      const signs = signsLike(op, y, seed);
      return { ...signs, norm, part: op.Div(op.ReduceSum(op.Mul(signs.value, y), { keepdims: 0 }), norm) };
    });
    return {
      loss: op.sum(parts.map(({ part }) => part)),
      stopped: parts.map(({ norm }) => norm.name),
      feeds: (_, index) => Object.assign({}, ...parts.map(({ feed }) => feed(index))),
    };
  }
  // v = B ε, with B = diag(√p) − p √pᵀ
  const logits = logitsOf(first, "Softmax") ?? first;
  const axis = op.axis(logits, -1);
  const p = op.emit("Softmax", [logits, { axis }])[0] as Value;
  const root = op.Sqrt(p);
  const signs = signsLike(op, logits, seed);
  const along = op.Mul(root, signs.value);
  const v = op.Sub(along, op.Mul(p, op.ReduceSum(along, [axis], { keepdims: 1 })));
  return {
    loss: op.ReduceSum(op.Mul(v, logits), { keepdims: 0 }),
    stopped: [v.name],
    feeds: (_, index) => signs.feed(index),
  };
}

function onLabels(op: Emitter, y: Value): ObjectiveInputs {
  const losses = [lossOptions.parse({ name: "cross-entropy", output: y.name })];
  const { total, targets } = emitLosses(op, { losses });
  return {
    loss: total,
    stopped: [],
    feeds: ({ samples }) => Object.fromEntries(targets.map((each) => [each.name, labelTensor(samples, each)])),
  };
}

function signsLike(op: Emitter, y: Value, seed: number) {
  const dims = op.shape(y);
  const value = newInput(op, op.graph.uniqueName(`${y.name}.signs`), dims);
  const key = keyOf(`signs of ${y.name}`);
  const size = elementCount(dims);
  const feed = (index: number): Record<string, HostTensor> => {
    const data = Float32Array.from({ length: size }, (_, i) => (uniform(seed, key, index * size + i) < 0.5 ? -1 : 1));
    return { [value.name]: { dtype: "float32", dims, data } };
  };
  return { value, feed };
}
