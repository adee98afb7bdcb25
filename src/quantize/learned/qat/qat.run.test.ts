/** @file Tests of quantization-aware training: what is opened computes the same, closes to the same bytes, and learns. */
import { describe, expect, it } from "vitest";
import { evaluate, randomFeeds, relativeError, runModel, withSession } from "../../../../test/run-model.ts";
import { encode } from "../../../../test/wire.ts";
import { gradient } from "../../../autodiff/gradient.ts";
import { datasetOf, type IndexedDataset, type Sample } from "../../../data/dataset.ts";
import { chooseMetric } from "../../../evaluate/choose-metric.ts";
import type { Model } from "../../../ir/model.ts";
import { parse } from "../../../ir/text/index.ts";
import { inProcessRuntime } from "../../../runtime/in-process.ts";
import { type HostTensor, hostTensor, numbersOf } from "../../../tensor/host-tensor.ts";
import { float32 } from "../../../tensor/tensor.ts";
import { fit as trainModel } from "../../../train/fit.ts";
import { Rng } from "../../../util/rng.ts";
import { quantizeStatic } from "../../static/static.ts";
import { quantize } from "../../weights/quantize-weights.ts";
import { freeze } from "./freeze.ts";
import { findSlots } from "./slots.ts";
import { type Thawed, thaw } from "./thaw.ts";

const runtime = inProcessRuntime("ort-node");
const normal = (seed: number, scale: number, ...dims: number[]) => {
  const rng = new Rng(seed, "qat");
  return float32(
    dims,
    Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => rng.normal() * scale),
  );
};

/** The direction of a bar in 6 × 6 noisy pixels: [1, 1, 6, 6]. */
function bars(count: number, seed: number): IndexedDataset {
  const samples = Array.from({ length: count }, (_, i): Sample => {
    const rng = new Rng(seed, `${i}`);
    const label = i % 4;
    const at = 1 + Math.floor(rng.uniform() * 4);
    const isLit = [
      (y: number) => y === at,
      (_y: number, x: number) => x === at,
      (y: number, x: number) => y === x + at - 2,
      (y: number, x: number) => y + x === at + 3,
    ][label];
    const pixels = Array.from(
      { length: 36 },
      (_, p) => Number(isLit?.(Math.floor(p / 6), p % 6)) + 0.35 * rng.normal(),
    );
    return { id: `#${i}`, inputs: { x: hostTensor("float32", [1, 1, 6, 6], pixels) }, label };
  });
  return datasetOf("bars", samples);
}

const net = parse`<ir_version: 10, opset_import: ["": 21]> net (float[N,1,6,6] x) => (float[N,4] y)
  <float[8,1,3,3] w1 = ${normal(1, 0.4, 8, 1, 3, 3)}, float[8] b1 = ${normal(2, 0.1, 8)},
   float[12,8,3,3] w2 = ${normal(3, 0.2, 12, 8, 3, 3)}, float[12] b2 = ${normal(4, 0.1, 12)},
   float[12,4] w3 = ${normal(5, 0.3, 12, 4)}, float[4] b3 = {0, 0, 0, 0}> {
  c1 = Conv <pads = [1,1,1,1]> (x, w1, b1) r1 = Relu(c1) c2 = Conv (r1, w2, b2) r2 = Relu(c2)
  g = GlobalMaxPool(r2) f = Flatten(g) y = Gemm(f, w3, b3) }`;
const calibration = bars(64, 3);
const statically = async (model: Model, options: object) =>
  (await quantizeStatic(model, calibration, options, { open: (probed) => runtime.create(encode(probed)) })).model;

const matmul = parse`<ir_version: 11, opset_import: ["": 21, "com.microsoft": 1]> net (float[N,40] x) => (float[N,3] y)
  <float[40,3] w = ${normal(6, 0.3, 40, 3)}, float[3] b = ${normal(7, 0.3, 3)}> { p = MatMul(x, w) y = Add(p, b) }`;
const weightOnly = (options: object) => quantize(matmul, { minElements: 1, ...options }).model;

/** A copy of a model with zeros in a weight, from one element to another. */
function zeroed(model: Model, name: string, from: number, to: number): Model {
  const copy = model.clone();
  const value = copy.graph.find(name);
  if (value?.tensor) value.tensor = float32(value.tensor.dims, value.tensor.toFloat32().slice().fill(0, from, to));
  return copy;
}
/** A channel of the second convolution; the first eight inputs of the product. */
const holes = { net: zeroed(net, "w2", 0, 72), matmul: zeroed(matmul, "w", 0, 24) };

const cases: Readonly<Record<string, () => Model | Promise<Model>>> = {
  "int8, exact in pairs": () => statically(net, { target: "node-x64" }),
  "int8 with all codes": () => statically(net, { dtype: "int8", target: "node-arm64" }),
  "uint8 per tensor": () => statically(net, { dtype: "uint8", granularity: "tensor" }),
  "int4 widened": () => statically(net, { dtype: "int4" }),
  "int2 widened": () => statically(net, { dtype: "int2" }),
  "int4 in groups": () => weightOnly({ dtype: "int4", granularity: "group:8", format: "dequantize" }),
  "uint4 with zero points": () =>
    weightOnly({ dtype: "uint4", symmetric: false, granularity: "group:8", format: "dequantize" }),
  "uint8 with zero points per channel": () =>
    weightOnly({ dtype: "uint8", symmetric: false, granularity: "channel", format: "dequantize" }),
  "int2 per channel": () => weightOnly({ dtype: "int2", granularity: "channel", format: "dequantize" }),
  "MatMulNBits of 4 bits": () =>
    weightOnly({ dtype: "uint4", symmetric: false, granularity: "group:16", format: "matmul-nbits", accuracyLevel: 0 }),
  "int8 per channel, one of zeros": () => quantize(holes.net, { minElements: 1 }).model,
  "uint4 in groups, some of zeros": () =>
    quantize(holes.matmul, {
      minElements: 1,
      dtype: "uint4",
      symmetric: false,
      granularity: "group:8",
      format: "dequantize",
    }).model,
  "MatMulNBits of 8 bits, symmetric": () =>
    weightOnly({ dtype: "uint8", symmetric: true, granularity: "group:32", format: "matmul-nbits", accuracyLevel: 0 }),
};

const thawed = (model: Model, options?: Parameters<typeof thaw>[1]) => thaw(model, options) as Thawed;

describe.each(Object.entries(cases))("%s", (_, make) => {
  it.each(["fixed", "learned"] as const)(
    "opens to what computes the same, closes to the same bytes: scales %s",
    async (scales) => {
      const model = await make();
      const open = thawed(model, { scales });
      const feeds = await withSession(model, async ({ inputs }) => randomFeeds(inputs, 1));
      expect(relativeError(await runModel(model, feeds), await runModel(open.model, feeds))).toBeLessThan(1e-5);
      expect(encode(await freeze(open, open.model, evaluate))).toEqual(encode(open.quantized));
      expect(open.left).toEqual([]);
    },
  );
});

/** Names of weights that began as those of an original. */
const originals = ({ weights }: Thawed) => weights.flatMap(({ name, isOriginal }) => (isOriginal ? [name] : [])).sort();

describe("thaw", () => {
  it("begins with the float weights of an original, where they are what was rounded", async () => {
    const model = await statically(net, { dtype: "int4", scale: "absmax" });
    const open = thawed(model, { originals: [net] });
    expect(originals(open)).toEqual(["w1", "w2", "w3"]);
    expect(open.model.graph.find("w2")?.tensor?.toFloat32()).toEqual(net.graph.find("w2")?.tensor?.toFloat32());
    expect(encode(await freeze(open, open.model, evaluate))).toEqual(encode(open.quantized));
    const other = net.clone();
    const w2 = other.graph.find("w2");
    if (w2) w2.tensor = normal(9, 0.2, 12, 8, 3, 3);
    expect(originals(thawed(model, { originals: [other] }))).toEqual(["w1", "w3"]);
  });

  it("is for models with integer weights", () => {
    expect(thaw(net)).toBeUndefined();
  });

  it("leaves lookups in codes as they are, and trains the rest", async () => {
    const words = parse`<ir_version: 11, opset_import: ["": 21, "com.microsoft": 1]> words (int64[N] x) => (float[N,4] y)
      <float[64,32] table = ${normal(20, 0.3, 64, 32)}, float[32,4] w = ${normal(21, 0.3, 32, 4)}> { h = Gather(table, x) y = MatMul(h, w) }`;
    const quantized = quantize(words, { dtype: "int4", granularity: "group:16", minElements: 1 }).model;
    expect(quantized.graph.nodes.map(({ opType }) => opType)).toEqual(["GatherBlockQuantized", "MatMulNBits"]);
    const open = thawed(quantized);
    expect(open.left).toContain("table_Q4");
    const labelled = Array.from(
      { length: 64 },
      (_, i): Sample => ({ id: `${i}`, inputs: { x: hostTensor("int64", [1], [i]) }, label: i % 4 }),
    );
    const options = { rate: 0.01, epochs: 2, freeze: [...open.fixed] };
    const { trained } = await trainModel(open.model, options, { ...env, data: datasetOf("words", labelled) });
    expect(trained).toEqual(open.weights.map(({ name }) => name));
  });

  it("keeps the sums of two products within 16 bits, whatever is trained", async () => {
    const open = thawed(await statically(net, { target: "node-x64" }));
    const pushed = open.model.clone();
    for (const { name } of open.weights) {
      const value = pushed.graph.find(name);
      if (value?.tensor)
        value.tensor = float32(
          value.tensor.dims,
          value.tensor.toFloat32().map((x) => x * 50),
        );
    }
    const model = await freeze(open, pushed, evaluate);
    for (const { slot } of open.weights) {
      const codes = model.graph.find(slot.codes.name)?.tensor?.toNumbers() ?? new Float64Array();
      const most = Array.from(codes, (code) => Math.abs(code)).sort((a, b) => b - a);
      expect(most[0]).toBeGreaterThanOrEqual(64);
      expect(most[0]).toBeLessThanOrEqual(127);
    }
  });
});

it("packed weights whose attributes claim another size are left as they are", () => {
  const claims = (attributes: string) =>
    parse(`<ir_version: 10, opset_import: ["": 21, "com.microsoft": 1]> g (float[1,32] x) => (y)
    <uint8[2,2,8] q = {${Array.from({ length: 32 }, (_, i) => i).join(", ")}}, float[4] s = {1, 1, 1, 1}> {
    y = com.microsoft.MatMulNBits <bits = 4, N = 2, ${attributes}> (x, q, s) }`);
  const found = (attributes: string) => findSlots(claims(attributes).graph).weights.length;
  expect(found("K = 32, block_size = 16")).toBe(1);
  const lies = [
    "K = 4294967296, block_size = 16",
    "K = 32, block_size = 0",
    "K = 32, block_size = -16",
    "K = 64, block_size = 16",
  ];
  for (const lie of lies) expect(found(lie), lie).toBe(0);
});

describe("weights that are all zero have a scale of 0", () => {
  it.each([
    ["fixed", 0],
    ["learned", 0],
    ["fixed", 1],
    ["learned", 1],
  ] as const)("which nothing is divided by: scales %s, case %i", async (scales, at) => {
    const model = quantize(
      holes.net,
      at === 0 ? { minElements: 1 } : { minElements: 1, dtype: "int4", granularity: "group:4", format: "dequantize" },
    ).model;
    const steps = model.graph.nodes.flatMap(({ opType, inputs }) =>
      opType === "DequantizeLinear" ? [...(inputs[1]?.tensor?.toFloat32() ?? [])] : [],
    );
    expect(steps).toContain(0);
    const open = thawed(model, { scales, prunedZeros: true, originals: [net] });
    expect(originals(open)).toEqual(["w1", "w2", "w3"]);
    const options = { rate: 0.003, epochs: 1, ...(open.fixed.length > 0 && { freeze: [...open.fixed] }) };
    const { model: trained, diverged } = await trainModel(open.model, options, env);
    expect(diverged).toBeUndefined();
    const closed = await freeze(open, trained, evaluate);
    for (const { tensor } of closed.graph.initializers)
      if (tensor?.dtype === "float32") expect([...tensor.toFloat32()].every(Number.isFinite)).toBe(true);
    const feeds = randomFeeds([{ name: "x", dtype: "float32", dims: [2, 1, 6, 6] }], 4);
    expect(relativeError(await runModel(closed, feeds), await runModel(trained, feeds))).toBeLessThan(1e-5);
  });
});

describe("learned scales", () => {
  it("get the gradient of Esser et al.: what rounding adds inside, the bound outside, times s", async () => {
    const model = parse`<ir_version: 11, opset_import: ["": 21]> (float[1,5] x) => (y)
      <int4[5,1] q = {3, -5, 7, -8, 0}, float s = {0.25}, int4 z = {0}> { w = DequantizeLinear(q, s, z) p = MatMul(x, w) y = ReduceSum<keepdims = 0>(p) }`;
    const open = thawed(model, { scales: "learned" });
    const weights = [0.7, -1.2, 2.5, -3, 0.1];
    const master = open.model.graph.find(open.weights[0]?.name ?? "");
    if (master) master.tensor = float32([5, 1], weights);
    const [scale] = open.scales;
    const names = [master?.name ?? "", scale?.parameter ?? ""];
    const { model: result, gradients } = gradient(open.model, { of: "y", with: names });
    const x = [1, 2, 3, 4, 5];
    const outputs = await runModel(result, { x: hostTensor("float32", [1, 5], x) });
    const of = (name = "") => Array.from(numbersOf(outputs[gradients.get(name) ?? ""] as HostTensor, name));
    expect(of(names[0])).toEqual([1, 2, 0, 0, 5]);
    const formula = weights.map((w) => {
      const v = w / 0.25;
      return v <= -8.5 ? -8 : v >= 7.5 ? 7 : Math.round(v) - v;
    });
    const ds = formula.reduce((sum, each, i) => sum + each * (x[i] as number), 0);
    const c = Math.min(1, Math.sqrt(1 / Math.sqrt(5 * 7)) / 0.25);
    expect(of(names[1])[0]).toBeCloseTo(ds * 0.25 * c, 4);
  });
});

const data = bars(480, 1);
const test = bars(400, 2);
const env = { runtime, session: { threads: 1, optimization: "basic" } as const, data };

async function accuracy(model: Model): Promise<number> {
  const missing = () => expect.fail("no file");
  const metric = (await chooseMetric("top-1", { readText: missing, loadModule: missing })).create();
  await withSession(model, async (session) => {
    for await (const sample of test) metric.add(await session.run(sample.inputs), sample);
  });
  return metric.value();
}

describe("training", async () => {
  const { model: trained } = await trainModel(net, { rate: 0.01, epochs: 6 }, env);
  const float = await accuracy(trained);
  const int2 = quantize(trained, { dtype: "int2", granularity: "tensor", minElements: 1 }).model;

  it.each([
    ["int2", "fixed", int2, 5],
    ["int2", "learned", int2, 5],
    ["int4 with uint8 activations", "learned", await statically(trained, { dtype: "int4" }), -1],
  ] as const)("regains what %s loses, and exports what was trained: scales %s", async (_, scales, quantized, loss) => {
    const open = thawed(quantized, { originals: [trained], scales });
    const freezes = open.fixed.length > 0 ? { freeze: [...open.fixed] } : {};
    const result = await trainModel(open.model, { rate: 0.003, epochs: 4, ...freezes }, env);
    const model = await freeze(open, result.model, evaluate);
    const [before, after] = [await accuracy(quantized), await accuracy(model)];
    expect(float).toBeGreaterThan(95);
    expect(float - before).toBeGreaterThanOrEqual(loss);
    expect(float - after).toBeLessThanOrEqual(Math.max(1, 0.2 * (float - before)));
    expect(after).toBe(await accuracy(result.model));
    expect(result.trained.length).toBe(6 + open.scales.length);
    expect(model.graph.nodes.map(({ name }) => name)).toEqual(quantized.graph.nodes.map(({ name }) => name));
  });
});
