/** @file Decompositions of standard operators. */
import { rootMeanSquareNorm } from "./contrib.ts";
import type { Decompositions } from "./decomposition.ts";

export const standard = {
  // x / sqrt(mean x² + epsilon) · scale: ONNX Runtime's form of RMSNormalization before opset 23
  SimplifiedLayerNormalization: ({ node, op, x: [x, scale] }) =>
    x && rootMeanSquareNorm(op, x, scale, { axis: node.int("axis", -1), epsilon: node.float("epsilon", 1e-5) }),
  // The batch's own statistics, which the gradient needs, are what momentum 0 gives: r' = m r + (1 - m) batch, computed apart. What
  // goes in then as running statistics counts for nothing; constants keep ONNX Runtime 1.30 from mixing up a mean and a variance that are one value.
  BatchNormalization: ({ node, op, x: [x, scale, bias, mean, variance] }) => {
    const momentum = node.float("momentum", 0.9);
    if (node.int("training_mode", 0) === 0 || momentum === 0) return undefined;
    const attributes = { epsilon: node.float("epsilon", 1e-5), momentum: 0, training_mode: 1 };
    const unused = [0, 1].map((value) => op.Expand(op.like(mean, value), op.shape(mean)));
    const [y, ...batch] = op.emit("BatchNormalization", [x, scale, bias, ...unused, attributes], 3);
    const running = [mean, variance].map((old, i) => op.Add(op.Mul(old, momentum), op.Mul(batch[i], 1 - momentum)));
    return [y, ...running];
  },
} satisfies Decompositions;
