/** @file Scales that move between layers leave what a model computes alone; corrected biases bring means back. */
import { describe, expect, test } from "vitest";
import { relativeError, runModel } from "../../../test/run-model.ts";
import type { Model } from "../../ir/model.ts";
import { parse } from "../../ir/text/index.ts";
import type { Feeds, Outputs } from "../../runtime/io.ts";
import { float32, fromTypedArray, type Tensor } from "../../tensor/tensor.ts";
import { Rng } from "../../util/rng.ts";
import { analyticCorrection, batchNormMeans, correctBias, empiricalCorrection, reluMean } from "./bias-correction.ts";
import { equalizeCrossLayer } from "./cross-layer.ts";
import { scaleInputs, smoothQuant } from "./smoothquant.ts";

const rng = new Rng(12, "equalize");
const normal = (...dims: number[]) =>
  float32(
    dims,
    Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => rng.normal()),
  );
const positive = (n: number, spread = 1) => Float32Array.from({ length: n }, () => Math.exp(rng.normal() * spread));
const vector = (n: number) => float32([n], positive(n));
const host = (tensor: Tensor) => ({ dtype: tensor.dtype, dims: tensor.dims, data: tensor.toTypedArray() });

interface Case {
  readonly model: Model;
  readonly feeds: Feeds;
  /** The value whose channels are scaled, and how many. */
  readonly value: string;
  readonly channels: number;
  readonly place: "producer" | "mul";
}

const cases: Readonly<Record<string, Case>> = {
  "LayerNormalization in front of q, k and v": {
    model: parse`(float[N,T,16] x) => (y) <float[16] s = ${vector(16)}, float[16] b = ${normal(16)}, float[16,8] q = ${normal(16, 8)}, float[16,8] k = ${normal(16, 8)}, float[8,16] v = ${normal(8, 16)}> {
      h = LayerNormalization(x, s, b) yq = MatMul(h, q) yk = MatMul(h, k) a = Add(yq, yk) y = MatMul(a, v) }`,
    feeds: { x: host(normal(2, 3, 16)) },
    value: "h",
    channels: 16,
    place: "producer",
  },
  "MatMul, Add and Relu in front of MatMul": {
    model: parse`(float[N,8] x) => (y) <float[8,16] w = ${normal(8, 16)}, float[16] b = ${normal(16)}, float[16,4] v = ${normal(16, 4)}> {
      m = MatMul(x, w) a = Add(m, b) h = Relu(a) y = MatMul(h, v) }`,
    feeds: { x: host(normal(3, 8)) },
    value: "h",
    channels: 16,
    place: "producer",
  },
  "gated product in front of Gemm": {
    model: parse`(float[N,8] x) => (y) <float[8,16] u = ${normal(8, 16)}, float[8,16] g = ${normal(8, 16)}, float[4,16] v = ${normal(4, 16)}> {
      a = MatMul(x, g) s = Sigmoid(a) b = MatMul(x, u) h = Mul(s, b) y = Gemm <transB = 1> (h, v) }`,
    feeds: { x: host(normal(3, 8)) },
    value: "h",
    channels: 16,
    place: "producer",
  },
  "BatchNormalization, LeakyRelu and MaxPool in front of Conv": {
    model: parse`(float[N,6,8,8] x) => (y) <float[6] s = ${vector(6)}, float[6] b = ${normal(6)}, float[6] m = ${normal(6)}, float[6] v = ${vector(6)}, float[4,6,3,3] w = ${normal(4, 6, 3, 3)}> {
      n = BatchNormalization(x, s, b, m, v) r = LeakyRelu(n) h = MaxPool <kernel_shape = [2,2], strides = [2,2]> (r) y = Conv(h, w) }`,
    feeds: { x: host(normal(1, 6, 8, 8)) },
    value: "h",
    channels: 6,
    place: "producer",
  },
  "depthwise Conv behind Conv": {
    model: parse`(float[N,3,8,8] x) => (y) <float[6,3,1,1] w = ${normal(6, 3, 1, 1)}, float[6] b = ${normal(6)}, float[6,1,3,3] d = ${normal(6, 1, 3, 3)}> {
      a = Conv(x, w, b) h = Relu(a) y = Conv <group = 6> (h, d) }`,
    feeds: { x: host(normal(1, 3, 8, 8)) },
    value: "h",
    channels: 6,
    place: "producer",
  },
  "a value with other users gets a Mul": {
    model: parse`(float[N,16] x) => (y) <float[16] s = ${vector(16)}, float[16] b = ${normal(16)}, float[16,16] w = ${normal(16, 16)}> {
      h = LayerNormalization(x, s, b) m = MatMul(h, w) y = Add(m, h) }`,
    feeds: { x: host(normal(3, 16)) },
    value: "h",
    channels: 16,
    place: "mul",
  },
  "Gelu keeps nothing": {
    model: parse`(float[N,8] x) => (y) <float[8,16] w = ${normal(8, 16)}, float[16,4] v = ${normal(16, 4)}> { a = MatMul(x, w) h = Tanh(a) y = MatMul(h, v) }`,
    feeds: { x: host(normal(3, 8)) },
    value: "h",
    channels: 16,
    place: "mul",
  },
  "a norm over the last axis in front of Conv": {
    model: parse`(float[N,6,5,6] x) => (y) <float[6] s = ${vector(6)}, float[6] b = ${normal(6)}, float[4,6,1,1] w = ${normal(4, 6, 1, 1)}> { h = LayerNormalization(x, s, b) y = Conv(h, w) }`,
    feeds: { x: host(normal(1, 6, 5, 6)) },
    value: "h",
    channels: 6,
    place: "mul",
  },
  "the model's input": {
    model: parse`(float[N,16] x) => (y) <float[16,4] v = ${normal(16, 4)}> { y = MatMul(x, v) }`,
    feeds: { x: host(normal(3, 16)) },
    value: "x",
    channels: 16,
    place: "mul",
  },
};

describe.each(Object.entries(cases))("%s", (_, { model, feeds, value, channels, place }) => {
  test("scaled inputs leave the outputs alone", async () => {
    const expected = await runModel(model, feeds);
    const scales = new Map([[value, positive(channels)]]);
    const { model: scaled, values } = scaleInputs(model, scales);
    expect(values).toMatchObject([{ value, place }]);
    expect(relativeError(expected, await runModel(scaled, feeds))).toBeLessThan(2e-5);
    const kept = scaleInputs(model, scales, { insertMul: false });
    expect(kept.modified).toBe(place === "producer");
  });
});

test("SmoothQuant evens out an outlier channel", async () => {
  const { model, feeds } = cases["LayerNormalization in front of q, k and v"] as Case;
  const absMax = new Map([["h", positive(16).fill(100, 3, 4)]]);
  const { model: smooth, values } = smoothQuant(model, absMax, { alpha: 0.5 });
  expect(values.map(({ layers }) => layers.length)).toEqual([2]);
  expect(relativeError(await runModel(model, feeds), await runModel(smooth, feeds))).toBeLessThan(2e-5);
  const scale = smooth.graph.find("s")?.tensor?.toFloat32() as Float32Array;
  const before = model.graph.find("s")?.tensor?.toFloat32() as Float32Array;
  expect((scale[3] as number) / (before[3] as number)).toBeLessThan(0.3);
  expect(() => smoothQuant(model, new Map([["h", positive(15)]]))).toThrow(/expected 16, got 15/);
});

test("cross-layer equalization evens out a chain of Convs, and a second run changes nothing", async () => {
  const model = parse`(float[N,3,9,9] x) => (y) <float[6,3,1,1] w = ${normal(6, 3, 1, 1)}, float[6] b = ${normal(6)}, float[6,1,3,3] d = ${normal(6, 1, 3, 3)}, float[6] e = ${normal(6)}, float[4,6,1,1] p = ${normal(4, 6, 1, 1)}> {
    a = Conv(x, w, b) h = Relu(a) c = Conv <group = 6> (h, d, e) i = Relu(c) y = Conv(i, p) }`;
  const wild = model.clone();
  const w = wild.graph.find("w");
  if (w?.tensor)
    w.tensor = float32(
      [6, 3, 1, 1],
      w.tensor.toFloat32().map((v, i) => v * 10 ** (Math.floor(i / 3) - 3)),
    );
  const feeds = { x: host(normal(1, 3, 9, 9)) };
  const { model: even, pairs } = equalizeCrossLayer(wild);
  expect(pairs).toBe(2);
  expect(relativeError(await runModel(wild, feeds), await runModel(even, feeds))).toBeLessThan(1e-5);
  const rows = (name: string, size: number) => {
    const data = even.graph.find(name)?.tensor?.toFloat32() as Float32Array;
    return Array.from({ length: 6 }, (_, c) => Math.max(...data.subarray(c * size, (c + 1) * size).map(Math.abs)));
  };
  const [first, second] = [rows("w", 3), rows("d", 9)];
  first.forEach((r1, c) => {
    expect(r1 / (second[c] as number)).toBeCloseTo(1, 1);
  });
  const again = equalizeCrossLayer(even).model.graph.find("w")?.tensor?.toFloat32() as Float32Array;
  const once = even.graph.find("w")?.tensor?.toFloat32() as Float32Array;
  once.forEach((v, i) => {
    expect(again[i]).toBeCloseTo(v, 2);
  });
});

const channelMeans = ({ y }: Outputs, channels: number): Float32Array => {
  const data = y?.data as Float32Array;
  const inner = data.length / (y?.dims[0] as number) / channels;
  const sums = new Float64Array(channels);
  data.forEach((v, i) => {
    const c = Math.floor(i / inner) % channels;
    sums[c] = (sums[c] as number) + v;
  });
  return Float32Array.from(sums, (sum) => (sum * channels) / data.length);
};

describe("bias correction", () => {
  const coarse = (tensor: Tensor) =>
    float32(
      tensor.dims,
      tensor.toFloat32().map((v) => Math.round(v + 0.2)),
    );

  test.each([
    [
      "Conv without a bias",
      parse`(float[N,6,5,5] x) => (y) <float[4,6,1,1] w = ${normal(4, 6, 1, 1)}> { y = Conv(x, w) }`,
      [40, 6, 5, 5],
      4,
    ],
    [
      "Conv with a bias",
      parse`(float[N,6,5,5] x) => (y) <float[4,6,1,1] w = ${normal(4, 6, 1, 1)}, float[4] b = ${normal(4)}> { y = Conv(x, w, b) }`,
      [40, 6, 5, 5],
      4,
    ],
    [
      "MatMul and Add",
      parse`(float[N,6] x) => (y) <float[6,4] w = ${normal(6, 4)}, float[4] b = ${normal(4)}> { m = MatMul(x, w) y = Add(m, b) }`,
      [400, 6],
      4,
    ],
    [
      "Gemm",
      parse`(float[N,6] x) => (y) <float[4,6] w = ${normal(4, 6)}, float[4] b = ${normal(4)}> { y = Gemm <transB = 1> (x, w, b) }`,
      [400, 6],
      4,
    ],
  ] as const)("%s: measured or worked out, it brings the means back", async (_, model, dims, channels) => {
    const quantized = model.clone();
    const weight = quantized.graph.find("w");
    const tensor = weight?.tensor as Tensor;
    if (weight) weight.tensor = coarse(tensor);
    const x = normal(...dims);
    const shifted = float32(
      dims,
      x.toFloat32().map((v) => v + 2),
    );
    const feeds = { x: host(shifted) };
    const want = channelMeans(await runModel(model, feeds), channels);
    const got = channelMeans(await runModel(quantized, feeds), channels);
    const layer = model.graph.nodes[0]?.output().name as string;
    const measured = empiricalCorrection(new Map([[layer, want]]), new Map([[layer, got]]));
    const means = Float32Array.from({ length: 6 }, (_, c) => {
      const inner = dims.slice(2).reduce((a, b) => a * b, 1);
      const own = shifted.toFloat32().filter((_, i) => Math.floor(i / inner) % 6 === c);
      return own.reduce((a, b) => a + b, 0) / own.length;
    });
    const analytic = analyticCorrection(model, new Map([["w", coarse(tensor)]]), new Map([["x", means]]));
    for (const corrections of [measured, analytic]) {
      const { model: fixed, corrected } = correctBias(quantized, corrections);
      expect(corrected).toEqual([layer]);
      const after = channelMeans(await runModel(fixed, feeds), channels);
      want.forEach((mean, c) => {
        expect(after[c]).toBeCloseTo(mean, 3);
      });
    }
    expect(Math.max(...want.map((mean, c) => Math.abs(mean - (got[c] as number))))).toBeGreaterThan(0.05);
  });

  test("a batch normalization tells the means behind it", () => {
    const bn = { s: float32([2], [1, 2]), b: float32([2], [0, -1]), one: float32([2], [1, 1]) };
    const model = parse`(float[N,2,3,3] x) => (y) <float[2] s = ${bn.s}, float[2] b = ${bn.b}, float[2] m = ${bn.b}, float[2] v = ${bn.one}> { n = BatchNormalization(x, s, b, m, v) y = Relu(n) }`;
    const means = batchNormMeans(model);
    expect([...(means.get("n") ?? [])]).toEqual([0, -1]);
    expect(means.get("y")?.[0]).toBeCloseTo(1 / Math.sqrt(2 * Math.PI), 6);
    const draws = new Rng(1, "relu");
    let sum = 0;
    for (let i = 0; i < 200_000; i++) sum += Math.max(0, draws.normal() * 2 - 1);
    expect(reluMean(-1, 2)).toBeCloseTo(sum / 200_000, 2);
  });
});

test("constants that are used elsewhere are copied, not changed", async () => {
  const shared = fromTypedArray("float32", [16], positive(16));
  const model = parse`(float[N,16] x) => (y) <float[16] s = ${shared}, float[16] b = ${normal(16)}, float[16,16] w = ${normal(16, 16)}> {
    h = LayerNormalization(x, s, b) m = MatMul(h, w) n = LayerNormalization(m, s, b) y = MatMul(n, w) }`;
  const feeds = { x: host(normal(3, 16)) };
  const scales = new Map([
    ["h", positive(16)],
    ["n", positive(16)],
  ]);
  const { model: scaled, values } = scaleInputs(model, scales);
  expect(values.map(({ place }) => place)).toEqual(["producer", "producer"]);
  expect(relativeError(await runModel(model, feeds), await runModel(scaled, feeds))).toBeLessThan(2e-5);
});
