/** @file Gradient rules: normalization. */
import type { Value } from "../../ir/value.ts";
import { elementCount } from "../../tensor/tensor.ts";
import type { Emitter } from "../emitter.ts";
import type { GradientContext, GradientRules } from "../rule.ts";

const EPSILON = 1e-5;

/** Of z = (x - mean) * inv over `axes`, with gradient g: dx = inv * (g - mean g - z * mean(g z)). */
function standardized(op: Emitter, g: Value, z: Value, inv: Value, axes: readonly number[]): Value {
  const along = op.ReduceMean(op.Mul(g, z), axes);
  return op.Mul(inv, op.Sub(op.Sub(g, op.ReduceMean(g, axes)), op.Mul(z, along)));
}

/** 1 / sqrt(variance + epsilon). */
function inverseDeviation(op: Emitter, variance: Value | undefined, epsilon: number): Value {
  return op.Reciprocal(op.Sqrt(op.Add(variance, epsilon)));
}

/** [c] as [c, 1, …], to broadcast with x [n, c, …]. */
function perChannel(op: Emitter, value: Value | undefined, x: Value | undefined): Value {
  return op.reshape(value, [-1, ...new Array<number>(op.rank(x) - 2).fill(1)]);
}

/** Axes of x [n, c, …] but the channels. */
function allButChannels(op: Emitter, x: Value | undefined): readonly number[] {
  return Array.from({ length: op.rank(x) }, (_, i) => i).filter((i) => i !== 1);
}

/** GroupNormalization of x [n, c, …] with `scale` [c]; InstanceNormalization has a group per channel. */
function groupNorm({ op, node, x: [x, scale], dy: [dy] }: GradientContext, groups: number) {
  const shape = op.shape(x);
  const [n = 1, c = 1] = shape;
  const size = elementCount(shape) / (n * groups);
  const grouped = (value: Value | undefined) => op.reshape(value, [n, groups, size]);
  const centred = op.Sub(grouped(x), op.ReduceMean(grouped(x), [2]));
  const inv = inverseDeviation(op, op.ReduceMean(op.Mul(centred, centred), [2]), node.float("epsilon", EPSILON));
  const z = op.Mul(centred, inv);
  const g = grouped(op.Mul(dy, perChannel(op, scale, x)));
  const dx = op.reshape(standardized(op, g, z, inv, [2]), shape);
  const axes = allButChannels(op, x);
  const dscale = op.ReduceSum(op.Mul(dy, op.reshape(z, shape)), axes, { keepdims: 0 });
  return [dx, op.reshape(dscale, [c]), op.ReduceSum(dy, axes, { keepdims: 0 })];
}

/** Axes from the node's `axis` on. */
function axesFrom({ op, node, x: [x] }: GradientContext): readonly number[] {
  const first = op.axis(x, node.int("axis", -1));
  return Array.from({ length: op.rank(x) - first }, (_, i) => i + first);
}

export const norms = {
  // Per channel, a = scale / sqrt(variance + epsilon), u = x - mean: y = a u + b, db = sum dy, da = sum(dy u).
  // Fixed statistics: dx = a dy, dscale = da inv, dmean = -a db, dvariance = -da a inv² / 2.
  // The batch's own, over m elements: dx = a (dy - db / m - u inv² da / m), dscale = da inv.
  BatchNormalization: ({ op, node, x: [x, scale, , mean, variance], dy: [dy], needs }) => {
    const isTraining = node.int("training_mode", 0) === 1;
    const [m, v] = isTraining ? [op.output(node, 1), op.output(node, 2)] : [mean, variance];
    const inv = inverseDeviation(op, v, node.float("epsilon", EPSILON));
    const a = op.Mul(scale, inv);
    const axes = allButChannels(op, x);
    const db = op.ReduceSum(dy, axes, { keepdims: 0 });
    if (!isTraining && !needs.slice(1).includes(true)) return [op.Mul(dy, perChannel(op, a, x))];
    const u = op.Sub(x, perChannel(op, m, x));
    const da = op.ReduceSum(op.Mul(dy, u), axes, { keepdims: 0 });
    const dscale = op.Mul(da, inv);
    const slope = op.Mul(op.Mul(a, da), op.Mul(inv, inv));
    if (!isTraining) return [op.Mul(dy, perChannel(op, a, x)), dscale, db, op.Neg(op.Mul(a, db)), op.Mul(slope, -0.5)];
    const count = axes.reduce((product, axis) => product * (op.shape(x)[axis] ?? 1), 1);
    const along = op.Mul(u, perChannel(op, op.Div(slope, count), x));
    const level = perChannel(op, op.Div(op.Mul(a, db), count), x);
    return [op.Sub(op.Sub(op.Mul(dy, perChannel(op, a, x)), along), level), dscale, db];
  },
  // y = scale z + b, z = (x - mean) * inv    g = dy * scale: dx = inv * (g - mean g - z mean(g z)), dscale = sum(dy z), db = sum dy
  LayerNormalization: (context) => {
    const {
      op,
      node,
      x: [x, scale],
      dy: [dy],
    } = context;
    const dtype = op.dtype(x);
    const inv = op.cast(op.output(node, 2), dtype);
    const z = op.Mul(op.Sub(x, op.cast(op.output(node, 1), dtype)), inv);
    return [standardized(op, op.Mul(dy, scale), z, inv, axesFrom(context)), op.Mul(dy, z), dy];
  },
  // y = scale z, z = x * inv, inv = 1 / sqrt(mean x² + epsilon)    g = dy * scale: dx = inv * (g - z mean(g z)), dscale = sum(dy z)
  RMSNormalization: (context) => {
    const {
      op,
      node,
      x: [x, scale],
      dy: [dy],
    } = context;
    const axes = axesFrom(context);
    const inv = inverseDeviation(op, op.ReduceMean(op.Mul(x, x), axes), node.float("epsilon", EPSILON));
    const z = op.Mul(x, inv);
    const g = op.Mul(dy, scale);
    return [op.Mul(inv, op.Sub(g, op.Mul(z, op.ReduceMean(op.Mul(g, z), axes)))), op.Mul(dy, z)];
  },
  // As LayerNormalization over the spatial dims of each channel
  InstanceNormalization: (context) => groupNorm(context, context.op.shape(context.x[0])[1] ?? 1),
  // As LayerNormalization over the channels of each group, with a scale per channel
  GroupNormalization: (context) => groupNorm(context, context.node.int("num_groups", 1)),
  // y = (x - mean) * inv    dx = inv * (dy - mean dy - y mean(dy y))
  MeanVarianceNormalization: ({ op, node, x: [x], y: [y], dy: [dy] }) => {
    if (!y || !dy) return [];
    const axes = node.ints("axes") ?? [0, 2, 3];
    const centred = op.Sub(x, op.ReduceMean(x, axes));
    const inv = inverseDeviation(op, op.ReduceMean(op.Mul(centred, centred), axes), 1e-9);
    return [standardized(op, dy, y, inv, axes)];
  },
  // y = x / norm    dx = (dy - x / norm * sum(dy y)) / norm, with sign x for x / norm where p is 1
  LpNormalization: ({ op, node, x: [x], y: [y], dy: [dy] }) => {
    const axes = [node.int("axis", -1)];
    const isL1 = node.int("p", 2) === 1;
    const norm = isL1 ? op.ReduceL1(x, axes) : op.ReduceL2(x, axes);
    const direction = isL1 ? op.Sign(x) : y;
    return [op.Div(op.Sub(dy, op.Mul(direction, op.ReduceSum(op.Mul(dy, y), axes))), norm)];
  },
  // y = x s^-beta, s = bias + alpha / size * sum x² over near channels    dx = dy s^-beta - 2 alpha beta / size * x * sum(dy y / s) over near channels
  LRN: ({ op, node, x: [x], y: [y], dy: [dy] }) => {
    const size = node.int("size", 1);
    const alpha = node.float("alpha", 1e-4);
    const beta = node.float("beta", 0.75);
    const near = (value: Value, before: number) => {
      const [n = 1, c = 1, ...spatial] = op.shape(value);
      const image = op.reshape(value, [n, 1, c, elementCount(spatial)]);
      const pads = [before, 0, size - 1 - before, 0];
      const mean = op.AveragePool(image, { kernel_shape: [size, 1], pads, count_include_pad: 1 });
      return op.Mul(op.reshape(mean, [n, c, ...spatial]), size);
    };
    const before = Math.floor((size - 1) / 2);
    const s = op.Add(op.Mul(near(op.Mul(x, x), before), alpha / size), node.float("bias", 1));
    const around = near(op.Div(op.Mul(dy, y), s), size - 1 - before);
    return [op.Sub(op.Mul(dy, op.Pow(s, -beta)), op.Mul(op.Mul(x, (2 * alpha * beta) / size), around))];
  },
} satisfies GradientRules;
