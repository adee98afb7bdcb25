/** @file Gradient rules: arithmetic and functions of one element. */
import { dtypeInfo } from "../../tensor/dtype.ts";
import type { GradientRules } from "../rule.ts";

export const elementwise = {
  // y = x    dx = dy
  Identity: ({ dy: [dy] }) => [dy],
  // y = a + b    da = db = dy
  Add: ({ dy: [dy] }) => [dy, dy],
  // y = a - b    da = dy, db = -dy
  Sub: ({ op, dy: [dy] }) => [dy, op.Neg(dy)],
  // y = a * b    da = dy * b, db = dy * a
  Mul: ({ op, x: [a, b], dy: [dy] }) => [op.Mul(dy, b), op.Mul(dy, a)],
  // y = a / b    da = dy / b, db = -dy * y / b
  Div: ({ op, x: [, b], y: [y], dy: [dy] }) => {
    const da = op.Div(dy, b);
    return [da, op.Neg(op.Mul(da, y))];
  },
  // y = a + b + …    each dy
  Sum: ({ node, dy: [dy] }) => node.inputs.map(() => dy),
  // y = -x    dx = -dy
  Neg: ({ op, dy: [dy] }) => [op.Neg(dy)],
  // y = sqrt(x)    dx = dy / 2y
  Sqrt: ({ op, y: [y], dy: [dy] }) => [op.Div(dy, op.Mul(y, 2))],
  // y = e^x    dx = dy * y
  Exp: ({ op, y: [y], dy: [dy] }) => [op.Mul(dy, y)],
  // y = ln x    dx = dy / x
  Log: ({ op, x: [x], dy: [dy] }) => [op.Div(dy, x)],
  // y = x in another dtype    dx = dy in x's; integers have none
  Cast: ({ op, x: [x], dy: [dy] }) => [dtypeInfo(op.dtype(x)).kind === "float" ? op.cast(dy, op.dtype(x)) : undefined],
} satisfies GradientRules;
