/** @file Gradient rules: quantization, passed straight through inside of its range. */
import type { Value } from "../../ir/value.ts";
import { dtypeInfo } from "../../tensor/dtype.ts";
import { TersorError } from "../../util/errors.ts";
import type { GradientContext, GradientRules } from "../rule.ts";

/** A scale or zero point as floats that broadcast with x: per tensor, per channel of `axis`, or per block along it. */
function spreadOverX({ op, node, x: [x, scale] }: GradientContext, value: Value): Value {
  const floats = op.cast(value, op.dtype(scale));
  const dims = op.shape(value);
  if (dims.length === 0 || (dims.length === 1 && dims[0] === 1)) return op.reshape(floats, []);
  const shape = op.shape(x);
  const axis = op.axis(x, node.int("axis", 1));
  if (dims.length === 1)
    return op.reshape(
      floats,
      shape.map((_, i) => (i === axis ? -1 : 1)),
    );
  const size = node.int("block_size", 0);
  const repeated = op.Expand(op.Unsqueeze(floats, [axis + 1]), [
    ...dims.slice(0, axis + 1),
    size,
    ...dims.slice(axis + 1),
  ]);
  const joined = op.reshape(
    repeated,
    dims.map((dim, i) => (i === axis ? dim * size : dim)),
  );
  const length = shape[axis] ?? 0;
  return length === (dims[axis] ?? 0) * size ? joined : op.Slice(joined, [0], [length], [axis]);
}

/** The gradient of a scale, summed from the shape of x to its own. */
function toScale({ op, node, x: [x, scale] }: GradientContext, gradient: Value): Value {
  const dims = op.shape(scale);
  const shape = op.shape(x);
  const axis = op.axis(x, node.int("axis", 1));
  const all = shape.map((_, i) => i);
  if (dims.length === 0 || (dims.length === 1 && dims[0] === 1))
    return op.reshape(op.ReduceSum(gradient, all, { keepdims: 0 }), dims);
  if (dims.length === 1)
    return op.ReduceSum(
      gradient,
      all.filter((i) => i !== axis),
      { keepdims: 0 },
    );
  const size = node.int("block_size", 0);
  const missing = (dims[axis] ?? 0) * size - (shape[axis] ?? 0);
  const whole = op.pad(gradient, axis, 0, missing);
  return op.ReduceSum(op.reshape(whole, [...dims.slice(0, axis + 1), size, ...dims.slice(axis + 1)]), [axis + 1], {
    keepdims: 0,
  });
}

/** Least and largest code. @throws unsupported-op for codes that are not integers. */
function rangeOf({ op, node, y: [y] }: GradientContext): readonly [number, number] {
  const { range, name } = dtypeInfo(op.dtype(y));
  if (range) return range;
  throw new TersorError(
    "unsupported-op",
    `${node}: no gradient through codes of ${name}: expected integers of at most 32 bits. Quantize to int8, uint8, int4 or int16.`,
  );
}

export const quantization = {
  // q = round(x / s) + z within its range, round taken as the identity    dx = dq / s inside, ds = -dq * x / s² inside
  QuantizeLinear: (context) => {
    const {
      op,
      x: [x, scale, zero],
      y: [y],
      dy: [dy],
    } = context;
    if (!scale) return [];
    const s = spreadOverX(context, scale);
    const ratio = op.Div(x, s);
    const code = zero ? op.Add(op.Round(ratio), spreadOverX(context, zero)) : op.Round(ratio);
    const [least, most] = rangeOf(context);
    const inside = op.And(op.GreaterOrEqual(code, least), op.LessOrEqual(code, most));
    const dx = op.Mul(op.Div(dy, s), op.mask(inside, dy));
    return y ? [dx, toScale(context, op.Neg(op.Mul(dx, ratio)))] : [];
  },
  // x = (q - z) s    dq = dx * s, ds = dx * (q - z). With QuantizeLinear before it, ds is that of learned step sizes (Esser et al. 2020, https://arxiv.org/abs/1902.08153)
  DequantizeLinear: (context) => {
    const {
      op,
      x: [q, scale, zero],
      dy: [dy],
    } = context;
    if (!scale) return [];
    const codes = op.cast(q, op.dtype(scale));
    const centred = zero ? op.Sub(codes, spreadOverX(context, zero)) : codes;
    return [op.Mul(dy, spreadOverX(context, scale)), toScale(context, op.Mul(dy, centred))];
  },
} satisfies GradientRules;
