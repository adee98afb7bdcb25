/** @file Gradient rules: elements picked, placed or ordered by index. What goes back to an index more than once is summed. */
import type { Value } from "../../ir/value.ts";
import { invariant } from "../../util/errors.ts";
import type { Emitter } from "../emitter.ts";
import type { GradientContext, GradientRules } from "../rule.ts";

function product(dims: readonly number[]): number {
  return dims.reduce((a, b) => a * b, 1);
}

/** Zeros, made at run time: a file of zeros as large as an embedding would be no small model. */
function zeros(op: Emitter, like: Value | undefined, dims: readonly number[]): Value {
  return op.Expand(op.like(like, 0), dims);
}

/**
 * Zeros of these dims with `updates` added where the indices say. Never by ScatterND: with several threads, its sums of what meets
 * at one index come out wrong (ONNX Runtime 1.30).
 */
function scatterAdd(op: Emitter, dims: readonly number[], indices: Value, updates: Value | undefined, axis: number) {
  return op.ScatterElements(zeros(op, updates, dims), indices, updates, { axis, reduction: "add" });
}

/** Index vectors [..., n, k] over dims [..., d1, …, dk, …]: each as one index into d1 ⋯ dk, negative ones counted from the end. */
export function flatIndices(op: Emitter, indices: Value | undefined, dims: readonly number[]): Value {
  const strides = dims.map((_, i) => product(dims.slice(i + 1)));
  const positive = op.Where(op.Less(indices, 0), op.Add(indices, dims), indices);
  return op.ReduceSum(op.Mul(positive, strides), [-1], { keepdims: 0 });
}

/** y[…, i, …] = x[…, indices[i], …]: the gradient of x. */
function gathered({ op, node, x: [x, indices], dy: [dy] }: GradientContext): Value {
  const dims = op.shape(x);
  const axis = op.axis(x, node.int("axis", 0));
  const count = product(op.shape(indices));
  const rows = dims.map((dim, i) => (i === axis ? count : dim));
  const places = op.reshape(
    indices,
    dims.map((_, i) => (i === axis ? count : 1)),
  );
  return scatterAdd(op, dims, op.Expand(places, rows), op.reshape(dy, rows), axis);
}

/** As {@link gathered} for index vectors, over data as [batch, addressed, slice]. */
function gatheredByVectors({ op, node, x: [x, indices], dy: [dy] }: GradientContext): Value {
  const dims = op.shape(x);
  const vectors = op.shape(indices);
  const batch = node.int("batch_dims", 0);
  const depth = vectors.at(-1) ?? 0;
  const addressed = dims.slice(batch, batch + depth);
  const [outer, slice] = [product(dims.slice(0, batch)), product(dims.slice(batch + depth))];
  const count = product(vectors.slice(batch, -1));
  const places = op.reshape(flatIndices(op, indices, addressed), [outer, count, 1]);
  const rows = [outer, count, slice];
  const sums = scatterAdd(op, [outer, product(addressed), slice], op.Expand(places, rows), op.reshape(dy, rows), 1);
  return op.reshape(sums, dims);
}

type ScatterRule = (context: GradientContext, axis: number) => readonly Value[];

/** ScatterElements by its reduction: gradients of data and updates. */
const scatters: Readonly<Record<string, ScatterRule>> = {
  // y[i] = u    dx = dy but at i, du = dy[i]
  none: ({ op, x: [, indices, updates], dy: [dy] }, axis) => [
    op.ScatterElements(dy, indices, zeros(op, updates, op.shape(updates)), { axis }),
    op.GatherElements(dy, indices, { axis }),
  ],
  // y[i] += u    dx = dy, du = dy[i]
  add: ({ op, x: [, indices], dy: [dy] }, axis) => [dy as Value, op.GatherElements(dy, indices, { axis })],
  // y[i] *= u    dx = dy * product of the u at i; du = dy[i] * x[i] * product of the other u, of which none may be zero
  mul: ({ op, x: [x, indices, updates], dy: [dy] }, axis) => {
    const isZero = op.Equal(updates, 0);
    const ones = op.Where(isZero, op.like(updates, 1), updates);
    const products = op.ScatterElements(x, indices, ones, { axis, reduction: "mul" });
    const zero = op.mask(isZero, x);
    const otherZeros = op.Sub(
      op.GatherElements(scatterAdd(op, op.shape(x), indices as Value, zero, axis), indices, { axis }),
      zero,
    );
    const others = op.Div(op.GatherElements(op.Mul(dy, products), indices, { axis }), ones);
    return [
      op.ScatterElements(dy, indices, updates, { axis, reduction: "mul" }),
      op.Mul(others, op.mask(op.Equal(otherZeros, 0), x)),
    ];
  },
  max: extreme,
  min: extreme,
};

// y[i] = max(x[i], u, …)    dy to those that are the largest, in equal parts
function extreme({ op, x: [x, indices, updates], y: [y], dy: [dy] }: GradientContext, axis: number): readonly Value[] {
  const keeps = op.mask(op.Equal(x, y), x);
  const wins = op.mask(op.Equal(updates, op.GatherElements(y, indices, { axis })), x);
  const share = op.Div(dy, op.ScatterElements(keeps, indices, wins, { axis, reduction: "add" }));
  return [op.Mul(share, keeps), op.Mul(op.GatherElements(share, indices, { axis }), wins)];
}

export const indexOps = {
  // y = x[…, i, …]    dx[…, i, …] += dy
  Gather: (context) => [gathered(context)],
  GatherElements: ({ op, node, x: [x, indices], dy: [dy] }) => [
    scatterAdd(op, op.shape(x), indices as Value, dy, node.int("axis", 0)),
  ],
  GatherND: (context) => [gatheredByVectors(context)],
  ScatterElements: (context) => {
    const rule = scatters[context.node.string("reduction", "none")];
    invariant(rule, `${context.node}: the schema has no such reduction`);
    const [dx, du] = rule(context, context.node.int("axis", 0));
    return [dx, undefined, du];
  },
  // y = where(hit, on, off)    d off = sum of dy where not hit, d on = where hit
  OneHot: ({ op, node, x: [indices, depth, values], dy: [dy] }) => {
    const mask = op.constant(op.dtype(values), [2], [0, 1]);
    const hit = op.OneHot(indices, depth, mask, { axis: node.int("axis", -1) });
    const on = op.ReduceSum(op.Mul(dy, hit), { keepdims: 0 });
    const off = op.Sub(op.ReduceSum(dy, { keepdims: 0 }), on);
    return [undefined, undefined, op.Concat(op.Unsqueeze(off, [0]), op.Unsqueeze(on, [0]), { axis: 0 })];
  },
  // y = x[i], no element twice    dx[i] = dy
  TopK: ({ op, node, x: [x], dy: [dy] }) => [scatterAdd(op, op.shape(x), op.output(node, 1), dy, node.int("axis", -1))],
  // y[i] = sum of x[j], j <= i    dx[j] = sum of dy[i], i >= j
  CumSum: ({ op, node, x: [, axis], dy: [dy] }) => [
    op.CumSum(dy, axis, { exclusive: node.int("exclusive", 0), reverse: 1 - node.int("reverse", 0) }),
  ],
  // y = x where c, packed    dx = dy, back in place
  Compress: ({ op, node, x: [x, condition], dy: [dy] }) => {
    const picked = op.NonZero(condition);
    const dims = op.shape(x);
    const axis = node.int("axis");
    if (axis === undefined) return [op.reshape(scatterAdd(op, [product(dims)], op.Reshape(picked, [-1]), dy, 0), dims)];
    const at = op.axis(x, axis);
    const places = op.Reshape(
      picked,
      dims.map((_, i) => (i === at ? -1 : 1)),
    );
    return [scatterAdd(op, dims, op.Expand(places, op.Shape(dy)), dy, at)];
  },
  // y = x, the first n steps reversed    dx = dy, the first n steps reversed
  ReverseSequence: ({ op, node, x: [, lengths], dy: [dy] }) => [
    op.ReverseSequence(dy, lengths, { batch_axis: node.int("batch_axis", 1), time_axis: node.int("time_axis", 0) }),
  ],
} satisfies GradientRules;
