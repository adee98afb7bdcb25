/** @file Methods that look at data, from the data to the outputs of the quantized model. */
import { expect, test } from "vitest";
import { runModel, withSession } from "../../../test/run-model.ts";
import { encode } from "../../../test/wire.ts";
import { datasetOf } from "../../data/dataset.ts";
import { parse } from "../../ir/text/index.ts";
import { inProcessRuntime } from "../../runtime/in-process.ts";
import { float32 } from "../../tensor/tensor.ts";
import { Rng } from "../../util/rng.ts";
import { collectMethodStats } from "./method-stats.ts";
import { type QuantizeOptions, quantize } from "./quantize-weights.ts";

const rng = new Rng(21, "methods");
const normal = (n: number) => Float32Array.from({ length: n }, () => rng.normal());

/** A convolution and a classifier on inputs whose channels are mixtures of a few sources: what gptq lives on. */
const model = parse`(float[N,16,6,6] x) => (y)
  <float[24,16,3,3] w = ${float32([24, 16, 3, 3], normal(24 * 16 * 9))}, float[24,8] head = ${float32([24, 8], normal(192))}> {
    [conv] a = Conv (x, w)
    r = Relu(a)
    p = GlobalAveragePool(r)
    f = Flatten(p)
    [head] y = MatMul(f, head)
  }`;

const mixture = normal(16 * 4);
const pictures = (count: number) => {
  const data = new Float32Array(count * 16 * 36);
  for (let i = 0; i < count * 36; i++) {
    const sources = normal(4);
    for (let c = 0; c < 16; c++)
      data[(Math.floor(i / 36) * 16 + c) * 36 + (i % 36)] = sources.reduce(
        (sum, s, k) => sum + s * (mixture[c * 4 + k] as number),
        0.05 * rng.normal(),
      );
  }
  return { dtype: "float32", dims: [count, 16, 6, 6], data } as const;
};

const seen = pictures(64);
const unseen = pictures(64);

async function noiseOf(options: QuantizeOptions): Promise<number> {
  const runtime = inProcessRuntime("ort-node");
  const samples = Array.from({ length: 64 }, (_, i) => {
    const data = seen.data.subarray(i * 576, (i + 1) * 576);
    return { id: String(i), inputs: { x: { dtype: "float32", dims: [1, 16, 6, 6], data } as const } };
  });
  const stats = await collectMethodStats(model, datasetOf("seen", samples), {
    open: (probed) => runtime.create(encode(probed), { threads: 1 }),
  });
  const quantized = quantize(model, { minElements: 0, dtype: "int4", ...options }, stats);
  const [want, got] = [
    await runModel(model, { x: unseen }),
    await withSession(quantized.model, (s) => s.run({ x: unseen })),
  ];
  const [a, b] = [want, got].map(({ y }) => y?.data as Float32Array) as [Float32Array, Float32Array];
  expect(quantized.layers().map(({ spec }) => spec)).toEqual(
    quantized.layers().map(() => `int4 channel${options.method ? ` ${options.method}` : ""}`),
  );
  return a.reduce((sum, value, i) => sum + (value - (b[i] as number)) ** 2, 0);
}

test("gptq and awq bring outputs on unseen data closer than plain rounding", async () => {
  const rtn = await noiseOf({});
  expect(await noiseOf({ method: "gptq" })).toBeLessThan(rtn * 0.5);
  expect(await noiseOf({ method: "awq" })).toBeLessThan(rtn);
});

test("without data gptq is refused, and roundings other than nearest are", () => {
  expect(() => quantize(model, { method: "gptq" })).toThrow(/needs to see the inputs of the layers/);
  expect(() => quantize(model, { method: "hqq", rounding: "stochastic" })).toThrow(
    /rounding stochastic with method hqq/,
  );
});

test("inputs whose width the types do not tell are seen: the weight tells it", async () => {
  const hidden = parse`(float[N,32] x, int64[2] flat, int64[3] map) => (y, z)
    <float[32,8] w = ${float32([32, 8], normal(256))}, float[8,4,3] c = ${float32([8, 4, 3], normal(96))}> {
      rows = Reshape(x, flat) [product] y = MatMul(rows, w)
      maps = Reshape(x, map) [conv] z = Conv(maps, c)
    }`;
  const samples = Array.from({ length: 40 }, (_, i) => ({
    id: String(i),
    inputs: {
      x: { dtype: "float32", dims: [1, 32], data: normal(32) } as const,
      flat: { dtype: "int64", dims: [2], data: BigInt64Array.of(1n, 32n) } as const,
      map: { dtype: "int64", dims: [3], data: BigInt64Array.of(1n, 4n, 8n) } as const,
    },
  }));
  const stats = await collectMethodStats(hidden, datasetOf("seen", samples), {
    open: (probed) => inProcessRuntime("ort-node").create(encode(probed), { threads: 1 }),
  });
  const square = samples.reduce((sum, { inputs: { x } }) => sum + (x.data[0] as number) ** 2, 0);
  expect(stats.get("w")?.sums[0]).toBeCloseTo(square, 2);
  expect([stats.get("w")?.k, stats.get("c")?.k]).toEqual([32, 12]);
  const { layers } = quantize(hidden, { dtype: "int4", minElements: 0, method: "gptq" }, stats);
  expect(layers().map(({ reason }) => reason)).toEqual([undefined, undefined]);
});
