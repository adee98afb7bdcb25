/** @file Names of nodes that quantization adds: runtimes refuse a model that has one twice. */
import { expect, test } from "vitest";
import { leastSqnr } from "../../../test/optimized-graph.ts";
import { runModel } from "../../../test/run-model.ts";
import type { Model } from "../../ir/model.ts";
import { parse } from "../../ir/text/index.ts";
import { hostTensor } from "../../tensor/host-tensor.ts";
import { float32 } from "../../tensor/tensor.ts";
import { Rng } from "../../util/rng.ts";
import { quantizeDynamic } from "../dynamic/dynamic.ts";
import { type QuantizeOptions, quantize } from "../weights/quantize-weights.ts";

const rng = new Rng(3, "names");
const table = float32(
  [40, 32],
  Array.from({ length: 1280 }, () => rng.normal()),
);
const feeds = { ids: hostTensor("int64", [3], [0, 39, 7]) };

const models: Readonly<Record<string, Model>> = {
  "a lookup and a product": parse`(int64[B] ids) => (y) <float[40,32] emb = ${table}> { e = Gather(emb, ids) y = Gemm <transB = 1> (e, emb) }`,
  "a lookup and a Transpose": parse`(int64[B] ids) => (y) <float[40,32] emb = ${table}> { e = Gather(emb, ids) t = Transpose(emb) y = MatMul(e, t) }`,
  "two lookups": parse`(int64[B] ids) => (y) <float[40,32] emb = ${table}> { e = Gather(emb, ids) f = Gather(emb, ids) y = Add(e, f) }`,
  "names that are taken": parse`(int64[B] ids) => (z) <float[40,32] emb = ${table}> {
    ["emb_Cast"] e = Gather(emb, ids) ["emb_DequantizeLinear"] t = Tanh(e) ["emb_Gather"] r = Neg(t) ["n_quantized"] u = Abs(r) ["n"] y = Gemm <transB = 1> (u, emb) z = Relu(y) }`,
};

const ways: readonly (QuantizeOptions | "dynamic")[] = [
  { dtype: "float16" },
  { dtype: "bfloat16" },
  { dtype: "int8" },
  { dtype: "int4", granularity: "group:32" },
  { dtype: "uint8", format: "codebook" },
  "dynamic",
];

test.each(
  Object.entries(models).flatMap(([name, model]) =>
    ways.map((way) => [name, JSON.stringify(way), model, way] as const),
  ),
)("%s, %s", async (_, __, model, way) => {
  const { model: quantized } = way === "dynamic" ? quantizeDynamic(model) : quantize(model, way);
  const [wanted, given] = [await runModel(model, feeds), await runModel(quantized, feeds, "all")];
  expect(leastSqnr(wanted, given)).toBeGreaterThan(12);
});
