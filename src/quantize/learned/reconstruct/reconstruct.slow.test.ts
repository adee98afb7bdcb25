/** @file Tests of learned rounding: it beats rounding to nearest on data that it has not seen, in every form in which codes are stored. */
import { describe, expect, test } from "vitest";
import { runModel } from "../../../../test/run-model.ts";
import { encode } from "../../../../test/wire.ts";
import { datasetOf } from "../../../data/dataset.ts";
import type { Model } from "../../../ir/model.ts";
import { parse } from "../../../ir/text/index.ts";
import { inProcessRuntime } from "../../../runtime/in-process.ts";
import { hostTensor } from "../../../tensor/host-tensor.ts";
import { float32 } from "../../../tensor/tensor.ts";
import { Rng } from "../../../util/rng.ts";
import { quantizeStatic } from "../../static/static.ts";
import { quantize } from "../../weights/quantize-weights.ts";
import { type ReconstructOptions, reconstruct } from "./reconstruct.ts";
import { reconstructionUnits } from "./units.ts";

const normal = (seed: number, scale: number, ...dims: number[]) => {
  const rng = new Rng(seed, "reconstruct");
  return float32(
    dims,
    Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => rng.normal() * scale),
  );
};

/** A residual block of two Convs, then a Gemm. */
const convolutions = parse`<ir_version: 10, opset_import: ["": 21]> net (float[N,4,6,6] x) => (float[N,5] y)
  <float[8,4,3,3] w1 = ${normal(1, 0.3, 8, 4, 3, 3)}, float[8] b1 = ${normal(2, 0.2, 8)}, float[8,8,3,3] w2 = ${normal(3, 0.2, 8, 8, 3, 3)},
   float[8,8,3,3] w3 = ${normal(4, 0.2, 8, 8, 3, 3)}, float[8] b3 = ${normal(5, 0.2, 8)}, float[5,8] w4 = ${normal(6, 0.4, 5, 8)}, float[5] b4 = ${normal(7, 0.2, 5)}> {
  c1 = Conv <pads = [1,1,1,1]> (x, w1, b1) r1 = Relu(c1)
  c2 = Conv <pads = [1,1,1,1]> (r1, w2) r2 = Relu(c2) c3 = Conv <pads = [1,1,1,1]> (r2, w3, b3) a = Add(c3, r1) r3 = Relu(a)
  p = GlobalAveragePool(r3) f = Flatten(p) y = Gemm <transB = 1> (f, w4, b4) }`;

/** A gated product with a residual, as in transformers. */
const gated = parse`<ir_version: 10, opset_import: ["": 21]> net (float[N,T,32] x) => (float[N,T,32] y)
  <float[32,48] g = ${normal(8, 0.2, 32, 48)}, float[32,48] u = ${normal(9, 0.2, 32, 48)}, float[48,32] d = ${normal(10, 0.2, 48, 32)}, float[32,32] o = ${normal(11, 0.2, 32, 32)}> {
  a = MatMul(x, g) s = Sigmoid(a) b = MatMul(x, u) h = Mul(s, b) m = MatMul(h, d) r = Add(m, x) y = MatMul(r, o) }`;

/** Inputs with few directions, as real ones have: rounding can make use of that. */
function samples(dims: readonly number[], count: number, seed: number) {
  const size = dims.reduce((a, b) => a * b, 1);
  const basis = Array.from({ length: 6 }, (_, k) => normal(100 + k, 1, size).toFloat32());
  return Array.from({ length: count }, (_, i) => {
    const rng = new Rng(seed, `${i}`);
    const parts = basis.map(() => rng.normal() * 0.6);
    const data = Float32Array.from({ length: size }, (_, j) =>
      basis.reduce((sum, b, k) => sum + (parts[k] as number) * (b[j] as number), 0.2 * rng.normal()),
    );
    return { id: `#${i}`, inputs: { x: hostTensor("float32", [1, ...dims], data) } };
  });
}

const open = (model: Model) => inProcessRuntime("ort-node").create(encode(model), { threads: 1 });
const env = { open, runtime: inProcessRuntime("ort-node"), session: { threads: 1 }, batchSize: 16 };

interface Case {
  readonly float: Model;
  readonly dims: readonly number[];
  quantized(data: ReturnType<typeof datasetOf>): Promise<Model>;
  readonly layers: number;
  readonly blocks: readonly string[];
}

const cases: Readonly<Record<string, Case>> = {
  "int3 per channel in int8": {
    float: convolutions,
    dims: [4, 6, 6],
    quantized: async () => quantize(convolutions, { dtype: "int8", bits: 3, minElements: 1 }).model,
    layers: 4,
    blocks: ["c1", "c2,c3", "y"],
  },
  "int2 by mse": {
    float: convolutions,
    dims: [4, 6, 6],
    quantized: async () => quantize(convolutions, { dtype: "int2", scale: "mse", minElements: 1 }).model,
    layers: 4,
    blocks: ["c1", "c2,c3", "y"],
  },
  "MatMulNBits in groups": {
    float: gated,
    dims: [3, 32],
    quantized: async () => quantize(gated, { dtype: "int4", granularity: "group:16", minElements: 1 }).model,
    layers: 4,
    blocks: ["a,b,m", "y"],
  },
  "static, weights of 4 bits": {
    float: convolutions,
    dims: [4, 6, 6],
    quantized: async (data) =>
      (await quantizeStatic(convolutions, data, { dtype: "int4", target: "node-x64" }, { open })).model,
    // The first and the last layer keep 8 bits.
    layers: 2,
    blocks: ["c2,c3"],
  },
};

async function error(float: Model, quantized: Model, inputs: ReturnType<typeof samples>): Promise<number> {
  let sum = 0;
  for (const { inputs: feeds } of inputs) {
    const [{ y: want }, { y: got }] = [await runModel(float, feeds), await runModel(quantized, feeds)];
    const [wanted, given] = [want, got].map((tensor) => tensor?.data as Float32Array);
    sum += wanted?.reduce((total, value, i) => total + (value - (given?.[i] as number)) ** 2, 0) ?? 0;
  }
  return sum;
}

describe.each(Object.entries(cases))("%s", (_, { float, dims, quantized: make, layers, blocks }) => {
  const seen = datasetOf("seen", samples(dims, 64, 1));
  const unseen = samples(dims, 24, 2);

  test.each(["layer", "block"] as const)("by %s comes closer to the float model on unseen data", async (kind) => {
    const quantized = await make(seen);
    const options: ReconstructOptions = { kind, iterations: 150, seed: 1 };
    const result = await reconstruct(float, quantized, seen, options, env);
    const units = result.units.map(({ layers }) => layers.join());
    if (kind === "block") expect(units).toEqual(blocks);
    else expect(units).toHaveLength(layers);
    expect(result.units.every(({ before, after }) => after >= before)).toBe(true);
    expect(await error(float, result.model, unseen)).toBeLessThan(0.75 * (await error(float, quantized, unseen)));
  });
});

test("the same seed gives the same bytes, another one others", async () => {
  const seen = datasetOf("seen", samples([3, 32], 48, 1));
  const quantized = quantize(gated, { dtype: "int2", minElements: 1 }).model;
  const bytes = async (seed: number) =>
    encode((await reconstruct(gated, quantized, seen, { kind: "block", iterations: 40, seed }, env)).model);
  expect(await bytes(1)).toEqual(await bytes(1));
  expect(await bytes(2)).not.toEqual(await bytes(1));
});

test("what several nodes multiply with, and what is fine already, is in no unit or stays", async () => {
  const shared = parse`<ir_version: 10, opset_import: ["": 21]> (float[N,32] x) => (float[N,32] y) <float[32,32] w = ${normal(1, 0.3, 32, 32)}> { a = MatMul(x, w) y = MatMul(a, w) }`;
  const twice = quantize(shared, { dtype: "int4", minElements: 1 }).model;
  expect(reconstructionUnits(shared, twice.clone(), "layer")).toEqual([]);
  const fine = quantize(convolutions, { dtype: "int8", minElements: 1 }).model;
  const seen = datasetOf("seen", samples([4, 6, 6], 4, 1));
  const { units, model } = await reconstruct(convolutions, fine, seen, { kind: "layer", iterations: 1, seed: 0 }, env);
  expect(units).toEqual([]);
  expect(encode(model)).toEqual(encode(fine));
  const none = reconstruct(convolutions, fine, datasetOf("empty", []), { kind: "layer", iterations: 1, seed: 0 }, env);
  await expect(none).rejects.toThrow(/empty: holds no samples/);
});

test("a state whose batch is not its first axis is not joined along it: samples are run one by one", async () => {
  const recurrent = parse`<ir_version: 10, opset_import: ["": 21]> net (float[N,32] x, float[2,N,32] state) => (float[N,32] y)
    <float[32,32] w = ${normal(12, 0.2, 32, 32)}, int64[1] first = {0}> {
    sum = ReduceSum <keepdims = 0> (state, first) a = Add(x, sum) m = MatMul(a, w) y = Tanh(m) }`;
  const given = samples([32], 12, 1).map(({ id, inputs }, i) => ({
    id,
    inputs: { ...inputs, state: hostTensor("float32", [2, 1, 32], normal(200 + i, 0.3, 2, 1, 32).toFloat32()) },
  }));
  const quantized = quantize(recurrent, { dtype: "int4", minElements: 1 }).model;
  const options = { kind: "layer", iterations: 30, seed: 1 } as const;
  const { units } = await reconstruct(recurrent, quantized, datasetOf("states", given), options, env);
  expect(units).toHaveLength(1);
  expect(units.every(({ before, after }) => after >= before)).toBe(true);
});
