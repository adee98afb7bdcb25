/** @file What dynamic quantization writes, rule by rule, and what it leaves float. */
import { expect, test } from "vitest";
import type { Model } from "../../ir/model.ts";
import { parse, print } from "../../ir/text/index.ts";
import { float32 } from "../../tensor/tensor.ts";
import { Rng } from "../../util/rng.ts";
import { quantizeDynamic } from "./dynamic.ts";
import { type DynamicOptions, q8Preset } from "./options.ts";

const rng = new Rng(5, "dynamic");
const normal = (...dims: number[]) =>
  float32(
    dims,
    Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => rng.normal()),
  );

/** The nodes of the main graph, one a line, without the header and the constants. */
function nodesOf(model: Model): string[] {
  return print(model)
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => / = \w/.test(line) && !/^\w+(\[.*\])? \w+ = /.test(line));
}

const small: DynamicOptions = { minElements: 1, reduceRange: false };

test("what is asked for against the target is said: 8 bits where sums saturate", () => {
  const model = parse`(float[N,4] x) => (y) <float[4,3] w = ${normal(4, 3)}> { y = MatMul(x, w) }`;
  const reasonOf = (options: DynamicOptions) => quantizeDynamic(model, options).layers()[0]?.reason;
  expect(reasonOf({ ...small, dtype: "int8", target: "node-x64" })).toBe(
    "8 bits as asked: sums may saturate on node-x64",
  );
  expect(reasonOf({ ...small, dtype: "int8", target: "node-arm64" })).toBeUndefined();
  expect(reasonOf({ minElements: 1, dtype: "int8", target: "node-x64" })).toBeUndefined();
});

test("MatMul: one DynamicQuantizeLinear for all that read a value; Gemm with its bias", () => {
  const model = parse`(float[N,4] x) => (y, z) <float[4,3] w = ${normal(4, 3)}, float[2,4] v = ${normal(2, 4)}, float[2] b = ${normal(2)}> {
    y = MatMul(x, w) z = Gemm <transB = 1> (x, v, b) }`;
  const { model: quantized, layers } = quantizeDynamic(model, small);
  expect(nodesOf(quantized)).toMatchInlineSnapshot(`
    [
      "x_quantized, x_scale, x_zero_point = DynamicQuantizeLinear(x)",
      "y_sums = MatMulInteger(x_quantized, w_quantized, x_zero_point, w_zero_point)",
      "y_sums_float = Cast<to: int = 1>(y_sums)",
      "y_scale = Mul(x_scale, w_scale)",
      "y = Mul(y_sums_float, y_scale)",
      "z_sums = MatMulInteger(x_quantized, v_quantized, x_zero_point, v_zero_point)",
      "z_sums_float = Cast<to: int = 1>(z_sums)",
      "z_scale = Mul(x_scale, v_scale)",
      "z_scaled = Mul(z_sums_float, z_scale)",
      "z = Add(z_scaled, b)",
    ]
  `);
  expect(layers().map(({ status, format }) => [status, format])).toEqual([
    ["quantized", "MatMulInteger"],
    ["quantized", "MatMulInteger"],
  ]);
});

test("Conv: scale and bias per channel", () => {
  const model = parse`(float[N,2,5,5] x) => (y) <float[3,2,3,3] w = ${normal(3, 2, 3, 3)}, float[3] b = ${normal(3)}> { y = Conv <pads = [1,1,1,1]> (x, w, b) }`;
  const { model: quantized } = quantizeDynamic(model, { ...small, dtype: "uint8" });
  expect(nodesOf(quantized)).toMatchInlineSnapshot(`
    [
      "x_quantized, x_scale, x_zero_point = DynamicQuantizeLinear(x)",
      "y_sums = ConvInteger<pads: ints = [1, 1, 1, 1]>(x_quantized, w_quantized, x_zero_point, w_zero_point)",
      "y_sums_float = Cast<to: int = 1>(y_sums)",
      "y_scale = Mul(x_scale, w_scale)",
      "y_scaled = Mul(y_sums_float, y_scale)",
      "y = Add(y_scaled, b_channels)",
    ]
  `);
  expect(quantized.graph.find("w_scale")?.type).toMatchObject({ shape: [3, 1, 1] });
  expect(quantized.graph.find("b_channels")?.type).toMatchObject({ shape: [3, 1, 1] });
});

test("LSTM: both weights, transposed", () => {
  const model = parse`(float[T,B,6] x) => (y) <float[2,16,6] w = ${normal(2, 16, 6)}, float[2,16,4] r = ${normal(2, 16, 4)}> { y = LSTM <hidden_size = 4, direction = "bidirectional", layout = 0> (x, w, r) }`;
  const { model: quantized } = quantizeDynamic(model, small);
  expect(nodesOf(quantized)).toMatchInlineSnapshot(`
    [
      "y = com.microsoft.DynamicQuantizeLSTM<hidden_size: int = 4, direction: string = "bidirectional">(x, w_quantized, r_quantized, "", "", "", "", "", w_scale, w_zero_point, r_scale, r_zero_point)",
    ]
  `);
  expect(quantized.graph.find("w_quantized")?.type).toMatchObject({ shape: [2, 6, 16] });
  expect(quantized.graph.find("r_scale")?.type).toMatchObject({ shape: [2, 16] });
  const tensor = quantizeDynamic(model, { ...small, granularity: "tensor" }).model;
  expect(tensor.graph.find("r_scale")?.type).toMatchObject({ shape: [2] });
  const half = quantizeDynamic(model, { ...small, layers: "w" });
  expect(half.layers().map(({ status, reason }) => [status, reason])).toEqual([
    ["kept", "its other weight stays float"],
    ["kept", "not among the layers asked for"],
  ]);
});

test("Gather: codes are looked up, then dequantized", () => {
  const model = parse`<opset_import: ["" : 17]> (int64[B] ids) => (y) <float[9,4] table = ${normal(9, 4)}> { y = Gather(table, ids) }`;
  const { model: quantized } = quantizeDynamic(model, { ...small, granularity: "tensor" });
  expect(nodesOf(quantized)).toMatchInlineSnapshot(`
    [
      "y_quantized = Gather<axis: int = 0>(table_quantized, ids)",
      "y = DequantizeLinear(y_quantized, table_scale, table_zero_point)",
    ]
  `);
});

test("Attention becomes QAttention", () => {
  const model = parse`<opset_import: ["" : 17, "com.microsoft" : 1]> (float[B,T,8] x, int32[B] m) => (y) <float[8,24] w = ${normal(8, 24)}, float[24] b = ${normal(24)}> {
    y = com.microsoft.Attention <num_heads = 2> (x, w, b, m) }`;
  expect(nodesOf(quantizeDynamic(model, small).model)).toMatchInlineSnapshot(`
    [
      "x_quantized, x_scale, x_zero_point = DynamicQuantizeLinear(x)",
      "y = com.microsoft.QAttention<num_heads: int = 2>(x_quantized, w_quantized, b, x_scale, w_scale, m, x_zero_point, w_zero_point)",
    ]
  `);
  const without = parse`<opset_import: ["" : 17, "com.microsoft" : 1]> (float[B,T,8] x) => (y) <float[8,24] w = ${normal(8, 24)}> { y = com.microsoft.Attention <num_heads = 2> (x, w) }`;
  expect(quantizeDynamic(without, small).layers()[0]).toMatchObject({
    status: "kept",
    reason: "QAttention needs a bias",
  });
});

test("in a branch: codes of an outer value that only the branch reads stay in the branch", () => {
  const model = parse`(bool c, float[N,4] x) => (y) <float[4,3] w = ${normal(4, 3)}> {
    y = If (c) <then_branch = then () => (a) { a = MatMul(x, w) }, else_branch = else () => (b) { b = Slice(x, s, e) }>
    s = Constant <value_ints = [0,0]> () e = Constant <value_ints = [9,3]> () }`;
  const { model: quantized } = quantizeDynamic(model, small);
  expect(nodesOf(quantized)).toMatchInlineSnapshot(`
    [
      "y = If(c) <",
      "then_branch: graph = then () => (a) {",
      "x_quantized, x_scale, x_zero_point = DynamicQuantizeLinear(x)",
      "a_sums = MatMulInteger(x_quantized, w_quantized, x_zero_point, w_zero_point)",
      "a_sums_float = Cast<to: int = 1>(a_sums)",
      "a_scale = Mul(x_scale, w_scale)",
      "a = Mul(a_sums_float, a_scale)",
      "else_branch: graph = else () => (b) {",
      "b = Slice(x, s, e)",
    ]
  `);
});

test("GRU stays float", () => {
  const model = parse`(float[T,B,3] x) => (y) <float[1,6,3] w = ${normal(1, 6, 3)}, float[1,6,2] r = ${normal(1, 6, 2)}> { y = GRU <hidden_size = 2> (x, w, r) }`;
  const reason = "there is no quantized GRU: quantize its weights only";
  expect(quantizeDynamic(model, small).layers()[0]).toMatchObject({ status: "kept", reason });
});

test("a product of two activations, and a weight on the left, only with activationProducts", () => {
  const model = parse`(float[N,4] x, float[4,N] z) => (y, u) <float[3,4] w = ${normal(3, 4)}> { y = MatMul(x, z) u = MatMul(w, z) }`;
  const kept = quantizeDynamic(model, small);
  expect(kept.layers()[0]?.reason).toBe("its weight is the first operand: activationProducts takes those");
  expect(kept.skipped).toHaveLength(1);
  const all = quantizeDynamic(model, { ...small, activationProducts: true });
  expect(all.skipped).toEqual([]);
  expect(nodesOf(all.model).filter((line) => line.includes("DynamicQuantizeLinear"))).toHaveLength(2);
  expect(all.model.graph.find("w_scale")?.type).toMatchObject({ shape: [] });
});

test("depthwise convolutions and small weights stay float, unless asked for", () => {
  const model = parse`(float[N,3,5,5] x) => (y) <float[3,1,3,3] w = ${normal(3, 1, 3, 3)}> { y = Conv <group = 3> (x, w) }`;
  expect(quantizeDynamic(model, small).layers()[0]?.reason).toMatch(/^depthwise/);
  expect(quantizeDynamic(model).layers()[0]?.reason).toBe("27 weights: below 256 nothing is gained");
  expect(quantizeDynamic(model, { ...small, depthwise: true }).layers()[0]?.status).toBe("quantized");
});

test("options of a layer that no integer kernel has are refused", () => {
  const model = parse`(float[N,4] x) => (y) <float[4,3] w = ${normal(4, 3)}> { y = MatMul(x, w) }`;
  expect(() => quantizeDynamic(model, { layers: "w@int4" })).toThrow(/dtype int4: expected int8 or uint8/);
  expect(() => quantizeDynamic(model, { layers: "w@group:2" })).toThrow(
    /granularity group:2: expected tensor or channel/,
  );
});

test("Conv has uint8 weights on every target, MatMul those of the target", () => {
  const model = parse`(float[1,4,4,4] x) => (y) <float[4,4,1,1] w = ${normal(4, 4, 1, 1)}, float[4,4] m = ${normal(4, 4)}>
    { c = Conv(x, w) y = MatMul(c, m) }`;
  const dtypesOn = (target: string) =>
    quantizeDynamic(model, { ...small, target })
      .layers()
      .map(({ spec }) => spec?.split(" ")[0]);
  expect(dtypesOn("web-wasm")).toEqual(["uint8", "int8"]);
  expect(dtypesOn("node-x64")).toEqual(["uint8", "uint8"]);
});

test("q8 of transformers.js: uint8 where there are convolutions, else int8", () => {
  const matMul = parse`(float[N,4] x) => (y) <float[4,3] w = ${normal(4, 3)}> { y = MatMul(x, w) }`;
  const conv = parse`(float[N,3,5,5] x) => (y) <float[3,1,3,3] w = ${normal(3, 1, 3, 3)}> { y = Conv <group = 3> (x, w) }`;
  expect(q8Preset(matMul)).toMatchObject({ dtype: "int8", reduceRange: true, granularity: "channel" });
  expect(q8Preset(conv, false)).toMatchObject({ dtype: "uint8", reduceRange: false, granularity: "tensor" });
  expect(quantizeDynamic(conv, q8Preset(conv)).layers()[0]).toMatchObject({ spec: "uint8 (7 bits) channel" });
});
