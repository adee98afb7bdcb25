/** @file Equalization on data: the model computes the same, and its quantized form comes closer. */
import { expect, test } from "vitest";
import { relativeError, runModel } from "../../../test/run-model.ts";
import { encode } from "../../../test/wire.ts";
import { datasetOf } from "../../data/dataset.ts";
import type { Model } from "../../ir/model.ts";
import { parse } from "../../ir/text/index.ts";
import { inProcessRuntime } from "../../runtime/in-process.ts";
import type { Outputs } from "../../runtime/io.ts";
import { float32 } from "../../tensor/tensor.ts";
import { Rng } from "../../util/rng.ts";
import { quantizeDynamic } from "../dynamic/dynamic.ts";
import { prepareDynamic } from "../dynamic/on-data.ts";
import { resolveSpec, specOptions } from "../grid/spec.ts";
import { quantize } from "../weights/quantize-weights.ts";
import { awqOnData, smoothQuantOnData } from "./on-data.ts";

const rng = new Rng(3, "equalize on data");
const normal = (size: number, scale = 1) => Float32Array.from({ length: size }, () => rng.normal() * scale);

/** Two channels of the norm's output are a hundred times the others, as in language models. */
const outliers = Float32Array.from({ length: 64 }, (_, i) => (i % 32 === 5 ? 60 : 0.5 + rng.uniform()));

const model = parse`(float[N,T,64] x) => (y)
  <float[64] s = ${float32([64], outliers)}, float[64] b = ${float32([64], normal(64, 0.1))},
   float[64,64] q = ${float32([64, 64], normal(64 * 64, 0.1))}, float[64,64] k = ${float32([64, 64], normal(64 * 64, 0.1))},
   float[64,32] v = ${float32([64, 32], normal(64 * 32, 0.1))}> {
    h = LayerNormalization(x, s, b)
    hq = MatMul(h, q) hk = MatMul(h, k)
    g = Sigmoid(hq) m = Mul(g, hk)
    y = MatMul(m, v) }`;

const inputs = (count: number) =>
  Array.from({ length: count }, (_, i) => ({
    id: String(i),
    inputs: { x: { dtype: "float32", dims: [1, 8, 64], data: normal(8 * 64) } as const },
  }));
const seen = datasetOf("seen", inputs(16));
const [unseen] = inputs(1).map((sample) => sample.inputs);
const running = { open: (each: Model) => inProcessRuntime("ort-node").create(encode(each), { threads: 1 }) };

const noiseOf = async (changed: Model) => {
  const [want, got] = [await runModel(model, unseen ?? {}), await runModel(changed, unseen ?? {})];
  const values = ({ y }: Outputs) => Array.from(y?.data as Float32Array);
  const other = values(got);
  return values(want).reduce((sum, value, i) => sum + (value - (other[i] as number)) ** 2, 0);
};

test("smoothquant keeps the outputs and makes dynamic activations finer", async () => {
  const result = await smoothQuantOnData(model, seen, { alpha: 0.5, insertMul: false }, running);
  expect(result.values.map(({ value, place }) => `${value} ${place}`)).toEqual(["h producer", "m producer"]);
  expect(relativeError(await runModel(model, unseen ?? {}), await runModel(result.model, unseen ?? {}))).toBeLessThan(
    1e-5,
  );
  const plain = await noiseOf(quantizeDynamic(model).model);
  expect(await noiseOf(quantizeDynamic(result.model).model)).toBeLessThan(plain * 0.5);
  const { model: chosen } = await smoothQuantOnData(model, seen, { alpha: "auto", insertMul: false }, running);
  expect(await noiseOf(quantizeDynamic(chosen).model)).toBeLessThan(plain * 0.6);
});

test("layers that outliers would leave too few decibels get integer weights and float activations", async () => {
  const { model: smooth, scaled, weightsOnly } = await prepareDynamic(model, seen, { minSqnr: 60 }, running);
  expect(scaled).toBe(2);
  expect([...weightsOnly.keys()].sort()).toEqual(["k", "q", "v"]);
  // For the whole, and no more than a third of the products: those that do most harm.
  const some = await prepareDynamic(model, seen, { minSqnr: 60, mostFloat: 0.34 }, running);
  expect(some.weightsOnly.size).toBe(1);
  const { model: quantized, layers } = quantizeDynamic(smooth, {}, [], weightsOnly);
  expect(await noiseOf(quantized)).toBeLessThan((await noiseOf(quantizeDynamic(smooth).model)) * 0.9);
  for (const { status, format, reason } of layers())
    expect([status, format, reason]).toEqual([
      "quantized",
      "DequantizeLinear",
      expect.stringMatching(/^weights only: outliers of its input would leave \d\d dB, below 60$/),
    ]);
  expect((await prepareDynamic(model, seen, { minSqnr: 20 }, running)).weightsOnly.size).toBe(0);
});

test("awq keeps the outputs and makes weights finer where activations are large", async () => {
  const options = { dtype: "int4", granularity: "group:32" } as const;
  const spec = resolveSpec(specOptions.parse(options), "test");
  const result = await awqOnData(model, seen, spec, { insertMul: false }, running);
  expect(result.values.some(({ value, place }) => value === "h" && place === "producer")).toBe(true);
  expect(relativeError(await runModel(model, unseen ?? {}), await runModel(result.model, unseen ?? {}))).toBeLessThan(
    1e-5,
  );
  const plain = await noiseOf(quantize(model, options).model);
  expect(await noiseOf(quantize(result.model, options).model)).toBeLessThan(plain * 0.7);
});
