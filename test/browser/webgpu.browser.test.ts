/** @file Quantized models in a browser: WebGPU (in software) and wasm agree with node, or fail as the target's row says. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { datasetOf } from "../../src/data/dataset.ts";
import type { Model } from "../../src/ir/model.ts";
import { parse } from "../../src/ir/text/index.ts";
import { quantizeDynamic } from "../../src/quantize/dynamic/dynamic.ts";
import { toFloat16 } from "../../src/quantize/float16/float16.ts";
import { quantizeStatic } from "../../src/quantize/static/static.ts";
import { quantize } from "../../src/quantize/weights/quantize-weights.ts";
import { inProcessRuntime } from "../../src/runtime/in-process.ts";
import type { Outputs } from "../../src/runtime/io.ts";
import type { SessionOptions } from "../../src/runtime/runtime.ts";
import { kernelFact } from "../../src/targets/target.ts";
import { targetNamed } from "../../src/targets/targets.ts";
import { hostTensor } from "../../src/tensor/host-tensor.ts";
import { elementCount, float32 } from "../../src/tensor/tensor.ts";
import { Rng } from "../../src/util/rng.ts";
import { leastSqnr } from "../optimized-graph.ts";
import { encode } from "../wire.ts";
import { type Browser, chromiumPath, openBrowser } from "./browser.ts";

const rng = new Rng(21, "browser");
const normal = (...dims: number[]) =>
  float32(
    dims,
    Float32Array.from({ length: elementCount(dims) }, () => rng.normal() * 0.3),
  );

/** A convolution with its Relu, and two products behind it. JSEP wants every attribute written out. */
const model = parse`<ir_version: 8, opset_import: ["": 17]> g (float[1,8,6,6] x) => (y)
  <float[64,8,3,3] w = ${normal(64, 8, 3, 3)}, float[64] b = ${normal(64)}, int64[2] flat = {36, 64}, float[64,64] m = ${normal(64, 64)}, float[64,32] h = ${normal(64, 32)}> {
    c = Conv <pads = [1,1,1,1], dilations = [1,1], strides = [1,1], kernel_shape = [3,3], group = 1> (x, w, b)
    r = Relu(c) f = Reshape(r, flat) p = MatMul(f, m) y = MatMul(p, h) }`;

const feedOf = (seed: number) => ({
  x: hostTensor(
    "float32",
    [1, 8, 6, 6],
    new Float32Array(288).map((_, i) => Math.sin(i * 0.37 + seed)),
  ),
});
const feeds = feedOf(9);

const open = (each: Model, options?: SessionOptions) =>
  inProcessRuntime("ort-node").create(encode(each), { threads: 1, ...options });

/** What node computes, operator by operator: optimized, it would round activations of what is weight-only. */
async function inNode(each: Model): Promise<Outputs> {
  const session = await open(each, { optimization: "disabled" });
  const outputs = await session.run(feeds);
  await session.release();
  return outputs;
}

const samples = datasetOf(
  "noise",
  [0, 1, 2, 3].map((seed) => ({ id: `#${seed}`, inputs: feedOf(seed) })),
);

/** Least SQNR, in dB, where both sides compute in floats: the order of sums is left. */
const SUMS = 90;
/** Where sums are in integers on one side: a code may flip now and then. */
const CODES = 40;

interface Case {
  readonly make: () => Model | Promise<Model>;
  /** What node runs instead, where it would round what others don't. */
  readonly reference?: () => Model;
  readonly bound: number;
}

const nbits = (bits: 4 | 8, group: number, accuracyLevel: 0 | 4) =>
  quantize(model, {
    dtype: bits === 4 ? "int4" : "uint8",
    granularity: `group:${group}`,
    format: "matmul-nbits",
    accuracyLevel,
    layers: "MatMul",
  }).model;

const asStatic = async () => (await quantizeStatic(model, samples, { target: "any" }, { open })).model;

const cases: Readonly<Record<string, Case>> = {
  float32: { make: () => model, bound: SUMS },
  "int8 weights, DequantizeLinear": {
    make: () => quantize(model, { dtype: "int8", granularity: "channel" }).model,
    bound: SUMS,
  },
  "int4 weights, MatMulNBits": { make: () => nbits(4, 32, 4), reference: () => nbits(4, 32, 0), bound: SUMS },
  "8-bit weights, MatMulNBits": { make: () => nbits(8, 32, 4), reference: () => nbits(8, 32, 0), bound: SUMS },
  static: { make: asStatic, bound: CODES },
  dynamic: { make: () => quantizeDynamic(model, { target: "any", minElements: 1 }).model, bound: CODES },
};

const halfModel = () => toFloat16(model, {}).model;
const row = targetNamed("web-webgpu");

describe.skipIf(!chromiumPath)("in Chromium", () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await openBrowser(chromiumPath as string);
  }, 60_000);
  afterAll(() => browser?.close());

  it("there is a WebGPU adapter", async () => {
    expect(await browser.adapter()).toMatchObject({ vendor: expect.any(String) });
  });

  it.each(Object.entries(cases))("%s agrees with node on WebGPU and in wasm", async (_, { make, reference, bound }) => {
    const made = await make();
    const expected = await inNode(reference?.() ?? made);
    expect(leastSqnr(expected, await browser.run(made, feeds, "webgpu", "webgpu"))).toBeGreaterThan(bound);
    expect(leastSqnr(expected, await browser.run(made, feeds, "wasm", "wasm"))).toBeGreaterThan(bound);
  });

  it("float16 needs an adapter with shader-f16, as the target says; wasm computes it in float32", async () => {
    const made = halfModel();
    const expected = await inNode(model);
    const onGpu = browser.run(made, feeds, "webgpu", "webgpu");
    if ((await browser.adapter())?.features.includes("shader-f16"))
      expect(leastSqnr(expected, await onGpu)).toBeGreaterThan(40);
    else await expect(onGpu).rejects.toThrow("requires f16");
    expect(kernelFact(row, "float16").note).toContain("shader-f16");
    expect(leastSqnr(expected, await browser.run(made, feeds, "wasm", "wasm"))).toBeGreaterThan(40);
  });

  it("the older JSEP build is wrong where the target says so, and right where it does not", async () => {
    const sqnr = async (made: Model, reference = made) =>
      leastSqnr(await inNode(reference), await browser.run(made, feeds, "jsep", "webgpu"));
    expect(await sqnr(nbits(4, 32, 4), nbits(4, 32, 0))).toBeGreaterThan(SUMS);
    expect(kernelFact(row, "MatMulNBits").note).toContain("JSEP bundle has 4 bits right only for blocks of 16 and 32");
    expect(await sqnr(nbits(4, 64, 4), nbits(4, 64, 0))).toBeLessThan(10);
    expect(row.evidence.join()).toContain("the JSEP bundle computes QDQ models wrongly");
    expect(await sqnr(await asStatic())).toBeLessThan(10);
    if ((await browser.adapter())?.features.includes("shader-f16")) return;
    expect(kernelFact(row, "float16").note).toContain("without it the native provider refuses the model, and JSEP");
    expect(await sqnr(halfModel(), model)).toBeLessThan(10);
  });
});
