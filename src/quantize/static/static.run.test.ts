/** @file Static quantization in ONNX Runtime: the kernels that its optimizer makes, and that all of its ways agree. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { leastSqnr } from "../../../test/optimized-graph.ts";
import { relativeError, runModel } from "../../../test/run-model.ts";
import { encode } from "../../../test/wire.ts";
import { datasetOf } from "../../data/dataset.ts";
import type { Model } from "../../ir/model.ts";
import { parse } from "../../ir/text/index.ts";
import { loadModel } from "../../node/load.ts";
import { inProcessRuntime } from "../../runtime/in-process.ts";
import type { RuntimeName } from "../../runtime/names.ts";
import type { SessionOptions } from "../../runtime/runtime.ts";
import { hostTensor } from "../../tensor/host-tensor.ts";
import { float32 } from "../../tensor/tensor.ts";
import { Rng } from "../../util/rng.ts";
import type { StaticOptions } from "./options.ts";
import { quantizeStatic } from "./static.ts";

const folder = mkdtempSync(join(tmpdir(), "tersor-static-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const rng = new Rng(5, "static");
const normal = (...dims: number[]) =>
  float32(
    dims,
    Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => rng.normal() * 0.3),
  );
const input = (...dims: number[]) =>
  hostTensor(
    "float32",
    dims,
    normal(...dims)
      .toFloat32()
      .map((x) => x * 4),
  );

const [w, b, u, d, m] = [normal(8, 8, 3, 3), normal(8), normal(8, 8, 1, 1), normal(8, 1, 3, 3), normal(8, 8)];
/** `rest` makes t from c, the result of a Conv of x, and a Conv reads t. */
const between = (rest: string) => parse`(float[N,8,8,8] x) => (y)
  <float[8,8,3,3] w = ${w}, float[8] b = ${b}, float[8,8,1,1] u = ${u}, float[8,1,3,3] d = ${d},
   int64[4] wide = {1,8,8,8}, int64[1] zero = {0}, int64[1] one = {1}, int64[1] eight = {8}, int64[2] fours = {4,4}, int64[4] ones = {1,1,1,1},
   int64[4] same = {0,0,8,8}, float[4] twice = {1,1,2,2}, float lowest = {0}, float highest = {6}, float third = {3}>
  { c = Conv <pads = [1,1,1,1]> (x, w, b) ${rest} y = Conv(t, u) }`;

type Kernels = Readonly<Record<string, number>>;

/** Kernels besides the QuantizeLinear of the input and the DequantizeLinear of the output. */
const cases: Readonly<
  Record<string, { readonly model: Model; readonly dims?: readonly number[]; readonly kernels: Kernels }>
> = {
  Relu: { model: between("t = Relu(c)"), kernels: { QLinearConv: 2 } },
  Clip: { model: between("t = Clip(c, lowest, highest)"), kernels: { QLinearConv: 2 } },
  SiLU: {
    model: between("s = Sigmoid(c) t = Mul(c, s)"),
    kernels: { QLinearConv: 2, QLinearSigmoid: 1, QLinearMul: 1 },
  },
  "HardSwish in parts": {
    model: between("a = Add(c, third) k = Clip(a, lowest, highest) p = Mul(c, k) t = Div(p, highest)"),
    kernels: { QLinearConv: 2, QLinearAdd: 1, QLinearMul: 1 },
  },
  "residual Add": {
    model: between("e = Conv(c, u) a = Add(c, e) t = Relu(a)"),
    kernels: { QLinearConv: 3, QLinearAdd: 1 },
  },
  Concat: {
    model: between("e = Conv(c, u) j = Concat <axis = 1> (c, e) t = Slice(j, zero, eight, one)"),
    kernels: { QLinearConv: 3, QLinearConcat: 1, Slice: 1 },
  },
  LeakyRelu: { model: between("t = LeakyRelu(c)"), kernels: { QLinearConv: 2, QLinearLeakyRelu: 1 } },
  AveragePool: {
    model: between("t = AveragePool <kernel_shape = [2,2]> (c)"),
    kernels: { QLinearConv: 2, QLinearAveragePool: 1 },
  },
  GlobalAveragePool: {
    model: between("t = GlobalAveragePool(c)"),
    kernels: { QLinearConv: 2, QLinearGlobalAveragePool: 1 },
  },
  MaxPool: { model: between("t = MaxPool <kernel_shape = [2,2]> (c)"), kernels: { QLinearConv: 2, MaxPool: 1 } },
  Resize: { model: between("t = Resize(c, , twice)"), kernels: { QLinearConv: 2, Resize: 1 } },
  Transpose: { model: between("t = Transpose <perm = [0,1,3,2]> (c)"), kernels: { QLinearConv: 2, Transpose: 1 } },
  Reshape: { model: between("t = Reshape(c, same)"), kernels: { QLinearConv: 2, Reshape: 1 } },
  Slice: { model: between("t = Slice(c, zero, eight, one)"), kernels: { QLinearConv: 2, Slice: 1 } },
  Expand: {
    model: between("g = GlobalAveragePool(c) t = Expand(g, wide)"),
    kernels: { QLinearConv: 2, QLinearGlobalAveragePool: 1, Expand: 1 },
  },
  Tile: { model: between("t = Tile(c, ones)"), kernels: { QLinearConv: 2, Tile: 1 } },
  "Unsqueeze, Squeeze": {
    model: between("n = Unsqueeze(c, zero) t = Squeeze(n, zero)"),
    kernels: { QLinearConv: 2, Unsqueeze: 1, Squeeze: 1 },
  },
  Split: {
    model: between("p, q = Split <axis = 1> (c, fours) t = Concat <axis = 1> (q, p)"),
    kernels: { QLinearConv: 2, Split: 1, QLinearConcat: 1 },
  },
  Depthwise: { model: between("t = Conv <group = 8> (c, d)"), kernels: { QLinearConv: 3 } },
  "MatMul, Add": {
    model: parse`(float[N,5,8] x) => (y) <float[8,8] m = ${m}, float[8] b = ${b}> { a = MatMul(x, m) c = Add(a, b) r = Relu(c) y = MatMul(r, m) }`,
    dims: [2, 5, 8],
    kernels: { MatMulIntegerToFloat: 2, QuantizeLinear: 2 },
  },
  "MatMul, Add of matrices": {
    model: parse`(float[N,8] x) => (y) <float[8,8] m = ${m}, float[8] b = ${b}> { a = MatMul(x, m) c = Add(a, b) r = Relu(c) d = MatMul(r, m) e = Add(b, d) y = Softmax(e) }`,
    dims: [3, 8],
    kernels: { QGemm: 2 },
  },
  "Gemm, transposed or not": {
    model: parse`(float[N,8] x) => (y) <float[8,8] m = ${m}, float[8] b = ${b}> { a = Gemm <transB = 1> (x, m, b) r = Relu(a) y = Gemm(r, m, b) }`,
    dims: [3, 8],
    kernels: { QGemm: 2 },
  },
};

async function session(model: Model, options: SessionOptions = {}, name: RuntimeName = "ort-node") {
  return inProcessRuntime(name).create(encode(model), { threads: 1, ...options });
}

async function quantized(model: Model, dims: readonly number[], options: StaticOptions) {
  const samples = Array.from({ length: 4 }, (_, i) => ({ id: `#${i}`, inputs: { x: input(...dims) } }));
  return quantizeStatic(model, datasetOf("noise", samples), options, { open: (probed) => session(probed) });
}

async function run(model: Model, feeds: { x: ReturnType<typeof input> }, options: SessionOptions, name?: RuntimeName) {
  const loaded = await session(model, options, name);
  const outputs = await loaded.run(feeds);
  await loaded.release();
  return outputs;
}

/** Operators of the graph that the runtime's optimizer makes. */
async function kernelsOf(model: Model): Promise<Record<string, number>> {
  const path = join(folder, "optimized.onnx");
  await (await session(model, { optimization: "extended", optimizedModelPath: path })).release();
  const counts: Record<string, number> = {};
  for (const { opType } of loadModel(path).graph.nodes) counts[opType] = (counts[opType] ?? 0) + 1;
  return counts;
}

describe.each(Object.entries(cases))("%s", (_, { model, dims = [2, 8, 8, 8], kernels }) => {
  test("runs in integers, near to the float model, alike in every way", async () => {
    const { model: result } = await quantized(model, dims, { target: "node-x64", ranges: "min-max" });
    expect(await kernelsOf(result)).toMatchObject({ QuantizeLinear: 1, ...kernels });
    const feeds = { x: input(...dims) };
    const expected = await run(model, feeds, {});
    const optimized = await run(result, feeds, {});
    expect(relativeError(expected, optimized)).toBeLessThan(0.25);
    // One step of the last codes: the order of float operations may differ.
    expect(relativeError(await run(result, feeds, { optimization: "disabled" }), optimized)).toBeLessThan(0.02);
    expect(relativeError(await run(result, feeds, {}, "ort-web"), optimized)).toBeLessThan(0.02);
  });
});

test("int8 weights per channel saturate without VNNI only where the target does not say so", async () => {
  const wide = parse`(float[N,32,4,4] x) => (y) <float[16,32,1,1] w = ${normal(16, 32, 1, 1)}> { y = Conv(x, w) }`;
  const feeds = { x: input(2, 32, 4, 4) };
  for (const options of [{ target: "any" }, { target: "node-x64" }, { target: "node-x64", dtype: "uint8" }] as const) {
    const { model } = await quantized(wide, [2, 32, 4, 4], options);
    expect(await kernelsOf(model)).toMatchObject({ QLinearConv: 1 });
    const [on, off] = [await run(model, feeds, {}), await run(model, feeds, { optimization: "disabled" })];
    expect(relativeError(off, on)).toBeLessThan(0.005);
  }
});

test.each(["int4", "int2"] as const)("%s weights run in the same integer kernels", async (weights) => {
  const { model } = await quantized(between("e = Conv(c, u) t = Relu(e)"), [2, 8, 8, 8], { dtype: weights });
  expect(await kernelsOf(model)).toMatchObject({ QLinearConv: 3, QuantizeLinear: 1 });
  const feeds = { x: input(2, 8, 8, 8) };
  const [node, web] = [await run(model, feeds, {}), await run(model, feeds, {}, "ort-web")];
  expect(relativeError(node, web)).toBeLessThan(0.02);
});

test("a layer that is kept float runs in float between integer ones", async () => {
  for (const activation of ["t = Relu(f)", "t = Clip(f, lowest, highest)"]) {
    const text = between(`f = Conv <group = 8> (c, d) ${activation}`);
    const { model } = await quantized(text, [2, 8, 8, 8], { target: "node-x64", layers: "*,f@keep" });
    expect(await kernelsOf(model)).toMatchObject({ QLinearConv: 2, FusedConv: 1 });
  }
});

test.each(["ort-node", "ort-web"] as const)(
  "codes that are moved and read as floats load in %s, of every type and opset",
  async (name) => {
    const model = parse`(float[1,2,20] x) => (y, z) <float[8,2,3] w = ${normal(8, 2, 3)}, int64[1] a = {0}, int64[1] b = {4}, int64[1] ax = {1}, float two = {2}, int64[2] flat = {1, -1}> {
    c = Conv(x, w) s = Slice(c, a, b, ax) y = Pow(s, two) t = Transpose<perm = [0,2,1]>(c) z = Reshape(t, flat) }`;
    for (const dtype of ["int8", "int4"] as const) {
      const { model: result } = await quantized(model, [1, 2, 20], {
        target: "web-wasm",
        activations: "int8",
        dtype,
        fitCosts: false,
      });
      const feeds = { x: input(1, 2, 20) };
      const session = await inProcessRuntime(name).create(encode(result), { threads: 1 });
      const outputs = await session.run(feeds);
      await session.release();
      expect(leastSqnr(await runModel(result, feeds), outputs)).toBeGreaterThan(30);
    }
  },
);
