/** @file Cases of the gradient check: ONNX Runtime's fused operators. */
import type { Case, Cases } from "./gradcheck.ts";

const float = (text: string): Case => ({ text, dtype: "float" });

export const contrib: Cases = {
  "com.microsoft.Gelu": [float("(T[9] x) => (y) { y = com.microsoft.Gelu(x) }")],
  "com.microsoft.BiasGelu": [float("(T[2,3] x, T[3] b) => (y) { y = com.microsoft.BiasGelu(x, b) }")],
  "com.microsoft.FastGelu": [
    float("(T[2,3] x, T[3] b) => (y) { y = com.microsoft.FastGelu(x, b) }"),
    float("(T[2,3] x) => (y) { y = com.microsoft.FastGelu(x) }"),
  ],
  "com.microsoft.QuickGelu": [float("(T[9] x) => (y) { y = com.microsoft.QuickGelu<alpha = 1.5>(x) }")],
  "com.microsoft.FusedMatMul": [
    float(
      "(T[5,3,2] a, T[5,4,3] b) => (y) { y = com.microsoft.FusedMatMul<transA = 1, transB = 1, alpha = 0.5>(a, b) }",
    ),
    float("(T[2,3] a, T[3,4] b) => (y) { y = com.microsoft.FusedMatMul(a, b) }"),
  ],
  "com.microsoft.FusedGemm": [
    float(
      `(T[2,3] a, T[4,3] b, T[4] c) => (y) { y = com.microsoft.FusedGemm<transB = 1, activation = "Tanh">(a, b, c) }`,
    ),
    float(`(T[2,3] a, T[3,4] b, T[4] c) => (y) {
      y = com.microsoft.FusedGemm<activation = "LeakyRelu", activation_alpha = 0.3>(a, b, c) }`),
  ],
  "com.microsoft.FusedConv": [
    float(`(T[1,2,4,4] x, T[3,2,3,3] w, T[3] b, T[1,3,4,4] z) => (y) {
      y = com.microsoft.FusedConv<pads = [1, 1, 1, 1], activation = "Sigmoid">(x, w, b, z) }`),
    float(`(T[1,2,4,4] x, T[3,2,3,3] w, T[3] b) => (y) {
      y = com.microsoft.FusedConv<activation = "Clip", activation_params = [-0.6, 0.7]>(x, w, b) }`),
  ],
  "com.microsoft.SkipLayerNormalization": [
    float(
      "(T[2,3,8] a, T[2,3,8] b, T[8] g, T[8] c, T[8] d) => (y) { y = com.microsoft.SkipLayerNormalization(a, b, g, c, d) }",
    ),
    float("(T[2,3,8] a, T[2,3,8] b, T[8] g) => (y, s) { y, m, i, s = com.microsoft.SkipLayerNormalization(a, b, g) }"),
  ],
  "com.microsoft.SkipSimplifiedLayerNormalization": [
    float(
      "(T[2,3,8] a, T[2,3,8] b, T[8] g, T[8] d) => (y, s) { y, m, i, s = com.microsoft.SkipSimplifiedLayerNormalization(a, b, g, d) }",
    ),
  ],
  SimplifiedLayerNormalization: [
    float("(T[2,3,8] x, T[8] g) => (y) { y = SimplifiedLayerNormalization<axis = -1>(x, g) }"),
  ],
  "com.microsoft.QuantizeLinear": [],
  "com.microsoft.DequantizeLinear": [
    float("(T s) => (y) <int16[4] q = {-5, 3, 100, 7}, int16 z = {2}> { y = com.microsoft.DequantizeLinear(q, s, z) }"),
  ],
};
