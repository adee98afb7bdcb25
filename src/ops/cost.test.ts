/** @file Tests of MACs, parameters and bytes. */
import { describe, expect, it } from "vitest";
import { parse } from "../ir/text/index.ts";
import { costOf, modelCost } from "./cost.ts";
import { infer } from "./infer.ts";

function macsOf(signature: string, body: string, sizes = {}): number | undefined {
  const model = parse(
    `<ir_version: 10, opset_import: ["": 23, "com.microsoft": 1]> g (${signature}) => (y) { ${body} }`,
  );
  return modelCost(model, infer(model).types, sizes).unknown.length > 0
    ? undefined
    : modelCost(model, infer(model).types, sizes).macs;
}

describe("MACs", () => {
  it.each([
    ["float[N,3,8,8] x, float[16,3,3,3] w", "y = Conv(x, w) <pads = [1, 1, 1, 1]>", 16 * 64 * 27],
    ["float[N,8,8,8] x, float[8,1,3,3] w", "y = Conv(x, w) <group = 8, pads = [1, 1, 1, 1]>", 8 * 64 * 9],
    ["float[N,4,5] x, float[4,2,3] w", "y = ConvTranspose(x, w)", 4 * 5 * 2 * 3],
    ["float[N,5,8] x, float[8,3] w", "y = MatMul(x, w)", 5 * 8 * 3],
    ["float[8,N] x, float[8,3] w", "y = Gemm(x, w) <transA = 1>", 8 * 3],
    ["float[2,3,4] a, float[2,5,4] b", 'y = Einsum(a, b) <equation = "bij,bkj->bik">', 2 * 3 * 5 * 4],
    ["float[7,2,4] x, float[1,32,4] w, float[1,32,8] r", "y = LSTM(x, w, r) <hidden_size = 8>", 7 * 2 * 32 * (4 + 8)],
    ["float[1,2,3,8] q, float[1,2,5,8] k, float[1,2,5,4] v", "y = Attention(q, k, v)", 2 * 3 * 5 * (8 + 4)],
    ["float[1,3,8] x, float[8,24] w", "y = com.microsoft.Attention(x, w) <num_heads = 2>", 3 * 8 * 24 + 3 * 3 * 16],
    [
      "float[1,3,8] q, float[1,5,8] k, float[1,5,8] v",
      "y = com.microsoft.MultiHeadAttention(q, k, v) <num_heads = 2>",
      3 * 5 * 16,
    ],
    [
      "float[N,8] x, uint8[4,1,16] w, float[4] s",
      "y = com.microsoft.MatMulNBits(x, w, s) <K = 8, N = 4, block_size = 16>",
      32,
    ],
    ["float[N,8] x", "y = Softmax(x)", 0],
    [
      "bool c, float[2,2] x",
      "y = If(c) <then_branch = () => (a) { a = MatMul(x, x) }, else_branch = () => (b) { b = Neg(x) }>",
      8,
    ],
    [
      "float[2] s, float[9,2] x, float[2,2] w",
      "y, z = Scan(s, x) <num_scan_inputs = 1, body = (a, b) => (c, c) { d = MatMul(b, w) c = Add(a, d) }>",
      36,
    ],
    ["float[2] x", "y = my.Op(x)", undefined],
  ])("%s: %s", (signature, body, expected) => expect(macsOf(signature, body)).toBe(expected));

  it("take sizes for symbols", () => {
    expect(macsOf("float[N,T,8] x, float[8,3] w", "y = MatMul(x, w)", { N: 4, T: 10 })).toBe(4 * 10 * 24);
  });
});

describe("params and bytes", () => {
  it("count a shared constant once, Constant nodes too, and no sizes or scales", () => {
    const model = parse`(float[2,2] x) => (y)
      <float[2,2] w = {1, 2, 3, 4}, int8[2,2] q = {1, 2, 3, 4}, float s = {0.5}, int64[2] shape = {2, 2}> {
      a = MatMul(x, w) b = MatMul(a, w) d = DequantizeLinear(q, s) c = MatMul(b, d)
      k = Constant<value = float[2] {1, 2}>() e = Add(c, k) y = Reshape(e, shape)
    }`;
    const { types } = infer(model);
    const { macs, params, weightBytes, nodes } = modelCost(model, types);
    expect({ macs, params, weightBytes, nodes }).toEqual({
      macs: 24,
      params: 4 + 4 + 2,
      weightBytes: 16 + 4 + 4 + 8 + 16,
      nodes: 7,
    });
    expect(model.graph.nodes.map((node) => costOf(node, types).params)).toEqual([4, 4, 4, 0, 0, 2, 0]);
  });

  it("count packed codes, not bytes", () => {
    const model = parse`(float[1,32] x) => (y) <uint8[2,1,16] w = ${`{${Array(32).fill(7).join(",")}}`}, float[2] s = {1, 1}> {
      y = com.microsoft.MatMulNBits(x, w, s) <K = 32, N = 2, block_size = 32, bits = 4>
    }`;
    expect(modelCost(model, infer(model).types)).toMatchObject({ params: 64, weightBytes: 40, macs: 64 });
  });
});
