/** @file Gradients that central differences can't see: straight-through quantization, and random masks. */
import { describe, expect, it } from "vitest";
import { relativeError, runModel } from "../../test/run-model.ts";
import type { Model } from "../ir/model.ts";
import { parse } from "../ir/text/index.ts";
import { type HostTensor, hostTensor, numbersOf } from "../tensor/host-tensor.ts";
import { gradient } from "./gradient.ts";

/** The outputs of a model with gradients of its loss `l`, for an input `x`, as plain numbers by name. */
async function gradientsOf(model: Model, names: readonly string[], x: readonly number[], dims = [x.length]) {
  const { model: result } = gradient(model, { of: "l", with: names });
  const outputs = await runModel(result, { x: hostTensor("float32", dims, x) });
  return Object.fromEntries(
    Object.entries(outputs).map(([name, tensor]) => [name, Array.from(numbersOf(tensor as HostTensor, name))]),
  );
}

describe("quantization", () => {
  // x / s + z = 3, -5.6, 126.8, 140, -200
  const x = [0.25, -1.9, 31.2, 34.5, -50.5];
  const text = `(float[5] x) => (l) <float s = {0.25}, int8 z = {2}, float[5] w = {1, 2, 3, 4, 5}> {
    q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) p = Mul(d, w) l = ReduceSum<keepdims = 0>(p) }`;

  it.each(["", "com.microsoft."])(
    "passes gradients inside of the range, and none outside: %sQuantizeLinear",
    async (domain) => {
      const model = parse(text.replaceAll(/\w+izeLinear/g, (opType) => domain + opType));
      expect((await gradientsOf(model, ["x"], x))["x.grad"]).toEqual([1, 2, 3, 0, 0]);
    },
  );

  it("gives a scale the gradient of learned step sizes: what rounding adds inside, the bound outside", async () => {
    const inside = [0.25, -1.9, 31.2].map((value) => Math.round(value / 0.25) - value / 0.25);
    const expected = (inside[0] ?? 0) + 2 * (inside[1] ?? 0) + 3 * (inside[2] ?? 0) + 4 * (127 - 2) + 5 * (-128 - 2);
    expect((await gradientsOf(parse(text), ["s"], x))["s.grad"]?.[0]).toBeCloseTo(expected, 3);
  });

  it("takes scales per channel and per block, and moves between Q and DQ", async () => {
    const channels = parse`(float[2,2] x) => (l) <float[2] s = {1, 0.5}> {
      q = QuantizeLinear<axis = 1, output_dtype = 22>(x, s) t = Transpose(q) d = DequantizeLinear<axis = 0>(t, s) l = ReduceSum<keepdims = 0>(d) }`;
    const perChannel = await gradientsOf(channels, ["x", "s"], [3.2, 3.4, 7.8, 1.1], [2, 2]);
    expect(perChannel["x.grad"]).toEqual([1, 1, 0, 1]);
    expect(perChannel["s.grad"]?.[0]).toBeCloseTo(3 - 3.2 + 7, 5);
    expect(perChannel["s.grad"]?.[1]).toBeCloseTo(7 - 6.8 + 2 - 2.2, 5);
    const blocks = parse`(float[1,3] x) => (l) <float[1,2] s = {1, 0.5}> {
      q = QuantizeLinear<axis = 1, block_size = 2>(x, s) d = DequantizeLinear<axis = 1, block_size = 2>(q, s) l = ReduceSum<keepdims = 0>(d) }`;
    const perBlock = await gradientsOf(blocks, ["x", "s"], [3.2, 300, 1.1], [1, 3]);
    expect(perBlock["x.grad"]).toEqual([1, 0, 1]);
    expect(perBlock["s.grad"]?.[0]).toBeCloseTo(3 - 3.2 + 255, 4);
    expect(perBlock["s.grad"]?.[1]).toBeCloseTo(2 - 2.2, 5);
  });
});

it("passes queries, keys and values that are cut from one projection, whatever the runtime optimizes", async () => {
  const model = parse`<ir_version: 10, opset_import: ["": 21]> attention (float[2,4,6] x) => (float[] l) <int64[5] s = {2, 4, 3, 1, 2},
    int64[1] a = {0}, int64[1] b = {1}, int64[1] c = {2}, int64[1] d = {3}> {
    r = Reshape(x, s) t = Transpose<perm = [2, 0, 3, 1, 4]>(r)
    q = Slice(t, a, b, a) k = Slice(t, b, c, a) v = Slice(t, c, d, a)
    q0 = Squeeze(q, a) k0 = Squeeze(k, a) v0 = Squeeze(v, a)
    kt = Transpose<perm = [0, 1, 3, 2]>(k0) p = MatMul(q0, kt) o = MatMul(p, v0) l = ReduceSum<keepdims = 0>(o) }`;
  const { model: result } = gradient(model, { of: "l", with: ["x"] });
  const x = Array.from({ length: 48 }, (_, i) => Math.sin(i));
  const feeds = { x: hostTensor("float32", [2, 4, 6], x) };
  const plain = await runModel(result, feeds);
  expect(relativeError(plain, await runModel(result, feeds, "all"))).toBeLessThan(1e-5);
});

describe("Dropout in training", () => {
  it.each([
    ["r", 0.4],
    ["", 0.5],
  ])("drops the gradient with the element (ratio %o)", async (name, ratio) => {
    const model = parse(`(float[40] x) => (l, y) <float r = {0.4}, bool t = {1}> {
      y = Dropout<seed = 3>(x, ${name}, t) l = ReduceSum<keepdims = 0>(y) }`);
    const x = Array.from({ length: 40 }, (_, i) => i + 1);
    const { y, "x.grad": dx } = await gradientsOf(model, ["x"], x);
    dx?.forEach((value, i) => {
      expect(value * (x[i] ?? 0)).toBeCloseTo(y?.[i] ?? Number.NaN, 4);
    });
    expect([...new Set(dx)].sort()).toEqual([0, Math.fround(1 / (1 - ratio))]);
  });
});

describe("MaxPool", () => {
  it.each([
    ["shares a gradient among equal maxima", "[2, 2]", [1 / 3, 1 / 3, 0, 1, 1 / 3, 0, 0, 0]],
    ["gives it to the first where they are no tiles", "[2, 1]", [1, 1, 0, 1, 0, 0, 0, 0]],
  ])("%s", async (_, strides, expected) => {
    const model = parse(`(float[1,1,2,4] x) => (l) {
      y = MaxPool<kernel_shape = [2, 2], strides = ${strides}>(x) l = ReduceSum<keepdims = 0>(y) }`);
    const { "x.grad": dx } = await gradientsOf(model, ["x"], [1, 1, 0, 3, 1, 0, 0, 2], [1, 1, 2, 4]);
    expected.forEach((value, i) => {
      expect(dx?.[i]).toBeCloseTo(value, 6);
    });
  });
});
