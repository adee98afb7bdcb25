/** @file Shape rules of com.microsoft against ONNX Runtime: what is inferred is what a run gives. */
import { expect, it } from "vitest";
import { randomFeeds, withSession } from "../../../test/run-model.ts";
import { parse } from "../../ir/text/index.ts";
import { typeToString } from "../../ir/types.ts";
import { infer } from "../infer.ts";

/** Inputs, constants behind a bar, and nodes. */
type Case = [inputs: string, body: string];

const cases: Case[] = [
  ["float[2,3,8] x, float[8] b", "y = BiasGelu(x, b)"],
  ["float[2,3,8] x", "y = QuickGelu(x)"],
  ["float[2,3,8] x, float[8] b", "y = FastGelu(x, b)"],
  ["float[2,8,3] a, float[2,8,5] b", "y = FusedMatMul(a, b) <transA = 1>"],
  ["float[3,2,8] a, float[2,8,5] b", "y = FusedMatMul(a, b) <transBatchA = 1>"],
  ["float[3,8] a, float[8,5] b, float[5] c", 'y = FusedGemm(a, b, c) <activation = "Relu">'],
  [
    "float[1,3,9,9] x, float[8,3,3,3] w",
    'y = FusedConv(x, w) <strides = [2, 2], pads = [1, 1, 1, 1], activation = "Relu">',
  ],
  ["float[2,3,8] x, float[2,3,8] s, float[8] g, float[8] b", "y, , , z = SkipLayerNormalization(x, s, g, b)"],
  ["float[2,3,8] x, float[2,3,8] s, float[8] g", "y, , , z = SkipSimplifiedLayerNormalization(x, s, g)"],
  [
    "int32[2,3] i, int32[2,3] t, float[9,8] w, float[5,8] p, float[2,8] q, float[8] g, float[8] b, int32[2,3] m",
    "y, z, u = EmbedLayerNormalization(i, t, w, p, q, g, b, m)",
  ],
  ["float[2,3,8] x, float[8,24] w, float[24] b", "y, z = Attention(x, w, b) <num_heads = 2>"],
  ["float[2,3,8] x, float[8,24] w, float[24] b, float[2,2,2,5,4] p", "y, z = Attention(x, w, b, , p) <num_heads = 2>"],
  [
    "float[2,3,8] x, float[8,20] w, float[20] b",
    "y = Attention(x, w, b) <num_heads = 2, qkv_hidden_sizes = [8, 8, 4]>",
  ],
  ["float[2,3,8] q, float[2,5,8] k, float[2,5,6] w", "y, z, u = MultiHeadAttention(q, k, w) <num_heads = 2>"],
  ["float[2,3,8] q, float[2,2,5,4] k, float[2,2,5,4] w", "y = MultiHeadAttention(q, k, w) <num_heads = 2>"],
  [
    "float[2,3,8] q, float[2,3,8] k, float[2,3,8] w, float[2,2,5,4] a, float[2,2,5,4] b",
    "y, z, u = MultiHeadAttention(q, k, w, , , , a, b) <num_heads = 2>",
  ],
  [
    "float[2,3,32] q, float[2,3,16] k, float[2,3,16] w | int32[2] l = {2, 2}, int32 t = {3}",
    "y, z, u = GroupQueryAttention(q, k, w, , , l, t) <num_heads = 4, kv_num_heads = 2>",
  ],
  [
    "float[1,1,64] q, float[1,2,5,8] a, float[1,2,5,8] b | int32[1] l = {5}, int32 t = {6}",
    "y, z, u = GroupQueryAttention(q, , , a, b, l, t) <num_heads = 4, kv_num_heads = 2>",
  ],
  [
    "float[2,3,16] x, float[10,4] c, float[10,4] s | int64[2,3] p = {0, 1, 2, 0, 1, 2}",
    "y = RotaryEmbedding(x, p, c, s) <num_heads = 2>",
  ],
  [
    "float[2,3,64] x, uint8[5,2,16] w, float[10] s",
    "y = MatMulNBits(x, w, s) <K = 64, N = 5, block_size = 32, bits = 4>",
  ],
  [
    "float[3,64] x, uint8[160] w, float[10] s",
    "y = MatMulBnb4(x, w, s) <K = 64, N = 5, block_size = 32, quant_type = 1>",
  ],
  [
    "uint8[9,16] x, int64[2,3] i, float[9,2] s",
    "y = GatherBlockQuantized(x, i, s) <bits = 4, block_size = 16, quantize_axis = 1>",
  ],
  [
    "uint8[9,32] x, int64[2,3] i, float[9,2] s",
    "y = GatherBlockQuantized(x, i, s) <bits = 8, block_size = 16, quantize_axis = 1>",
  ],
  ["float[2,8] a, uint8[8,5] b, float[1] s, uint8[1] p", "y = DynamicQuantizeMatMul(a, b, s, p)"],
  ["uint8[2,8] a, uint8[8,5] b, float as, float[1] bs", "y = MatMulIntegerToFloat(a, b, as, bs)"],
  [
    "uint8[2,8] a, float s, uint8 p, uint8[8,5] b, float t, uint8 r, int32[5] c, float u, uint8 q",
    "y = QGemm(a, s, p, b, t, r, c, u, q)",
  ],
  ["uint8[2,8] a, float s, uint8 p, uint8[5,8] b, float t, uint8 r", "y = QGemm(a, s, p, b, t, r) <transB = 1>"],
  [
    "uint8[2,1,8] a, float s, uint8 p, uint8[4,1] b, float t, uint8 r, float u, uint8 q",
    "y = QLinearMul(a, s, p, b, t, r, u, q)",
  ],
  [
    "uint8[2,4,6,6] x, float s, uint8 p, float t, uint8 q",
    "y = QLinearAveragePool(x, s, p, t, q) <kernel_shape = [2, 2], strides = [2, 2]>",
  ],
  [
    "uint8[2,4,6,6] x, uint8 p, uint8 q | float s = {0.1}, float t = {0.1}",
    "y = QLinearGlobalAveragePool(x, s, p, t, q)",
  ],
  ["uint8[2,4] x, float s, uint8 p, float t, uint8 q", "y = QLinearSigmoid(x, s, p, t, q)"],
  ["uint8[2,4] x, float s, uint8 p, float t, uint8 q", "y = QLinearSoftmax(x, s, p, t, q) <opset = 13>"],
  [
    "float[2,3,8] x, uint8[8,24] w, float[24] b | float s = {0.1}, float t = {0.1}, uint8 p = {0}, uint8 q = {0}",
    "a = QuantizeLinear(x, s, p) y = QAttention(a, w, b, s, t, , p, q) <num_heads = 2>",
  ],
  [
    "float[4,2,3] x, float[1,32] b | int8[1,3,32] w = W, int8[1,8,32] r = R, float[1] ws = {0.1}, int8[1] wz = {0}",
    "y, z, u = DynamicQuantizeLSTM(x, w, r, , , , , , ws, wz, ws, wz) <hidden_size = 8>",
  ],
  ["float[2,3] a, float[4,3] b", "y = CDist(a, b)"],
  ["float[2,3] x | int32 a = {-1}", "y = ExpandDims(x, a)"],
  ["float[2,9] x", "y = UnfoldTensor(x) <size = 3, step = 2>"],
  ["float[4,5] x, int32[2,3] i", "y = MurmurHash3(i) z = Inverse(w) w = FusedMatMul(x, x) <transB = 1>"],
];

it.each(cases)("%s: %s", async (inputs, body) => {
  const [signature = "", constants = ""] = inputs.split(/ ?\| /);
  const filled = constants.replace("= W", `= {${Array(96).fill(1)}}`).replace("= R", `= {${Array(256).fill(1)}}`);
  const nodes = body.replaceAll(/= (?!QuantizeLinear)(\w+)\(/g, "= com.microsoft.$1(");
  const results = ["y", "z", "u"].filter((name) => new RegExp(`\\b${name}\\b[^=(]*= `).test(body));
  const model = parse(
    `<ir_version: 10, opset_import: ["": 21, "com.microsoft": 1]> g (${signature}) => (${results.join(", ")}) <${filled}> { ${nodes} }`,
  );
  model.graph.sort();
  const { types } = infer(model);
  for (const value of model.graph.outputs) value.type = types.get(value);
  const actual = await withSession(model, (session) => session.run(randomFeeds(session.inputs, 3)));
  for (const value of model.graph.outputs) {
    const { dtype, dims } = actual[value.name] ?? { dtype: "string", dims: [] };
    expect(typeToString(types.get(value))).toBe(typeToString({ kind: "tensor", dtype, shape: dims }));
  }
});
