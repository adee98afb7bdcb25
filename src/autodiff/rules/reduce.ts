/** @file Gradient rules: reductions and running sums. */
import type { Value } from "../../ir/value.ts";
import type { Emitter } from "../emitter.ts";
import type { GradientContext, GradientRules } from "../rule.ts";

/** The axes that a reduction runs over, counted from the front. */
function axesOf({ op, node, x: [x, axes] }: GradientContext): readonly number[] {
  const given = axes ? op.integers(axes) : [];
  if (given.length > 0) return given.map((axis) => op.axis(x, axis)).sort((a, b) => a - b);
  if (node.int("noop_with_empty_axes", 0) === 1) return [];
  return Array.from({ length: op.rank(x) }, (_, i) => i);
}

/** y and dy with the reduced axes put back, so that they broadcast with x. */
function kept(context: GradientContext): { readonly y: Value | undefined; readonly dy: Value | undefined } {
  const { op, node, y, dy } = context;
  const axes = axesOf(context);
  const keep = (value: Value | undefined) =>
    axes.length === 0 || node.int("keepdims", 1) === 1 ? value : op.Unsqueeze(value, axes);
  return { y: keep(y[0]), dy: keep(dy[0]) };
}

/** y for dividing by: 1 where it is 0. */
function nonZero(op: Emitter, y: Value | undefined): Value {
  return op.Where(op.Equal(y, 0), op.like(y, 1), y);
}

/** dy to those elements that are the result, in equal shares. */
function sharesOfExtreme(context: GradientContext): readonly Value[] {
  const { op, x } = context;
  const { y, dy } = kept(context);
  const mask = op.mask(op.Equal(x[0], y), dy);
  const axes = axesOf(context);
  return [op.Mul(mask, axes.length > 0 ? op.Div(dy, op.ReduceSum(mask, axes)) : dy)];
}

export const reduces = {
  // y = sum x    dx = dy, expanded
  ReduceSum: (context) => [kept(context).dy],
  // y = sum x / n    dx = dy / n, expanded
  ReduceMean: (context) => {
    const { op, x } = context;
    const shape = op.symbolicShape(x[0]);
    const axes = axesOf(context);
    const isStatic = axes.every((axis) => typeof shape[axis] === "number");
    const count = axes.reduce((product, axis) => product * Number(isStatic ? shape[axis] : op.shape(x[0])[axis]), 1);
    return [op.Mul(kept(context).dy, 1 / count)];
  },
  // y = max x    dx = dy to the maxima
  ReduceMax: (context) => sharesOfExtreme(context),
  // y = min x    dx = dy to the minima
  ReduceMin: (context) => sharesOfExtreme(context),
  // y = product x    dx = dy * product of the others: y / x, or with one zero the product of the rest, there
  ReduceProd: (context) => {
    const { op, x } = context;
    const { dy } = kept(context);
    const axes = axesOf(context);
    if (axes.length === 0) return [dy];
    const isZero = op.Equal(x[0], 0);
    const filled = op.Where(isZero, op.like(x[0], 1), x[0]);
    const rest = op.Div(op.ReduceProd(filled, axes), filled);
    const zero = op.mask(isZero, dy);
    const otherZeros = op.Sub(op.ReduceSum(zero, axes), zero);
    return [op.Mul(dy, op.Mul(rest, op.mask(op.Equal(otherZeros, 0), dy)))];
  },
  // y = sum |x|    dx = dy * sign x
  ReduceL1: (context) => [context.op.Mul(kept(context).dy, context.op.Sign(context.x[0]))],
  // y = sqrt(sum x²)    dx = dy * x / y, 0 where y is
  ReduceL2: (context) => {
    const { op, x } = context;
    const { y, dy } = kept(context);
    return [op.Mul(op.Div(dy, nonZero(op, y)), x[0])];
  },
  // y = ln sum x    dx = dy / sum x = dy / e^y
  ReduceLogSum: (context) => {
    const { y, dy } = kept(context);
    return [context.op.Div(dy, context.op.Exp(y))];
  },
  // y = ln sum e^x    dx = dy * e^(x - y)
  ReduceLogSumExp: (context) => {
    const { op, x } = context;
    const { y, dy } = kept(context);
    return [op.Mul(dy, op.Exp(op.Sub(x[0], y)))];
  },
  // y = sum x²    dx = 2 dy * x
  ReduceSumSquare: (context) => {
    const { op, x } = context;
    return [op.Mul(op.Mul(kept(context).dy, 2), x[0])];
  },
  // y_i = x_0 + … + x_i    dx = running sum of dy from the other end
  CumSum: ({ op, node, x: [, axis], dy: [dy] }) => [
    op.CumSum(dy, axis, { exclusive: node.int("exclusive", 0), reverse: 1 - node.int("reverse", 0) }),
  ],
} satisfies GradientRules;
