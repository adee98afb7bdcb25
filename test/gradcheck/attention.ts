/** @file Cases of the gradient check: attention and rotary embeddings. ONNX Runtime computes them in float32 only. */
import type { Case, Cases } from "./gradcheck.ts";

const float = (text: string, rest: Partial<Case> = {}): Case => ({ text, dtype: "float", ...rest });
/** In the first opset that has them. */
const standard = (text: string) => float(`<ir_version: 11, opset_import: ["": 23]> ${text}`);
const four = (heads: number, length: number, name: string) => `T[2,${heads},${length},4] ${name}`;
const same = [four(2, 3, "q"), four(2, 5, "k"), four(2, 5, "v")].join(", ");
const contrib = "com.microsoft.Attention";
const multiHead = "com.microsoft.MultiHeadAttention";

export const attentions: Cases = {
  Attention: [
    standard(`(${same}) => (y) { y = Attention(q, k, v) }`),
    standard(`(${same}) => (y) { y = Attention<is_causal = 1, scale = 0.3>(q, k, v) }`),
    standard(`(${same}, T[3,5] m) => (y) { y = Attention(q, k, v, m) }`),
    standard(
      `(${same}) => (y) <bool[3,5] m = {1,1,0,0,1, 0,1,1,0,0, 1,0,0,0,0}> { y = Attention<softcap = 0.7>(q, k, v, m) }`,
    ),
    standard(
      "(T[2,3,8] q, T[2,5,4] k, T[2,5,2] v) => (y) { y = Attention<q_num_heads = 4, kv_num_heads = 2, is_causal = 1>(q, k, v) }",
    ),
    standard(
      `(${four(4, 3, "q")}, ${four(2, 3, "k")}, ${four(2, 3, "v")}, ${four(2, 2, "pk")}, ${four(2, 2, "pv")}) => (y, nk, nv) { y, nk, nv = Attention<is_causal = 1>(q, k, v, "", pk, pv) }`,
    ),
    standard(`(${same}) => (y, s) { y, "", "", s = Attention<qk_matmul_output_mode = 3>(q, k, v) }`),
  ],
  RotaryEmbedding: [
    standard(
      "(T[2,2,3,4] x, T[5,2] c, T[5,2] s) => (y) <int64[2,3] p = {0,1,2, 4,3,2}> { y = RotaryEmbedding(x, c, s, p) }",
    ),
    standard(
      "(T[2,3,8] x, T[2,3,1] c, T[2,3,1] s) => (y) { y = RotaryEmbedding<num_heads = 2, interleaved = 1, rotary_embedding_dim = 2>(x, c, s) }",
    ),
  ],
  [contrib]: [
    float(`(T[2,3,6] x, T[6,12] w, T[12] b) => (y) { y = ${contrib}<num_heads = 2>(x, w, b) }`),
    float(
      `(T[2,3,6] x, T[6,14] w, T[14] b) => (y) <int32[2,3] m = {1,1,0, 1,1,1}> { y = ${contrib}<num_heads = 2, qkv_hidden_sizes = [4, 4, 6], scale = 0.4>(x, w, b, m) }`,
    ),
    float(
      `(T[2,3,6] x, T[6,12] w, T[12] b) => (y) <int32[2] m = {2, 3}> { y = ${contrib}<num_heads = 2, unidirectional = 1>(x, w, b, m) }`,
    ),
    float(
      `(T[2,3,6] x, T[6,12] w, T[12] b, T[2,2,2,1,2] p) => (y, present) { y, present = ${contrib}<num_heads = 2>(x, w, b, "", p) }`,
    ),
    float(
      `(T[2,3,6] x, T[6,12] w, T[12] b, T[1,2,3,3] s) => (y) { y = ${contrib}<num_heads = 2>(x, w, b, "", "", s) }`,
    ),
  ],
  [multiHead]: [
    float(`(T[2,3,4] q, T[2,5,4] k, T[2,5,6] v) => (y) { y = ${multiHead}<num_heads = 2, scale = 0.5>(q, k, v) }`),
    float(
      `(T[2,3,4] q, T[2,3,4] k, T[2,3,4] v, T[12] b, T[1,2,3,3] s) => (y) <int32[2,3] m = {1,1,0, 1,0,1}> { y = ${multiHead}<num_heads = 2, unidirectional = 1>(q, k, v, b, m, s) }`,
    ),
    float(`(T[2,3,4] q, T[2,2,5,2] k, T[2,2,5,2] v) => (y) { y = ${multiHead}<num_heads = 2>(q, k, v) }`),
    float(
      `(T[2,3,4] q, T[2,3,4] k, T[2,3,4] v, T[2,2,1,2] pk, T[2,2,1,2] pv) => (y, nk, nv) { y, nk, nv = ${multiHead}<num_heads = 2>(q, k, v, "", "", "", pk, pv) }`,
    ),
  ],
  "com.microsoft.RotaryEmbedding": [
    float(
      "(T[2,3,8] x) => (y) <int64[1] p = {1}, float[5,2] c = {0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9,1}, float[5,2] s = {1,0.9,0.8,0.7,0.6,0.5,0.4,0.3,0.2,0.1}> { y = com.microsoft.RotaryEmbedding(x, p, c, s) }",
    ),
    float(
      "(T[2,2,3,4] x) => (y) <int64[2,3] p = {0,1,2, 4,3,2}, float[5,2] c = {0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9,1}, float[5,2] s = {1,0.9,0.8,0.7,0.6,0.5,0.4,0.3,0.2,0.1}> { y = com.microsoft.RotaryEmbedding<interleaved = 1>(x, p, c, s) }",
    ),
  ],
};
