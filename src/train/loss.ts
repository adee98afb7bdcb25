/** @file Losses, emitted as standard operators: a prediction and a target in, a scalar out. */
import * as z from "zod";
import type { Emitter } from "../autodiff/emitter.ts";
import type { Value } from "../ir/value.ts";
import type { DType } from "../tensor/dtype.ts";
import { TersorError } from "../util/errors.ts";

/** What a target looks like: class indices, without the class axis; or numbers in the prediction's shape. */
export type TargetKind = "classes" | "like";

interface LossCall {
  readonly op: Emitter;
  /** The prediction, as the model gives it. */
  readonly y: Value;
  readonly t: Value;
  readonly options: LossSettings;
}

interface LossRule {
  readonly target: TargetKind;
  readonly summary: string;
  emit(call: LossCall): Value;
}

/** One loss of a weighted sum. Options that a loss has no use for are ignored by it. */
export const lossOptions = z.strictObject({
  name: z
    .enum(["cross-entropy", "binary-cross-entropy", "mse", "l1", "kl", "cosine"])
    .describe("how far off is measured"),
  output: z.string().optional().describe("the value of the model that is judged; default the first output"),
  target: z
    .string()
    .default("label")
    .describe(
      'what it is compared with: "label", "input:NAME" (as autoencoders do), or "teacher:NAME", a value of the teacher',
    ),
  weight: z.number().positive().default(1).describe("factor in the sum of losses"),
  labelSmoothing: z
    .number()
    .min(0)
    .lt(1)
    .default(0)
    .describe("cross-entropy: share of the target spread over all classes"),
  ignoreIndex: z
    .int()
    .optional()
    .describe("cross-entropy: a label that does not count, as padding has; negative ones never do"),
  classAxis: z.int().default(-1).describe("the axis of the classes; -1 is the last"),
  temperature: z.number().positive().default(1).describe("kl: both sides are divided by it before the softmax"),
});

export type LossOptions = z.input<typeof lossOptions>;
export type LossSettings = z.output<typeof lossOptions>;
export type LossName = LossSettings["name"];

/** A prediction that is a probability already is taken back to its logits where the graph has them. */
function logitsOf(y: Value, opType: "Softmax" | "Sigmoid"): Value | undefined {
  const { producer } = y;
  return producer?.domain === "" && producer.opType === opType ? producer.input(0) : undefined;
}

/** log softmax of logits, or the logarithm of what is no logits but probabilities already: never below the least positive. */
function logProbabilities(op: Emitter, y: Value, axis: number, temperature = 1): Value {
  const logits = logitsOf(y, "Softmax") ?? y;
  const scaled = temperature === 1 ? logits : op.Mul(logits, 1 / temperature);
  return op.emit("LogSoftmax", [scaled, { axis }])[0] as Value;
}

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
};

/** dtype and dims of a loss's target, from those of the prediction. @throws shape-mismatch for a prediction without a class axis */
export function targetType(
  { name, classAxis }: LossSettings,
  prediction: { readonly name: string; readonly dtype: DType; readonly dims: readonly number[] },
): { readonly dtype: DType; readonly dims: readonly number[] } {
  const { dtype, dims } = prediction;
  if (losses[name].target === "like") return { dtype, dims };
  const axis = classAxis < 0 ? classAxis + dims.length : classAxis;
  if (dims.length < 2 || axis < 1 || axis >= dims.length)
    throw new TersorError(
      "shape-mismatch",
      `${name} of "${prediction.name}" [${dims.join(", ")}]: it has no axis ${classAxis} of classes behind the batch axis: expected logits [batch, …, classes]. Choose another output or classAxis.`,
    );
  return { dtype: "int64", dims: dims.filter((_, i) => i !== axis) };
}
