/** @file Every format, on every operator that holds weights: what ONNX Runtime computes is what the numbers say. */
import { describe, expect, test } from "vitest";
import { fakeQuantize } from "../../../test/naive-quantize.ts";
import { relativeError, runModel } from "../../../test/run-model.ts";
import type { Model } from "../../ir/model.ts";
import { parse } from "../../ir/text/index.ts";
import type { Feeds, Outputs } from "../../runtime/io.ts";
import { float32, fromNumbers, type Tensor } from "../../tensor/tensor.ts";
import { Rng } from "../../util/rng.ts";
import { resolveSpec, specOptions } from "../grid/spec.ts";
import { findLayers } from "../layers/sites.ts";
import { quantizeCodebook } from "../methods/codebook.ts";
import { type QuantizeOptions, quantize } from "./quantize-weights.ts";

const rng = new Rng(11, "quantize");
const normal = (...dims: number[]) =>
  float32(
    dims,
    Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => rng.normal()),
  );

const host = (tensor: Tensor) => ({ dtype: tensor.dtype, dims: tensor.dims, data: tensor.toTypedArray() });
const ids = host(fromNumbers("int64", [2, 3], [0, 5, 39, 7, 7, 1]));

/** SQNR in dB of the output "y". */
function sqnr(want: Outputs, got: Outputs): number {
  const [a, b] = [want, got].map(({ y }) => y?.data as Float32Array) as [Float32Array, Float32Array];
  const noise = a.reduce((sum, value, i) => sum + (value - (b[i] as number)) ** 2, 0);
  return 10 * Math.log10(a.reduce((sum, value) => sum + value * value, 0) / noise);
}

interface Case {
  readonly model: Model;
  readonly feeds: Feeds;
}

const cases: Readonly<Record<string, Case>> = {
  MatMul: {
    model: parse`(float[N,64] x) => (float[N,24] y) <float[64,24] w = ${normal(64, 24)}> { y = MatMul(x, w) }`,
    feeds: { x: host(normal(3, 64)) },
  },
  Gemm: {
    model: parse`(float[N,64] x) => (float[N,16] y) <float[16,64] w = ${normal(16, 64)}, float[16] b = ${normal(16)}> { y = Gemm <transB = 1> (x, w, b) }`,
    feeds: { x: host(normal(2, 64)) },
  },
  Conv: {
    model: parse`(float[N,32,6,6] x) => (y) <float[8,32,3,3] w = ${normal(8, 32, 3, 3)}> { y = Conv <pads = [1,1,1,1]> (x, w) }`,
    feeds: { x: host(normal(1, 32, 6, 6)) },
  },
  ConvTranspose: {
    model: parse`(float[N,32,4,4] x) => (y) <float[32,8,2,2] w = ${normal(32, 8, 2, 2)}> { y = ConvTranspose <strides = [2,2]> (x, w) }`,
    feeds: { x: host(normal(1, 32, 4, 4)) },
  },
  Gather: {
    model: parse`(int64[B,T] ids) => (y) <float[40,64] table = ${normal(40, 64)}> { y = Gather(table, ids) }`,
    feeds: { ids },
  },
  LSTM: {
    model: parse`(float[T,B,32] x) => (y) <float[2,64,32] w = ${normal(2, 64, 32)}, float[2,64,16] r = ${normal(2, 64, 16)}> { y = LSTM <hidden_size = 16, direction = "bidirectional"> (x, w, r) }`,
    feeds: { x: host(normal(4, 2, 32)) },
  },
  GRU: {
    model: parse`(float[T,B,32] x) => (y) <float[1,48,32] w = ${normal(1, 48, 32)}, float[1,48,16] r = ${normal(1, 48, 16)}> { y = GRU <hidden_size = 16> (x, w, r) }`,
    feeds: { x: host(normal(4, 2, 32)) },
  },
  RNN: {
    model: parse`(float[T,B,32] x) => (y) <float[1,16,32] w = ${normal(1, 16, 32)}, float[1,16,16] r = ${normal(1, 16, 16)}> { y = RNN <hidden_size = 16> (x, w, r) }`,
    feeds: { x: host(normal(4, 2, 32)) },
  },
  "weight on the left": {
    model: parse`(float[64,N] x) => (y) <float[24,64] w = ${normal(24, 64)}> { y = MatMul(w, x) }`,
    feeds: { x: host(normal(64, 3)) },
  },
  "weight used twice": {
    model: parse`(float[N,64] x) => (y) <float[64,64] w = ${normal(64, 64)}> { a = MatMul(x, w) y = MatMul(a, w) }`,
    feeds: { x: host(normal(3, 64)) },
  },
  "table used as weight and looked up": {
    model: parse`(int64[B,T] ids) => (y) <float[40,64] w = ${normal(40, 64)}> { e = Gather(w, ids) y = Gemm <transB = 1> (e2, w) e2 = Flatten <axis = 2> (e) }`,
    feeds: { ids },
  },
  "weight of the outer graph used in a branch": {
    model: parse`(bool[] c, float[N,64] x) => (y) <float[64,32] w = ${normal(64, 32)}> {
      y = If (c) <then_branch = then () => (a) { a = MatMul(x, w) }, else_branch = else () => (b) { m = MatMul(x, w) b = Neg(m) }> }`,
    feeds: { c: host(fromNumbers("bool", [], [1])), x: host(normal(3, 64)) },
  },
};

const settings: readonly QuantizeOptions[] = [
  {},
  { granularity: "tensor" },
  { dtype: "uint8" },
  { dtype: "uint8", symmetric: true, granularity: "tensor" },
  { granularity: "group:16" },
  { granularity: "group:16", format: "matmul-nbits" },
  { dtype: "int4", granularity: "group:16" },
  { dtype: "uint4", granularity: "group:32" },
  { dtype: "int4", granularity: "group:16", format: "dequantize" },
  { dtype: "int4" },
  { dtype: "uint4", granularity: "tensor" },
  { dtype: "int2", granularity: "group:16" },
  { dtype: "uint2", granularity: "group:16", format: "dequantize" },
  { bits: 5 },
  { bits: 3, symmetric: false, granularity: "tensor" },
];

/** The model with every weight replaced by what its codes stand for, in the granularity that was used in the end. */
function withFakeWeights(model: Model, options: QuantizeOptions): Model {
  const result = quantize(model, { accuracyLevel: 0, minElements: 0, ...options });
  const copy = model.clone();
  const reports = new Map(result.layers().map((layer) => [layer.weight, layer]));
  for (const { value, axes, weight } of findLayers(copy).layers) {
    const { layers: _, minElements: __, seed: ___, accuracyLevel: ____, measure: _____, ...own } = options;
    const used = /(group:\d+|channel|tensor)/.exec(reports.get(value.name)?.spec ?? "")?.[0];
    const spec = resolveSpec(specOptions.parse({ ...own, ...(used && { granularity: used }) }), "test");
    value.tensor = fakeQuantize(weight, axes, spec);
  }
  return copy;
}

describe.each(Object.entries(cases))("%s", (_, { model, feeds }) => {
  test.each(settings.map((options) => [JSON.stringify(options), options] as const))("%s", async (_, options) => {
    const { model: quantized, layers } = quantize(model, { accuracyLevel: 0, minElements: 0, ...options });
    const expected = await runModel(withFakeWeights(model, options), feeds);
    const actual = await runModel(quantized, feeds);
    expect(layers().every((layer) => layer.status === "quantized")).toBe(true);
    expect(relativeError(expected, actual)).toBeLessThan(2e-5);
  });
});

test("global quantization: one scale for all weights, shared by all nodes", async () => {
  const model = parse`(float[N,64] x) => (y) <float[64,32] a = ${normal(64, 32)}, float[32,8] b = ${normal(32, 8)}> { h = MatMul(x, a) y = MatMul(h, b) }`;
  const { model: quantized } = quantize(model, { granularity: "model" });
  const scales = quantized.graph.nodes
    .filter(({ opType }) => opType === "DequantizeLinear")
    .map((node) => node.input(1).name);
  expect(scales).toEqual(["model_scale", "model_scale"]);
  const feeds = { x: host(normal(2, 64)) };
  expect(sqnr(await runModel(model, feeds), await runModel(quantized, feeds))).toBeGreaterThan(30);
});

test.each([
  ["float16", 60],
  ["bfloat16", 40],
] as const)("%s storage computes in float32", async (dtype, decibels) => {
  const { model, feeds } = cases.Conv as Case;
  const { model: quantized, layers } = quantize(model, { dtype });
  expect(sqnr(await runModel(model, feeds), await runModel(quantized, feeds))).toBeGreaterThan(decibels);
  expect(layers()[0]).toMatchObject({ format: "Cast", bytesAfter: 8 * 32 * 9 * 2 });
});

test("format codebook: every weight, lookups too, is what its table says", async () => {
  for (const { model, feeds } of Object.values(cases)) {
    const { model: quantized, layers } = quantize(model, { dtype: "uint4", format: "codebook", minElements: 0 });
    const copy = model.clone();
    for (const { value, weight } of findLayers(copy).layers) {
      const { values, codes } = quantizeCodebook(value.name, weight.toFloat32(), 16);
      value.tensor = float32(
        weight.dims,
        Float32Array.from(codes, (code) => values[code] as number),
      );
    }
    expect(relativeError(await runModel(copy, feeds), await runModel(quantized, feeds))).toBeLessThan(1e-6);
    expect(layers().map(({ spec, format }) => [spec, format])).toEqual(
      layers().map(() => ["codebook of 16", "Codebook"]),
    );
  }
});

test.each([
  [{ dtype: "int2" }, "2-bit int2: expected 4 or 8 bits"],
  [{ dtype: "float16" }, "expected 4 or 8 bits"],
  [{ method: "hqq" }, "method hqq: expected neither"],
  [{ rounding: "stochastic" }, "rounding stochastic: expected neither"],
] as const)("format codebook refuses %o", (options, message) => {
  const { model } = Object.values(cases)[0] as (typeof cases)[keyof typeof cases];
  expect(() => quantize(model, { format: "codebook", minElements: 0, ...options })).toThrow(message);
});

test("rules as objects change what they name, and leave the rest as it is asked for", () => {
  const model = parse`(float[1,64] x) => (y) <float[64,64] a = ${float32([64, 64], new Float32Array(4096).fill(0.5))}, float[64,64] b = ${float32([64, 64], new Float32Array(4096).fill(0.25))}> {
    [first] h = MatMul(x, a)
    [second] y = MatMul(h, b)
  }`;
  const specs = (layers: QuantizeOptions["layers"]) =>
    quantize(model, { dtype: "int4", granularity: "group:32", ...(layers && { layers }) })
      .layers()
      .map(({ spec }) => spec);
  const plain = specs(undefined);
  expect(specs([{ match: "*" }])).toEqual(plain);
  expect(specs([{ match: "*" }, { match: "second", options: { granularity: "group:64" } }])).toEqual([
    plain[0],
    plain[1]?.replace("32", "64"),
  ]);
  expect(specs("*,second@group:64")).toEqual([plain[0], plain[1]?.replace("32", "64")]);
});
