/** @file Decompositions of ONNX Runtime's fused operators (com.microsoft). */
import type { Decompositions } from "./decomposition.ts";

export const contrib = {
  // x · sigmoid(alpha x)
  QuickGelu: ({ node, op, x: [x] }) => [op.Mul(x, op.Sigmoid(op.Mul(x, node.float("alpha", 1.702))))],
} satisfies Decompositions;
