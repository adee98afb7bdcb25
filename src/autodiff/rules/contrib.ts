/** @file Gradient rules: operators of com.microsoft that stay fused in the forward model. */
import type { Value } from "../../ir/value.ts";
import { TersorError } from "../../util/errors.ts";
import type { Emitter } from "../emitter.ts";
import type { GradientContext, GradientRules } from "../rule.ts";

/** Codes of `bits` bits, the first one lowest in its byte: [..., bytes] to [..., bytes · 8 / bits]. */
function unpacked(op: Emitter, bytes: Value | undefined, bits: number): Value {
  const shape = op.shape(bytes);
  const perByte = 8 / bits;
  const parts = Array.from({ length: perByte }, (_, i) => {
    const shifted = i === 0 ? bytes : op.BitShift(bytes, i * bits, { direction: "RIGHT" });
    return op.Unsqueeze(bits === 8 ? shifted : op.BitwiseAnd(shifted, 2 ** bits - 1), [shape.length]);
  });
  const dims = [...shape.slice(0, -1), (shape.at(-1) ?? 0) * perByte];
  return op.reshape(op.Concat(...parts, { axis: -1 }), dims);
}

/** The weight of a MatMulNBits as numbers, [n, k]. */
function weightOf({ op, node, x: [, codes, scales, zeroPoints, order], dy: [dy] }: GradientContext): Value {
  const bits = node.int("bits", 4);
  const [n = 0, blocks = 0] = op.shape(codes);
  if (8 % bits !== 0 || order)
    throw new TersorError(
      "unsupported-op",
      `${node}: no gradient for this form: expected 2, 4 or 8 bits and groups in order (no g_idx), got ${bits} bits. Quantize after training.`,
    );
  const numbers = (value: Value) => op.cast(value, op.dtype(dy));
  const perBlock = (value: Value) => op.reshape(numbers(value), [n, blocks, 1]);
  const isPacked = zeroPoints && op.dtype(zeroPoints) === "uint8";
  const zero = isPacked
    ? op.Slice(op.reshape(unpacked(op, zeroPoints, bits), [n, -1]), [0], [blocks], [1])
    : zeroPoints;
  const centred = op.Sub(numbers(unpacked(op, codes, bits)), zero ? perBlock(zero) : op.like(dy, 2 ** (bits - 1)));
  const weight = op.Reshape(op.Mul(centred, perBlock(scales as Value)), [n, -1]);
  return op.Slice(weight, [0], [node.int("K", 0)], [1]);
}

export const contrib = {
  // y = a w' + bias    da = dy w; codes, scales and zero points have none
  MatMulNBits: (context) => {
    const { op, dy } = context;
    return [op.MatMul(dy[0], weightOf(context)), undefined, undefined, undefined, undefined, dy[0]];
  },
} satisfies GradientRules;
