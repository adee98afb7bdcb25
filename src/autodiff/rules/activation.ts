/** @file Gradient rules: activation functions and the softmax family. */
import type { GradientRules } from "../rule.ts";

export const activations = {
  // y = max(x, 0)    dx = dy where y > 0
  Relu: ({ op, y: [y], dy: [dy] }) => [op.Mul(dy, op.mask(op.Greater(y, 0), dy))],
  // y = x, alpha x below 0    dx = dy, alpha dy below 0
  LeakyRelu: ({ op, node, x: [x], dy: [dy] }) => [
    op.Where(op.Greater(x, 0), dy, op.Mul(dy, node.float("alpha", 0.01))),
  ],
  // y = x, slope x below 0    dx = dy, slope dy below 0; dslope = dy * min(x, 0)
  PRelu: ({ op, x: [x, slope], dy: [dy] }) => [
    op.Where(op.Less(x, 0), op.Mul(dy, slope), dy),
    op.Mul(dy, op.Min(x, 0)),
  ],
  // y = x, alpha (e^x - 1) below 0    dx = dy, dy * (y + alpha) below 0
  Elu: ({ op, node, x: [x], y: [y], dy: [dy] }) => [
    op.Where(op.Greater(x, 0), dy, op.Mul(dy, op.Add(y, node.float("alpha", 1)))),
  ],
  // y = x, alpha (e^(x/alpha) - 1) below 0    dx = dy, dy * (y / alpha + 1) below 0
  Celu: ({ op, node, x: [x], y: [y], dy: [dy] }) => [
    op.Where(op.Greater(x, 0), dy, op.Mul(dy, op.Add(op.Div(y, node.float("alpha", 1)), 1))),
  ],
  // y = gamma x, gamma alpha (e^x - 1) below 0    dx = gamma dy, dy * (y + gamma alpha) below 0
  Selu: ({ op, node, x: [x], y: [y], dy: [dy] }) => {
    const gamma = node.float("gamma", 1.0507010221481323);
    const alpha = node.float("alpha", 1.6732631921768188);
    return [op.Where(op.Greater(x, 0), op.Mul(dy, gamma), op.Mul(dy, op.Add(y, gamma * alpha)))];
  },
  // y = x where x > alpha, else 0    dx = dy there
  ThresholdedRelu: ({ op, node, x: [x], dy: [dy] }) => [op.Mul(dy, op.mask(op.Greater(x, node.float("alpha", 1)), dy))],
  // y = x -+ bias where |x| > lambda, else 0    dx = dy there
  Shrink: ({ op, node, x: [x], dy: [dy] }) => [
    op.Mul(dy, op.mask(op.Greater(op.Abs(x), node.float("lambd", 0.5)), dy)),
  ],
  // y = 1 / (1 + e^-x)    dx = dy * y (1 - y)
  Sigmoid: ({ op, y: [y], dy: [dy] }) => [op.Mul(dy, op.Mul(y, op.Sub(1, y)))],
  // y = alpha x + beta within [0, 1]    dx = alpha dy inside
  HardSigmoid: ({ op, node, y: [y], dy: [dy] }) => {
    const inside = op.And(op.Greater(y, 0), op.Less(y, 1));
    return [op.Mul(dy, op.Mul(op.mask(inside, dy), node.float("alpha", 0.2)))];
  },
  // y = x h, h = x/6 + 1/2 within [0, 1]    dx = dy * (h + x/6 where h is inside)
  HardSwish: ({ op, x: [x], dy: [dy] }) => {
    const h = op.Clip(op.Add(op.Div(x, 6), 0.5), 0, 1);
    const slope = op.mask(op.Less(op.Abs(x), 3), dy);
    return [op.Mul(dy, op.Add(h, op.Mul(slope, op.Div(x, 6))))];
  },
  // y = tanh x    dx = dy * (1 - y²)
  Tanh: ({ op, y: [y], dy: [dy] }) => [op.Mul(dy, op.Sub(1, op.Mul(y, y)))],
  // y = ln(1 + e^x)    dx = dy * sigmoid x
  Softplus: ({ op, x: [x], dy: [dy] }) => [op.Mul(dy, op.Sigmoid(x))],
  // y = x / (1 + |x|)    dx = dy / (1 + |x|)²
  Softsign: ({ op, x: [x], dy: [dy] }) => {
    const below = op.Add(op.Abs(x), 1);
    return [op.Div(dy, op.Mul(below, below))];
  },
  // y = x t, t = tanh(softplus x)    dx = dy * (t + x sigmoid(x) (1 - t²))
  Mish: ({ op, x: [x], dy: [dy] }) => {
    const t = op.Tanh(op.Softplus(x));
    const slope = op.Mul(op.Mul(x, op.Sigmoid(x)), op.Sub(1, op.Mul(t, t)));
    return [op.Mul(dy, op.Add(t, slope))];
  },
  // y = x s, s = sigmoid(alpha x)    dx = dy * (s + alpha y (1 - s))
  Swish: ({ op, node, x: [x], y: [y], dy: [dy] }) => {
    const alpha = node.float("alpha", 1);
    const s = op.Sigmoid(op.Mul(x, alpha));
    return [op.Mul(dy, op.Add(s, op.Mul(op.Mul(y, alpha), op.Sub(1, s))))];
  },
  // y = x Φ(x)    dx = dy * (Φ(x) + x φ(x)); or y = x (1 + t) / 2, t = tanh u, u = √(2/π) (x + 0.044715 x³)    dx = dy * ((1 + t) + x (1 - t²) u') / 2
  Gelu: ({ op, node, x: [x], dy: [dy] }) => {
    if (node.string("approximate", "none") === "none") {
      // x φ(x) = u e^(-u²) / √π, u = x / √2.
      const u = op.Mul(x, Math.SQRT1_2);
      const slope = op.Mul(u, op.Exp(op.Sub(Math.log(2 / Math.sqrt(Math.PI)), op.Mul(u, u))));
      return [op.Mul(dy, op.Mul(op.Add(op.Sum(op.Erf(u), slope), 1), 0.5))];
    }
    const square = op.Mul(x, x);
    const c = Math.sqrt(2 / Math.PI);
    const t = op.Tanh(op.Mul(x, op.Add(op.Mul(square, c * 0.044715), c)));
    const slope = op.Mul(op.Mul(x, op.Add(op.Mul(square, 3 * c * 0.044715), c)), op.Sub(1, op.Mul(t, t)));
    return [op.Mul(dy, op.Mul(op.Add(op.Add(t, 1), slope), 0.5))];
  },
  // y = e^x / sum e^x    dx = y * (dy - sum(dy * y))
  Softmax: ({ op, node, y: [y], dy: [dy] }) => [
    op.Mul(y, op.Sub(dy, op.ReduceSum(op.Mul(dy, y), [node.int("axis", -1)]))),
  ],
  // y = x - ln sum e^x    dx = dy - e^y * sum dy
  LogSoftmax: ({ op, node, y: [y], dy: [dy] }) => [
    op.Sub(dy, op.Mul(op.Exp(y), op.ReduceSum(dy, [node.int("axis", -1)]))),
  ],
} satisfies GradientRules;
