/** @file Shape rules: one output element per input element, with broadcasting. */
import { dtypeOfCode } from "../../tensor/dtype.ts";
import type { Call, MaybeType, ShapeRule, ShapeRules } from "./call.ts";

/** The output is as the first input. */
export const likeFirst: ShapeRule = (call) => [call.types[0]];

/** The shape of the first input; the element type is the schema's. */
export const shapeOfFirst: ShapeRule = (call) => call.outs(call.shape(0));

/** All inputs broadcast together. Before opset 7 the first input had the shape already (`broadcast`, `axis`). */
export const broadcastAll: ShapeRule = (call) => {
  const legacy = call.node.domain === "" && call.opset < 7;
  return [call.out(legacy ? call.shape(0) : call.broadcast(call.node.inputs.map((_, i) => call.shape(i))))];
};

/** Inputs at these positions broadcast together. */
export function broadcastOf(...inputs: readonly number[]): ShapeRule {
  return (call) => [call.out(call.broadcast(inputs.map((i) => call.shape(i))))];
}

function cast(call: Call): readonly MaybeType[] {
  // Before opset 6 the type was given by name.
  const attribute = call.node.attributes.get("to");
  if (attribute?.type === "string") return [call.out(call.shape(0))];
  const code = call.node.int("to");
  if (code === undefined) call.fail('attribute "to"', "an element type", "nothing", "bad-model");
  return [call.out(call.shape(0), dtypeOfCode(code, `${call.node}`))];
}

function table(rule: ShapeRule, names: string): ShapeRules {
  return Object.fromEntries(names.split(/\s+/).map((name) => [name, rule]));
}

export const elementwise: ShapeRules = {
  ...table(
    likeFirst,
    `Abs Acos Acosh Asin Asinh Atan Atanh BitwiseNot Ceil Celu Clip Cos Cosh CumSum Elu Erf Exp Floor Gelu HardSigmoid
    HardSwish Identity LeakyRelu Log Mish Neg Not Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin Sinh Softplus
    Softsign Sqrt Swish Tan Tanh ThresholdedRelu Trilu`,
  ),
  ...table(shapeOfFirst, "IsInf IsNaN RegexFullMatch"),
  ...table(
    broadcastAll,
    `Add And BitShift BitwiseAnd BitwiseOr BitwiseXor Div Equal Greater GreaterOrEqual Less LessOrEqual Max Mean Min Mod
    Mul Or Pow StringConcat Sub Sum Where Xor`,
  ),
  // The slope broadcasts to x only.
  PRelu: likeFirst,
  Cast: cast,
  CastLike: (call) => [call.out(call.shape(0), call.dtype(1))],
  Dropout: (call) => [call.types[0], call.out(call.shape(0), call.opset < 10 ? call.dtype(0) : "bool")],
};
