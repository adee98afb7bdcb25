/** @file Losses, emitted as standard operators: a prediction and a target in, a scalar out. */
import type { Emitter } from "../autodiff/emitter.ts";
import type { Value } from "../ir/value.ts";
import type { DType } from "../tensor/dtype.ts";
import { TersorError } from "../util/errors.ts";
import { ctc } from "./ctc-loss.ts";
import { logitsOf, logProbabilities } from "./log-probabilities.ts";
import type { LossName, LossRule, LossSettings } from "./loss-rule.ts";
import { attention, relationAngle, relationDistance } from "./transfer-losses.ts";

const mean = (op: Emitter, x: Value) => op.ReduceMean(x, { keepdims: 0 });

export const losses: Readonly<Record<LossName, LossRule>> = {
  // −Σ q log p / count    q = (1 − ε) onehot(t) + ε / C, over the elements that are not ignored
  "cross-entropy": {
    target: "classes",
    summary: "classes, from logits or from a Softmax",
    emit: ({ op, y, t, options }) => {
      const axis = op.axis(y, options.classAxis);
      const dims = op.shape(y);
      const classes = dims[axis] as number;
      const dtype = op.dtype(y);
      const line = dims.map((_, i) => (i === axis ? classes : 1));
      const range = op.constant(
        "int64",
        line,
        Array.from({ length: classes }, (_, i) => i),
      );
      const label = op.Unsqueeze(t, [axis]);
      const oneHot = op.cast(op.Equal(label, range), dtype);
      const { ignoreIndex } = options;
      const zero = op.constant("int64", [], [0]);
      let counting = op.GreaterOrEqual(label, zero);
      if (ignoreIndex !== undefined)
        counting = op.And(counting, op.Not(op.Equal(label, op.constant("int64", [], [ignoreIndex]))));
      const counts = op.cast(counting, dtype);
      // An ignored label may be a class index: it counts for nothing all the same.
      const hard = op.Mul(oneHot, counts);
      const { labelSmoothing: s } = options;
      const q = s === 0 ? hard : op.Add(op.Mul(hard, 1 - s), op.Mul(counts, s / classes));
      const logp = logProbabilities(op, y, axis);
      const total = op.Neg(op.ReduceSum(op.Mul(q, logp), { keepdims: 0 }));
      const count = op.ReduceSum(counts, { keepdims: 0 });
      return op.Div(total, op.Clip(count, op.like(y, 1)));
    },
  },
  // mean(softplus(x) − t x)    x the logits; from probabilities −(t log p + (1 − t) log(1 − p))
  "binary-cross-entropy": {
    target: "like",
    summary: "independent yes or no answers, from logits or from a Sigmoid",
    emit: ({ op, y, t }) => {
      const x = logitsOf(y, "Sigmoid") ?? y;
      return mean(op, op.Sub(op.Softplus(x), op.Mul(t, x)));
    },
  },
  // mean (y − t)²
  mse: {
    target: "like",
    summary: "mean squared difference",
    emit: ({ op, y, t }) => {
      const d = op.Sub(y, t);
      return mean(op, op.Mul(d, d));
    },
  },
  // mean |y − t|
  l1: { target: "like", summary: "mean absolute difference", emit: ({ op, y, t }) => mean(op, op.Abs(op.Sub(y, t))) },
  // T² Σ p (log p − log q) / rows    p = softmax(t / T), q = softmax(y / T): Hinton et al. 2015, https://arxiv.org/abs/1503.02531
  kl: {
    target: "like",
    summary: "soft targets: how far the softmax is from the target's, both at a temperature",
    emit: ({ op, y, t, options }) => {
      const { temperature } = options;
      const axis = op.axis(y, options.classAxis);
      const dims = op.shape(y);
      const rows = dims.reduce((product, dim, i) => (i === axis ? product : product * dim), 1);
      const q = logProbabilities(op, y, axis, temperature);
      const p = op.emit("LogSoftmax", [op.Mul(t, 1 / temperature), { axis }])[0] as Value;
      const sum = op.ReduceSum(op.Mul(op.Exp(p), op.Sub(p, q)), { keepdims: 0 });
      return op.Mul(sum, temperature ** 2 / rows);
    },
  },
  // mean (1 − cos(y, t)) along the last axis
  cosine: {
    target: "like",
    summary: "the angle between vectors along the last axis",
    emit: ({ op, y, t, options }) => {
      const axes = [op.axis(y, options.classAxis)];
      const sum = (x: Value) => op.ReduceSum(x, axes, { keepdims: 0 });
      const size = (x: Value) => op.Sqrt(op.Add(sum(op.Mul(x, x)), 1e-12));
      return mean(op, op.Sub(op.like(y, 1), op.Div(sum(op.Mul(y, t)), op.Mul(size(y), size(t)))));
    },
  },
  ctc,
  attention,
  "relation-distance": relationDistance,
  "relation-angle": relationAngle,
};

/** A value as losses see it. */
export interface ValueType {
  readonly name: string;
  readonly dtype: DType;
  readonly dims: readonly number[];
}

/**
 * dtype and dims of a loss's target, from those of the prediction.
 * @param given what the target is, where it is a value of a model and not a label
 * @throws shape-mismatch for a prediction without a class axis, and for a target that does not suit it, naming both
 */
export function targetType(
  { name, classAxis, target, maxLabels }: LossSettings,
  prediction: ValueType,
  given?: ValueType,
): Pick<ValueType, "dtype" | "dims"> {
  const { dtype, dims } = prediction;
  const kind = losses[name].target;
  if (kind === "own") {
    if (given?.dims[0] === dims[0] && given?.dtype === dtype) return given;
    throw misfit(name, prediction, given ?? target, `${dtype} [${dims[0]}, …], a row for each sample`);
  }
  if (kind === "like") {
    if (!given || (given.dtype === dtype && given.dims.join() === dims.join())) return { dtype, dims };
    throw misfit(name, prediction, given, "the same type and shape");
  }
  const labels = {
    dtype: "int64" as const,
    dims: kind === "sequence" ? sequencesOf(prediction, maxLabels) : placesOf(prediction, classAxis),
  };
  if (given && (given.dtype !== labels.dtype || given.dims.join() !== labels.dims.join()))
    throw misfit(name, prediction, given, `class indices of the data, int64 [${labels.dims.join(", ")}]`);
  return labels;
}

/** Where there is a class each. @throws shape-mismatch */
function placesOf({ name, dims }: ValueType, classAxis: number): number[] {
  const axis = classAxis < 0 ? classAxis + dims.length : classAxis;
  if (dims.length >= 2 && axis >= 1 && axis < dims.length) return dims.filter((_, i) => i !== axis);
  throw new TersorError(
    "shape-mismatch",
    `cross-entropy of "${name}" [${dims.join(", ")}]: it has no axis ${classAxis} of classes behind the batch axis: expected logits [batch, …, classes]. Choose another output or classAxis.`,
  );
}

/** Room for the longest sequence of labels. @throws shape-mismatch */
function sequencesOf({ name, dims }: ValueType, most = Number.POSITIVE_INFINITY): readonly number[] {
  const [n = 0, steps = 0] = dims;
  if (dims.length === 3) return [n, Math.min(steps, most)];
  throw new TersorError(
    "shape-mismatch",
    `ctc of "${name}" [${dims.join(", ")}]: expected scores [batch, steps, classes]. Choose another output.`,
  );
}

function misfit(loss: string, y: ValueType, t: ValueType | string, expected: string): TersorError {
  const type = ({ name, dtype, dims }: ValueType) => `"${name}" ${dtype} [${dims.join(", ")}]`;
  const got = typeof t === "string" ? `"${t}"` : type(t);
  return new TersorError(
    "shape-mismatch",
    `loss ${loss} of ${type(y)}: its target does not suit it: expected ${expected}, got ${got}. Name another pair of values, let a projection be learned between them (project), or take attention or a relation, which need no equal widths.`,
  );
}
