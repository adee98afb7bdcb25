/** @file Channel rules: operators that work element by element, with broadcasting. */
import type { Value } from "../../../ir/value.ts";
import type { ChannelRule, ChannelRules } from "../channel-rule.ts";
import { type Link, type RuleContext, same } from "../port.ts";

/** Ties every axis of the inputs that is not broadcast with that of the output. */
export function broadcastLinks(
  context: RuleContext,
  inputs: readonly (Value | undefined)[],
  output: Value | undefined,
): Link[] {
  const rank = context.rank(output);
  if (rank === undefined) return [];
  return inputs.flatMap((input) => {
    const own = context.rank(input) ?? 0;
    return Array.from({ length: own }, (_, axis) =>
      same(context.port(output, axis + rank - own), context.port(input, axis)),
    ).flat();
  });
}

/** All inputs broadcast to the outputs, which have one shape. */
export const elementwise: ChannelRule = {
  link(context) {
    const { inputs, outputs } = context.node;
    return { links: outputs.flatMap((output) => broadcastLinks(context, inputs, output)) };
  },
};

/** Of the first input alone; the others say how. */
const ofFirst: ChannelRule = {
  link(context) {
    const { inputs, outputs } = context.node;
    return { links: outputs.flatMap((output) => broadcastLinks(context, inputs.slice(0, 1), output)) };
  },
};

/** Scales and zero points per tensor, or per index of one axis; [blocks] along an axis can't be cut. */
const quantization: ChannelRule = {
  link(context) {
    const { node } = context;
    if (node.int("block_size", 0) !== 0) return undefined;
    const links = broadcastLinks(context, node.inputs.slice(0, 1), node.output());
    const axis = node.int("axis", 1);
    const parameters = [1, 2].filter((index) => context.rank(node.inputs[index]) === 1);
    return {
      links: [...links, ...parameters.flatMap((index) => same(context.in(0, axis), context.in(index, 0)))],
    };
  },
};

const names = [
  ..."Abs Acos Acosh Add And Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Ceil".split(" "),
  ..."Celu Cos Cosh Div Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual HardSigmoid HardSwish Identity".split(" "),
  ..."IsInf IsNaN LeakyRelu Less LessOrEqual Log Max Mean Min Mish Mod Mul Neg Not Or PRelu Pow Reciprocal".split(" "),
  ..."Relu Round Selu Shrink Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Sub Sum Swish Tan Tanh".split(" "),
  ..."ThresholdedRelu Where Xor".split(" "),
  ...["BiasGelu", "FastGelu", "Gelu", "QuickGelu", "BiasAdd"].map((name) => `com.microsoft.${name}`),
];

export const elementwiseRules: ChannelRules = {
  ...Object.fromEntries(names.map((name) => [name, elementwise])),
  Cast: ofFirst,
  CastLike: ofFirst,
  Clip: ofFirst,
  Dropout: ofFirst,
  QuantizeLinear: quantization,
  DequantizeLinear: quantization,
};
