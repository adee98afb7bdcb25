/** @file Gradient rules: losses over class labels. */
import type { Value } from "../../ir/value.ts";
import type { Emitter } from "../emitter.ts";
import type { GradientContext, GradientRules } from "../rule.ts";

/** What both losses weigh their labels with: x [n, c, …], labels [n, …]. */
interface Weighing {
  /** [n, c, …]: 1 at the label's class, 0 elsewhere. */
  readonly oneHot: Value;
  /** [n, 1, …]: the gradient of the loss by each -log-probability of a label. */
  readonly each: Value;
}

/** The reduction is undone: the mean divides by the sum of the weights that count. */
function weighed({ op, node, x: [x, labels, weights] }: GradientContext, dy: Value | undefined): Weighing {
  const classes = op.shape(x)[1] ?? 0;
  const target = op.Unsqueeze(labels, [1]);
  const ignored = node.int("ignore_index");
  const counts = ignored === undefined ? undefined : op.Not(op.Equal(target, ignored));
  const label = counts ? op.Where(counts, target, op.like(target, 0)) : target;
  const oneHot = op.mask(op.Equal(label, classRow(op, labels, classes, op.rank(x))), x);
  const weight = weights
    ? op.ReduceSum(op.Mul(oneHot, op.reshape(weights, [classes, ...new Array<number>(op.rank(x) - 2).fill(1)])), [1])
    : op.ReduceSum(oneHot, [1]);
  const counted = counts ? op.Mul(weight, op.mask(counts, x)) : weight;
  const reduction = node.string("reduction", "mean");
  if (reduction === "none") return { oneHot, each: op.Mul(op.Unsqueeze(dy, [1]), counted) };
  const share = reduction === "sum" ? dy : op.Div(dy, op.ReduceSum(counted, { keepdims: 0 }));
  return { oneHot, each: op.Mul(counted, share) };
}

/** The class numbers 0 … c - 1 along axis 1, in the dtype of the labels. */
function classRow(op: Emitter, labels: Value | undefined, classes: number, rank: number): Value {
  const numbers = Array.from({ length: classes }, (_, i) => i);
  return op.constant(op.dtype(labels), [1, classes, ...new Array<number>(rank - 2).fill(1)], numbers);
}

export const losses = {
  // l = -w[label] log p[label], p = softmax x, reduced    dx = (p - 1 at the label) * w[label] dl; the log-probabilities' own gradient g adds g - p sum g
  SoftmaxCrossEntropyLoss: (context) => {
    const {
      op,
      x: [x],
      dy: [dl, dlog],
    } = context;
    const p = op.Softmax(x, { axis: 1 });
    const parts: Value[] = [];
    if (dl) {
      const { oneHot, each } = weighed(context, dl);
      parts.push(op.Mul(op.Sub(p, oneHot), each));
    }
    if (dlog) parts.push(op.Sub(dlog, op.Mul(p, op.ReduceSum(dlog, [1]))));
    return [op.sum(parts)];
  },
  // l = -w[label] x[label], reduced    dx = -w[label] dl at the label
  NegativeLogLikelihoodLoss: (context) => {
    const { oneHot, each } = weighed(context, context.dy[0]);
    return [context.op.Neg(context.op.Mul(oneHot, each))];
  },
} satisfies GradientRules;
