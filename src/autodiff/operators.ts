/** @file The standard operators that gradients are made of. */
import type { Value } from "../ir/value.ts";

/** See `EmitterCore.emit`. */
export type Operand = Value | number | readonly number[] | undefined;
export type Attributes = Readonly<Record<string, number | string | readonly number[]>>;
type Operator = (...operands: readonly (Operand | Attributes)[]) => Value;

/** Operators with one output that rules may emit; those with more go through `emit`. */
export const operatorNames = [
  "Abs",
  "Add",
  "And",
  "Clip",
  "Concat",
  "Conv",
  "ConvTranspose",
  "Cos",
  "Cosh",
  "Div",
  "Equal",
  "Erf",
  "Exp",
  "Expand",
  "Floor",
  "Gemm",
  "Greater",
  "GreaterOrEqual",
  "Identity",
  "Less",
  "LessOrEqual",
  "Log",
  "MatMul",
  "Mul",
  "Neg",
  "Not",
  "Or",
  "Pad",
  "Pow",
  "Reciprocal",
  "ReduceMax",
  "ReduceMean",
  "ReduceSum",
  "ReduceSumSquare",
  "Relu",
  "Reshape",
  "Resize",
  "ScatterElements",
  "Shape",
  "Sigmoid",
  "Sign",
  "Sin",
  "Sinh",
  "Slice",
  "Softmax",
  "Softplus",
  "Sqrt",
  "Squeeze",
  "Sub",
  "Sum",
  "Tanh",
  "Tile",
  "Transpose",
  "Unsqueeze",
  "Where",
] as const;

export type OperatorName = (typeof operatorNames)[number];
export type Operators = { readonly [name in OperatorName]: Operator };
