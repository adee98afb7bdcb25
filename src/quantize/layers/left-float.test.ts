/** @file Every constant that stays float is listed, whatever reads it; what is not listed or claimed is what it was. */
import { describe, expect, test } from "vitest";
import { type Model, nestedGraphs } from "../../ir/model.ts";
import { parse } from "../../ir/text/index.ts";
import { dtypeInfo } from "../../tensor/dtype.ts";
import { float32, type Tensor } from "../../tensor/tensor.ts";
import { Rng } from "../../util/rng.ts";
import { quantizeDynamic } from "../dynamic/dynamic.ts";
import { toFloat16 } from "../float16/float16.ts";
import { planStatic } from "../static/plan.ts";
import { applyStatic } from "../static/static.ts";
import { type QuantizeResult, quantize } from "../weights/quantize-weights.ts";
import { MIN_ELEMENTS } from "./left-float.ts";

const rng = new Rng(23, "left");
const normal = (...dims: number[]) =>
  float32(
    dims,
    Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => rng.normal()),
  );

const models: Readonly<Record<string, Model>> = {
  Einsum: parse`(float[T,64] x) => (y) <float[64,4,16] w = ${normal(64, 4, 16)}> { y = Einsum <equation = "td,dhk->thk"> (x, w) }`,
  MoE: parse`<opset_import: ["" : 18, "com.microsoft" : 1]> (float[T,64] x) => (y) <float[64,4] r = ${normal(64, 4)}, float[4,128,64] w1 = ${normal(4, 128, 64)}, float[4,128] b1 = ${normal(4, 128)}, float[4,64,128] w2 = ${normal(4, 64, 128)}, float[4,64] b2 = ${normal(4, 64)}> {
    l = MatMul(x, r) ["experts"] y = com.microsoft.MoE <k = 2> (x, l, w1, b1, w2, b2) }`,
  EmbedLayerNormalization: parse`<opset_import: ["" : 18, "com.microsoft" : 1]> (int32[B,S] ids) => (y) <float[50,64] we = ${normal(50, 64)}, float[64,64] pe = ${normal(64, 64)}, float[64,64] w = ${normal(64, 64)}, float[64] g = ${normal(64)}> {
    e, m = com.microsoft.EmbedLayerNormalization(ids, "", we, pe, "", g, g) y = MatMul(e, w) }`,
  "Slice, Add, norms": parse`(float[1,N,300] x) => (y) <float[1,8,300] p = ${normal(1, 8, 300)}, int64[1] a = {0}, int64[1] e = {4}, int64[1] o = {1}, float[1,1,300] q = ${normal(1, 1, 300)}, float[300] g = ${normal(300)}, float[300,300] w = ${normal(300, 300)}, float[300] b = ${normal(300)}> {
    s = Slice(p, a, e, o) t = Add(x, q) n = LayerNormalization(t, g, g) m = MatMul(n, w) u = Add(m, b) v = Relu(u) y = Add(v, s) }`,
  "in branches": parse`(bool[] c, float[N,64] x) => (y) <float[64,64] w = ${normal(64, 64)}, float[300,1] q = ${normal(300, 1)}> {
    y = If (c) <then_branch = one () => (a) <float[64,16] v = ${normal(64, 16)}> { a = MatMul(x, v) }, else_branch = two () => (b) { m = MatMul(x, w) b = MatMul(m, w) }> z = Neg(q) }`,
  "Gather of tables": parse`(int64[N] i) => (y, z, u) <float[30,4,16] w = ${normal(30, 4, 16)}, float[16,300] v = ${normal(16, 300)}, float[400] k = ${normal(400)}> { y = Gather(w, i) z = Gather <axis = 1> (v, i) u = Gather(k, i) }`,
  "numbers in attributes": parse`<opset_import: ["" : 18, "ai.onnx.ml" : 3]> (float[N,4] x) => (y) {
    ["trees"] y = ai.onnx.ml.TreeEnsembleRegressor <nodes_values = ${`[${Array.from({ length: 300 }, (_, i) => `${i}.5`).join(",")}]`}> (x) }`,
  "a recurrent layer": parse`(float[T,B,32] x) => (y, o) <float[1,64,32] w = ${normal(1, 64, 32)}, float[1,64,16] r = ${normal(1, 64, 16)}, float[1,480] b = ${normal(1, 480)}> { y = LSTM <hidden_size = 16> (x, w, r) o = Neg(b) }`,
  "tied and turned": parse`(int64[S] ids) => (y) <float[90,64] w = ${normal(90, 64)}, float[64,64] d = ${normal(64, 64)}, float[64] b = ${normal(64)}> { e = Gather(w, ids) h = Gemm <transB = 1> (e, d, b) t = Tanh(h) wt = Transpose(w) y = MatMul(t, wt) }`,
};

const applied = (model: Model): QuantizeResult => {
  const plan = planStatic(model);
  const ranges = new Map([...plan.rangeCollectors().keys()].map((name) => [name, { min: -3, max: 3 }]));
  return applyStatic(plan, { ranges });
};

const ways: Readonly<Record<string, (model: Model) => QuantizeResult>> = {
  int8: (model) => quantize(model),
  "int4 in groups": (model) => quantize(model, { dtype: "int4", granularity: "group:16" }),
  bfloat16: (model) => quantize(model, { dtype: "bfloat16" }),
  codebook: (model) => quantize(model, { dtype: "uint8", format: "codebook" }),
  dynamic: (model) => quantizeDynamic(model),
  static: applied,
  float16: (model) => toFloat16(model),
};

/** Constants of the model by another route than the one that is tested. */
const constantsOf = (model: Model) =>
  new Map(
    nestedGraphs(model.graph).flatMap((graph) =>
      [...graph.values].flatMap(({ name, tensor }): [string, Tensor][] => (tensor ? [[name, tensor]] : [])),
    ),
  );
const bytesOf = ({ bytes }: Tensor) => Buffer.from(bytes.read(0, bytes.byteLength)).toString("base64");

describe.each(Object.entries(ways))("%s", (_, way) => {
  test.each(Object.entries(models))("%s", (_, model) => {
    const result = way(model);
    const [before, after] = [constantsOf(model), constantsOf(result.model)];
    const [left, layers, rewritten] = [result.left(), result.layers(), result.rewritten()];
    const listed = new Map(left.map((each) => [each.weight, each]));
    for (const [name, tensor] of before) {
      if (dtypeInfo(tensor.dtype).kind !== "float") continue;
      const now = after.get(name);
      const isSame = now?.dtype === tensor.dtype && bytesOf(now) === bytesOf(tensor);
      const isClaimed = layers.some(({ weight, status }) => weight === name && status === "quantized");
      if (isClaimed) expect(isSame, name).toBe(false);
      else if (!isSame) expect(rewritten.map(({ weight }) => weight)).toContain(name);
      if (isSame && tensor.size >= MIN_ELEMENTS) expect([...listed.keys()]).toContain(name);
      if (listed.has(name)) expect(isSame, name).toBe(true);
    }
    for (const { reason, readers, weight } of left) {
      expect(reason, weight).not.toBe("");
      expect(readers.length, weight).toBeGreaterThan(0);
    }
    for (const { weight } of rewritten) expect(after.get(weight)?.dtype).not.toBe(before.get(weight)?.dtype);
  });
});

test("what no row knows is said to have none, with its reader", () => {
  const [left] = quantize(models.Einsum as Model).left();
  expect(left).toMatchObject({ weight: "w", readers: [{ name: "y", opType: "Einsum" }] });
  expect(left?.reason).toBe('Einsum "y" reads it: no row for this operator and input');
});

test("numbers of trees are listed by node and attribute", () => {
  const result = quantize(models["numbers in attributes"] as Model);
  expect(result.left()).toMatchObject([{ weight: "trees.nodes_values", dims: [300], bytes: 1200 }]);
});
