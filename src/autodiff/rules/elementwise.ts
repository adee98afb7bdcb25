/** @file Gradient rules: arithmetic and functions of one element. */
import type { Value } from "../../ir/value.ts";
import { dtypeInfo } from "../../tensor/dtype.ts";
import type { GradientContext, GradientRule, GradientRules } from "../rule.ts";

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
  // y = a - b * trunc(a / b)    da = dy, db = -dy * (a - y) / b, which is a whole number
  Mod: ({ op, x: [a, b], y: [y], dy: [dy] }) => [dy, op.Neg(op.Mul(dy, op.Round(op.Div(op.Sub(a, y), b))))],
  // y = a + b + …    each dy
  Sum: ({ node, dy: [dy] }) => node.inputs.map(() => dy),
  // y = (a + b + …) / n    each dy / n
  Mean: ({ op, node, dy: [dy] }) => {
    const share = op.Mul(dy, 1 / node.inputs.length);
    return node.inputs.map(() => share);
  },
  // y = max(a, b, …)    dy to whichever is y, in equal shares
  Max: (context) => sharesOfExtreme(context),
  // y = min(a, b, …)    dy to whichever is y, in equal shares
  Min: (context) => sharesOfExtreme(context),
  // y = -x    dx = -dy
  Neg: ({ op, dy: [dy] }) => [op.Neg(dy)],
  // y = |x|    dx = dy * sign x
  Abs: ({ op, x: [x], dy: [dy] }) => [op.Mul(dy, op.Sign(x))],
  // y = 1 / x    dx = -dy * y²
  Reciprocal: ({ op, y: [y], dy: [dy] }) => [op.Neg(op.Mul(dy, op.Mul(y, y)))],
  // y = sqrt(x)    dx = dy / 2y
  Sqrt: ({ op, y: [y], dy: [dy] }) => [op.Div(dy, op.Mul(y, 2))],
  // y = e^x    dx = dy * y
  Exp: ({ op, y: [y], dy: [dy] }) => [op.Mul(dy, y)],
  // y = ln x    dx = dy / x
  Log: ({ op, x: [x], dy: [dy] }) => [op.Div(dy, x)],
  // y = x^p    dx = dy * p * x^(p - 1), 0 where p is; dp = dy * y * ln x, 0 where x is not positive
  Pow: ({ op, x: [x, power], y: [y], dy: [dy] }) => {
    const p = op.cast(power, op.dtype(x));
    const slope = op.known(power)?.[0] === 2 ? op.Mul(x, 2) : op.Mul(p, op.Pow(x, op.Sub(p, 1)));
    const isFixed = op.known(power)?.every((value) => value !== 0);
    const dx = op.Mul(dy, isFixed ? slope : op.Where(op.Equal(p, 0), op.like(x, 0), slope));
    const isPositive = op.Greater(x, 0);
    const log = op.Log(op.Where(isPositive, x, op.like(x, 1)));
    return [dx, op.cast(op.Mul(dy, op.Mul(y, log)), op.dtype(power))];
  },
  // y = sin x    dx = dy * cos x
  Sin: ({ op, x: [x], dy: [dy] }) => [op.Mul(dy, op.Cos(x))],
  // y = cos x    dx = -dy * sin x
  Cos: ({ op, x: [x], dy: [dy] }) => [op.Neg(op.Mul(dy, op.Sin(x)))],
  // y = tan x    dx = dy * (1 + y²)
  Tan: ({ op, y: [y], dy: [dy] }) => [op.Mul(dy, op.Add(op.Mul(y, y), 1))],
  // y = arcsin x    dx = dy / sqrt(1 - x²)
  Asin: ({ op, x: [x], dy: [dy] }) => [op.Div(dy, op.Sqrt(op.Sub(1, op.Mul(x, x))))],
  // y = arccos x    dx = -dy / sqrt(1 - x²)
  Acos: ({ op, x: [x], dy: [dy] }) => [op.Neg(op.Div(dy, op.Sqrt(op.Sub(1, op.Mul(x, x)))))],
  // y = arctan x    dx = dy / (1 + x²)
  Atan: ({ op, x: [x], dy: [dy] }) => [op.Div(dy, op.Add(op.Mul(x, x), 1))],
  // y = sinh x    dx = dy * cosh x
  Sinh: ({ op, x: [x], dy: [dy] }) => [op.Mul(dy, op.Cosh(x))],
  // y = cosh x    dx = dy * sinh x
  Cosh: ({ op, x: [x], dy: [dy] }) => [op.Mul(dy, op.Sinh(x))],
  // y = arsinh x    dx = dy / sqrt(x² + 1)
  Asinh: ({ op, x: [x], dy: [dy] }) => [op.Div(dy, op.Sqrt(op.Add(op.Mul(x, x), 1)))],
  // y = arcosh x    dx = dy / sqrt(x² - 1)
  Acosh: ({ op, x: [x], dy: [dy] }) => [op.Div(dy, op.Sqrt(op.Sub(op.Mul(x, x), 1)))],
  // y = artanh x    dx = dy / (1 - x²)
  Atanh: ({ op, x: [x], dy: [dy] }) => [op.Div(dy, op.Sub(1, op.Mul(x, x)))],
  // y = erf x    dx = dy * 2/√π * e^(-x²)
  Erf: ({ op, x: [x], dy: [dy] }) => [op.Mul(dy, op.Mul(op.Exp(op.Neg(op.Mul(x, x))), 2 / Math.sqrt(Math.PI)))],
  // y = a where c, else b    da = dy where c, db = dy where not
  Where: ({ op, x: [c], dy: [dy] }) => [undefined, op.Where(c, dy, op.like(dy, 0)), op.Where(c, op.like(dy, 0), dy)],
  // y = min(max(x, low), high)    dx = dy where y = x, the bounds included; dlow, dhigh = dy where x is beyond
  Clip: ({ op, x: [x, low, high], y: [y], dy: [dy] }) => {
    const where = (condition: Value) => op.Mul(dy, op.mask(condition, dy));
    return [
      low || high ? where(op.Equal(x, y)) : dy,
      low && where(op.Less(x, low)),
      high && where(op.Greater(x, high)),
    ];
  },
  // y = x in another dtype    dx = dy in x's; integers have none
  Cast: (context) => castBack(context),
  // y = x in the dtype of another value    dx = dy in x's; integers have none
  CastLike: (context) => castBack(context),
} satisfies GradientRules;

const castBack: GradientRule = ({ op, x: [x], dy: [dy] }) => {
  const dtype = op.dtype(x);
  return [dtypeInfo(dtype).kind === "float" ? op.cast(dy, dtype) : undefined];
};

function sharesOfExtreme({ op, x, y: [y], dy: [dy] }: GradientContext): readonly (Value | undefined)[] {
  if (x.length === 1) return [dy];
  const masks = x.map((each) => op.mask(op.Equal(each, y), dy));
  const share = op.Div(dy, op.Sum(...masks));
  return masks.map((mask) => op.Mul(share, mask));
}
