/** @file Layer by layer: what quantized layers do to those behind them is made up for, in stages that run every node once. */
import { describe, expect, test } from "vitest";
import { withSession } from "../../../test/run-model.ts";
import { encode } from "../../../test/wire.ts";
import { datasetOf } from "../../data/dataset.ts";
import type { Model } from "../../ir/model.ts";
import { parse } from "../../ir/text/index.ts";
import { inProcessRuntime } from "../../runtime/in-process.ts";
import type { Outputs } from "../../runtime/io.ts";
import { float32 } from "../../tensor/tensor.ts";
import { Rng } from "../../util/rng.ts";
import { collectMethodStats } from "../weights/method-stats.ts";
import { type QuantizeOptions, quantize } from "../weights/quantize-weights.ts";
import { quantizeSequentially } from "./sequential.ts";

const rng = new Rng(5, "sequential");
const normal = (...dims: number[]) => {
  const size = dims.reduce((a, b) => a * b, 1);
  const fan = Math.sqrt(size / (dims[0] as number));
  return float32(
    dims,
    Float32Array.from({ length: size }, () => rng.normal() / fan),
  );
};

/** A residual block, a group convolution and a weight that is used twice. */
const cnn = parse`(float[N,8,6,6] x) => (y)
  <float[16,8,3,3] a = ${normal(16, 8, 3, 3)}, float[16,16,3,3] b = ${normal(16, 16, 3, 3)}, float[16,8,1,1] c = ${normal(16, 8, 1, 1)},
   float[16,8,3,3] g = ${normal(16, 8, 3, 3)}, float[16,16] h = ${normal(16, 16)}> {
    a1 = Conv <pads = [1,1,1,1]> (x, a) a2 = Relu(a1)
    b1 = Conv <pads = [1,1,1,1]> (a2, b)
    s = Conv(x, c) r = Add(b1, s) r2 = Relu(r)
    g1 = Conv <group = 2> (r2, g) g2 = Relu(g1)
    p = GlobalAveragePool(g2) f = Flatten(p)
    h1 = MatMul(f, h) h2 = Tanh(h1) y = MatMul(h2, h) }`;

/** Two layers on one input, a branch, and a layer that reads a state. */
const rnn = parse`(float[T,N,8] x) => (y)
  <float[1,64,8] w = ${normal(1, 64, 8)}, float[1,64,16] r = ${normal(1, 64, 16)}, float[8,8] q = ${normal(8, 8)}, float[8,8] k = ${normal(8, 8)},
   float[16,8] o = ${normal(16, 8)}, int64[1] one = {1}> {
    xq = MatMul(x, q) xk = MatMul(x, k) m = Mul(xq, xk)
    l, lh = LSTM <hidden_size = 16> (m, w, r)
    s = Squeeze(l, one)
    z = MatMul(s, o)
    total = ReduceSum <keepdims = 0> (z)
    limit = Constant <value_float = 0.0> ()
    up = Greater(total, limit)
    y = If (up) <then_branch = t () => (t1) { t1 = Neg(z) }, else_branch = e () => (e1) { e1 = Relu(z) }> }`;

const samplesOf = (dims: readonly number[], mixture: Float32Array, axis: number, count: number) =>
  Array.from({ length: count }, (_, i) => {
    const channels = dims[axis] as number;
    const inner = dims.slice(axis + 1).reduce((a, b) => a * b, 1);
    const size = dims.reduce((a, b) => a * b, 1);
    const data = new Float32Array(size);
    for (let at = 0; at < size; at++) {
      const channel = Math.floor(at / inner) % channels;
      data[at] = (mixture[channel] as number) * (0.5 + rng.uniform()) + 0.4 * rng.normal();
    }
    return { id: String(i), inputs: { x: { dtype: "float32", dims, data } as const } };
  });

const open = (model: Model) =>
  inProcessRuntime("ort-node").create(encode(model), { threads: 1, optimization: "disabled" });

interface Case {
  readonly model: Model;
  readonly dims: readonly number[];
  readonly axis: number;
}

const cases: Readonly<Record<string, Case>> = {
  "a CNN": { model: cnn, dims: [1, 8, 6, 6], axis: 1 },
  "an RNN with a branch": { model: rnn, dims: [4, 1, 8], axis: 2 },
};

test("layers in branches and loops have no turn: they are rounded, and the others are not held up", async () => {
  const model = parse`(float[N,8] x) => (y) <float[8,8] a = ${normal(8, 8)}, float[8,8] b = ${normal(8, 8)}, float[8,8] c = ${normal(8, 8)}> {
    h = MatMul(x, a)
    total = ReduceSum <keepdims = 0> (h)
    limit = Constant <value_float = 0.0> ()
    up = Greater(total, limit)
    s = If (up) <then_branch = t () => (t1) { t1 = MatMul(h, b) }, else_branch = e () => (e1) { [inner] e1 = MatMul(h, c) }>
    y = MatMul(s, c) }`;
  const data = datasetOf("seen", samplesOf([1, 8], new Float32Array(8).fill(1), 1, 8));
  const own: QuantizeOptions = { dtype: "int4", minElements: 0, method: "gptq" };
  const result = await quantizeSequentially(model, data, (stats) => quantize(model, own, stats), { open });
  encode(result.model);
  const reason = "gptq sees no inputs of this layer: rtn instead";
  expect(
    result
      .layers()
      .flatMap((layer) => (layer.reason === reason ? [layer.weight] : []))
      .sort(),
  ).toEqual(["b", "c"]);
  await withSession(result.model, async () => {});
});

describe.each(Object.entries(cases))("%s", (_, { model, dims, axis }) => {
  const mixture = Float32Array.from({ length: dims[axis] as number }, () => rng.normal());
  const seen = datasetOf("seen", samplesOf(dims, mixture, axis, 48));
  const unseen = samplesOf(dims, mixture, axis, 48);
  const outputsOf = (each: Model): Promise<Outputs[]> =>
    withSession(each, async (session) => {
      const all: Outputs[] = [];
      for (const { inputs } of unseen) all.push(await session.run(inputs));
      return all;
    });
  const noiseOf = async (each: Model) => {
    const [want, got] = [await outputsOf(model), await outputsOf(each)];
    const values = (outputs: Outputs[]) => outputs.flatMap(({ y }) => Array.from(y?.data as Float32Array));
    const actual = values(got);
    return values(want).reduce((sum, value, i) => sum + (value - (actual[i] as number)) ** 2, 0);
  };
  const options = (method: QuantizeOptions["method"]): QuantizeOptions => ({ dtype: "int4", minElements: 0, method });
  const sequential = (method: QuantizeOptions["method"], keepBytes?: number) =>
    quantizeSequentially(model, seen, (stats) => quantize(model, options(method), stats), {
      open,
      ...(keepBytes !== undefined && { keepBytes }),
    });

  test.each(["rtn", "gptq"] as const)("%s is closer on unseen data than layers on their own", async (method) => {
    const stats = await collectMethodStats(model, seen, { open });
    const alone = await noiseOf(quantize(model, options(method), stats).model);
    expect(await noiseOf((await sequential(method)).model)).toBeLessThan(alone * 0.8);
  });

  test("without memory for activations the result is the same", async () => {
    const [kept, again] = [await sequential("gptq"), await sequential("gptq", 0)];
    expect(encode(again.model)).toEqual(encode(kept.model));
  });
});

test.each(["int4", "int8"] as const)("a Gemm with a bias has its turn as MatMulNBits of %s too", async (dtype) => {
  const model = parse`(float[N,32] x) => (y) <float[32,32] w1 = ${normal(32, 32)}, float[32] b1 = ${normal(32)}, float[32,16] w2 = ${normal(32, 16)}, float[16] b2 = ${normal(16)}> {
    a = Gemm(x, w1, b1) r = Relu(a) y = Gemm(r, w2, b2) }`;
  const samples = datasetOf(
    "seen",
    samplesOf(
      [1, 32],
      new Float32Array(32 * 32).map((_, i) => Number(i % 33 === 0)),
      1,
      3,
    ),
  );
  const options = { dtype, granularity: "group:32", format: "matmul-nbits", symmetric: false, minElements: 0 } as const;
  const { model: result } = await quantizeSequentially(model, samples, (stats) => quantize(model, options, stats), {
    open,
  });
  expect(encode(result).length).toBeGreaterThan(0);
});

test("progress goes over all stages", async () => {
  const seen: (readonly [number, number | undefined])[] = [];
  const samples = datasetOf("seen", samplesOf([1, 8, 6, 6], new Float32Array(8).fill(1), 1, 3));
  await quantizeSequentially(cnn, samples, (stats) => quantize(cnn, { dtype: "int4", minElements: 0 }, stats), {
    open,
    batchSize: 2,
    onProgress: (done, total) => seen.push([done, total]),
  });
  // Layers: a and c, b, g, then h with its first use; the second follows it.
  expect(seen).toEqual([
    [2, undefined],
    [3, undefined],
    [4.5, 12],
    [6, 12],
    [7.5, 12],
    [9, 12],
    [10.5, 12],
    [12, 12],
  ]);
});
