/** @file Codebooks and NF4 in ONNX Runtime: it computes what the tables say. */
import { describe, expect, test } from "vitest";
import { relativeError, runModel } from "../../../test/run-model.ts";
import type { Model } from "../../ir/model.ts";
import { parse } from "../../ir/text/index.ts";
import { float32, type Tensor } from "../../tensor/tensor.ts";
import { Rng } from "../../util/rng.ts";
import { quantizeDynamic } from "../dynamic/dynamic.ts";
import { resolveSpec, type SpecOptions, specOptions } from "../grid/spec.ts";
import { findLayers } from "../layers/sites.ts";
import { quantizeCodebook } from "../methods/codebook.ts";
import { dequantizeNf4, quantizeNf4 } from "../methods/nf4.ts";
import { quantize } from "../weights/quantize-weights.ts";
import { codebookWriter } from "./codebook.ts";
import type { FormatWriter, LayerPlan, WrittenLayer } from "./format.ts";
import { bnb4Obstacle, matMulBnb4Writer } from "./matmul-bnb4.ts";

const rng = new Rng(13, "tables");
const normal = (...dims: number[]) =>
  float32(
    dims,
    Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => rng.normal()),
  );
const host = (tensor: Tensor) => ({ dtype: tensor.dtype, dims: tensor.dims, data: tensor.toTypedArray() });
const planOf = (model: Model, options: SpecOptions): LayerPlan => {
  const layer = findLayers(model).layers[0];
  if (!layer) throw new Error("a model with a layer expected");
  return { layer, spec: resolveSpec(specOptions.parse(options), "test"), seed: 0, measure: true, accuracyLevel: 0 };
};

function write(model: Model, writer: FormatWriter, options: SpecOptions): { model: Model; written: WrittenLayer } {
  const copy = model.clone();
  copy.opsetImports.set("", 21);
  return { model: copy, written: writer.write(planOf(copy, options), copy) };
}

function withWeight(model: Model, data: Float32Array): Model {
  const copy = model.clone();
  const value = copy.graph.find("w");
  if (value?.tensor) value.tensor = float32(value.tensor.dims, data);
  return copy;
}

const models = {
  MatMul: parse`(float[N,80] x) => (y) <float[80,20] w = ${normal(80, 20)}> { y = MatMul(x, w) }`,
  Conv: parse`(float[N,8,6,6] x) => (y) <float[4,8,3,3] w = ${normal(4, 8, 3, 3)}> { y = Conv(x, w) }`,
};
const feeds = { MatMul: { x: host(normal(3, 80)) }, Conv: { x: host(normal(1, 8, 6, 6)) } };

describe("codebook", () => {
  test.each([
    ["MatMul", { dtype: "uint4" }, 16, 19],
    ["Conv", { dtype: "uint4" }, 16, 19],
    ["MatMul", { dtype: "uint8" }, 256, 45],
  ] as const)("%s %o", async (name, options, size, decibels) => {
    const model = models[name];
    const data = model.graph.find("w")?.tensor?.toFloat32() as Float32Array;
    const { values, codes } = quantizeCodebook("w", data, size);
    const expected = await runModel(
      withWeight(
        model,
        Float32Array.from(codes, (code) => values[code] as number),
      ),
      feeds[name],
    );
    const { model: small, written } = write(model, codebookWriter, options);
    expect(relativeError(expected, await runModel(small, feeds[name]))).toBeLessThan(1e-6);
    expect(written.sqnr()).toBeGreaterThan(decibels);
    expect(written.bytes).toBe((data.length * (size === 16 ? 4 : 8)) / 8 + size * 4);
  });
});

describe("nf4", () => {
  test.each([{ granularity: "group:64" }, { granularity: "group:16" }, {}] as const)("%o", async (options) => {
    const model = models.MatMul;
    const blockSize = "granularity" in options ? Number(options.granularity.slice(6)) : 64;
    const data = model.graph.find("w")?.tensor?.toFloat32() as Float32Array;
    const values = dequantizeNf4(quantizeNf4("w", data, 80, 20, blockSize), 80, 20, blockSize);
    const expected = await runModel(withWeight(model, values), feeds.MatMul);
    const { model: small, written } = write(model, matMulBnb4Writer, options);
    expect(relativeError(expected, await runModel(small, feeds.MatMul))).toBeLessThan(1e-5);
    expect(written.sqnr()).toBeGreaterThan(18);
  });

  test("says what it can't replace", () => {
    const { layer, spec } = planOf(models.Conv, {});
    expect(bnb4Obstacle(layer, spec)).toMatch(/MatMul with a constant right operand/);
    expect(bnb4Obstacle(planOf(models.MatMul, {}).layer, spec)).toBeUndefined();
  });
});

describe("bytes of a table whose rows are looked up are those of the file", () => {
  const table = parse`<ir_version: 10, opset_import: ["": 21]> g (int64[N] ids) => (float[N,8] y) <float[64,8] w = ${normal(64, 8)}> {
    y = Gather(w, ids) }`;
  const ways = {
    weights: () => quantize(table, { dtype: "int8", minElements: 1 }),
    dynamic: () => quantizeDynamic(table, { target: "node-x64-vnni", minElements: 1, fitCosts: false }),
  };
  test.each(Object.entries(ways))("%s", (_, way) => {
    const { model, layers } = way();
    const [layer] = typeof layers === "function" ? layers() : layers;
    const stored = model.graph.initializers.filter(({ name }) => name.startsWith("w"));
    expect(stored.length).toBeGreaterThan(1);
    expect(layer?.bytesAfter).toBe(stored.reduce((sum, { tensor }) => sum + (tensor?.byteLength ?? 0), 0));
  });
});
