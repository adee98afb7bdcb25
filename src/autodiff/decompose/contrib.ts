/** @file Decompositions of ONNX Runtime's fused operators (com.microsoft): activations, products, convolutions, normalization. */
import type { Node } from "../../ir/node.ts";
import type { Value } from "../../ir/value.ts";
import { TersorError } from "../../util/errors.ts";
import type { Emitter } from "../emitter.ts";
import { swapped } from "../rules/linalg.ts";
import type { Decomposition, Decompositions } from "./decomposition.ts";

/** The activations that fused operators name, by their parameters. */
const activations: Readonly<Record<string, (op: Emitter, x: Value, params: readonly number[]) => Value>> = {
  "": (_, x) => x,
  Clip: (op, x, [low = 0, high = 0]) => op.Clip(x, low, high),
  HardSigmoid: (op, x, [alpha = 0.2, beta = 0.5]) => op.HardSigmoid(x, { alpha, beta }),
  LeakyRelu: (op, x, [alpha = 0.01]) => op.LeakyRelu(x, { alpha }),
  Relu: (op, x) => op.Relu(x),
  Sigmoid: (op, x) => op.Sigmoid(x),
  Tanh: (op, x) => op.Tanh(x),
};

/** @throws unsupported-op for an activation that is not known. */
function activated(op: Emitter, node: Node, x: Value, params: readonly number[]): Value {
  const name = node.string("activation", "");
  const activation = activations[name];
  if (activation) return activation(op, x, params);
  throw new TersorError(
    "unsupported-op",
    `${node}: no gradient: expected an activation of ${Object.keys(activations).filter(Boolean).join(", ")}, got ${name}. Export the model without fused operators.`,
  );
}

/** Attributes that are set, of integers. */
function integersOf(node: Node, names: readonly string[]): Record<string, readonly number[]> {
  return Object.fromEntries(names.flatMap((name) => (node.ints(name) ? [[name, node.ints(name) ?? []]] : [])));
}

/** s = input + skip (+ bias), y = normalized s; outputs y, mean, 1 / deviation, s. */
const skipLayerNorm: Decomposition = ({ node, op, x: [input, skip, gamma, beta, bias] }) => {
  const sum = op.Add(input, skip);
  const s = bias ? op.Add(sum, bias) : sum;
  const attributes = { axis: -1, epsilon: node.float("epsilon", 1e-5) };
  return [...op.emit("LayerNormalization", [s, gamma, beta, attributes], 3), s];
};

/** x / sqrt(mean x² + epsilon) · scale over the axes from `axis` on; outputs y and 1 / sqrt(…). */
export function rootMeanSquareNorm(
  op: Emitter,
  x: Value,
  scale: Value | undefined,
  { axis = -1, epsilon }: { readonly axis?: number; readonly epsilon: number },
): readonly [Value, Value] {
  const first = op.axis(x, axis);
  const axes = Array.from({ length: op.rank(x) - first }, (_, i) => i + first);
  const inv = op.Reciprocal(op.Sqrt(op.Add(op.ReduceMean(op.Mul(x, x), axes), epsilon)));
  return [op.Mul(op.Mul(x, inv), scale), inv];
}

export const contrib = {
  // Gelu
  Gelu: ({ op, x: [x] }) => [op.Gelu(x)],
  // Gelu(x + bias)
  BiasGelu: ({ op, x: [x, bias] }) => [op.Gelu(op.Add(x, bias))],
  // Gelu(x + bias), by tanh
  FastGelu: ({ op, x: [x, bias] }) => [op.Gelu(bias ? op.Add(x, bias) : x, { approximate: "tanh" })],
  // x · sigmoid(alpha x)
  QuickGelu: ({ node, op, x: [x] }) => [op.Mul(x, op.Sigmoid(op.Mul(x, node.float("alpha", 1.702))))],
  // alpha A B, transposed where it says so
  FusedMatMul: ({ node, op, x: [a, b] }) => {
    if (node.int("transBatchA", 0) || node.int("transBatchB", 0))
      return unsupported(node, "transBatchA and transBatchB of 0");
    const product = op.MatMul(node.int("transA", 0) ? swapped(op, a) : a, node.int("transB", 0) ? swapped(op, b) : b);
    const alpha = node.float("alpha", 1);
    return [alpha === 1 ? product : op.Mul(product, alpha)];
  },
  // activation(alpha A B + beta C)
  FusedGemm: ({ node, op, x: [a, b, c] }) => {
    const attributes = {
      alpha: node.float("alpha", 1),
      beta: node.float("beta", 1),
      transA: node.int("transA", 0),
      transB: node.int("transB", 0),
    };
    const params = ["activation_alpha", "activation_beta"].flatMap((name) => node.float(name) ?? []);
    return [activated(op, node, op.Gemm(a, b, c, attributes), params)];
  },
  // activation(x * w + b + z)
  FusedConv: ({ node, op, x: [x, w, b, z] }) => {
    const lists = integersOf(node, ["kernel_shape", "strides", "pads", "dilations"]);
    const attributes = { ...lists, group: node.int("group", 1), auto_pad: node.string("auto_pad", "NOTSET") };
    const conv = op.Conv(x, w, b, attributes);
    return [activated(op, node, z ? op.Add(conv, z) : conv, node.get("activation_params", "floats") ?? [])];
  },
  // LayerNormalization(input + skip + bias)
  SkipLayerNormalization: skipLayerNorm,
  // RMSNormalization(input + skip + bias)
  SkipSimplifiedLayerNormalization: ({ node, op, x: [input, skip, gamma, bias] }) => {
    const sum = op.Add(input, skip);
    const s = bias ? op.Add(sum, bias) : sum;
    const [y, inv] = rootMeanSquareNorm(op, s, gamma, { epsilon: node.float("epsilon", 1e-5) });
    return [y, undefined, inv, s];
  },
  // QuantizeLinear of the standard
  QuantizeLinear: ({ node, op, x }) => [
    op.QuantizeLinear(...x, { axis: node.int("axis", 1), block_size: node.int("block_size", 0) }),
  ],
  // DequantizeLinear of the standard
  DequantizeLinear: ({ node, op, x }) => [
    op.DequantizeLinear(...x, { axis: node.int("axis", 1), block_size: node.int("block_size", 0) }),
  ],
} satisfies Decompositions;

function unsupported(node: Node, expected: string): never {
  throw new TersorError(
    "unsupported-op",
    `${node}: no gradient for this form: expected ${expected}. Export the model without fused operators.`,
  );
}
