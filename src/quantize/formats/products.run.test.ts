/** @file Products whose weight is stored turned, tied to a lookup or not: codes are in the file once, and ONNX Runtime multiplies with them. */
import { describe, expect, test } from "vitest";
import { leastSqnr, optimizedOps } from "../../../test/optimized-graph.ts";
import { runModel } from "../../../test/run-model.ts";
import type { Model } from "../../ir/model.ts";
import { parse } from "../../ir/text/index.ts";
import type { Feeds } from "../../runtime/io.ts";
import { hostTensor } from "../../tensor/host-tensor.ts";
import { float32 } from "../../tensor/tensor.ts";
import { Rng } from "../../util/rng.ts";
import { constantSizes } from "../layers/constant-sizes.ts";
import { type QuantizeOptions, quantize } from "../weights/quantize-weights.ts";

const rng = new Rng(17, "products");
const numbers = (dims: readonly number[]) =>
  Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => rng.normal());
const normal = (...dims: number[]) => float32(dims, numbers(dims));
const ids = { ids: hostTensor("int64", [1, 3], [0, 89, 7]) };
const x = { x: hostTensor("float32", [3, 64], numbers([3, 64])) };

const models: Readonly<Record<string, { model: Model; feeds: Feeds }>> = {
  "tied Gemm": {
    model: parse`(int64[1,S] ids) => (y) <float[90,64] w = ${normal(90, 64)}, int64[2] s = {-1, 64}, float[90] b = ${normal(90)}> { e = Gather(w, ids) t = Tanh(e) r = Reshape(t, s) y = Gemm <transB = 1> (r, w, b) }`,
    feeds: ids,
  },
  "tied Transpose and MatMul": {
    model: parse`(int64[1,S] ids) => (y) <float[90,64] w = ${normal(90, 64)}> { e = Gather(w, ids) t = Tanh(e) wt = Transpose <perm = [1,0]> (w) y = MatMul(t, wt) }`,
    feeds: ids,
  },
  "two products behind one Transpose": {
    model: parse`(int64[1,S] ids) => (y, z) <float[90,64] w = ${normal(90, 64)}> { e = Gather(w, ids) t = Tanh(e) wt = Transpose(w) y = MatMul(t, wt) z = MatMul(e, wt) }`,
    feeds: ids,
  },
  "a Gemm alone": {
    model: parse`(float[N,64] x) => (y) <float[90,64] w = ${normal(90, 64)}, float[90] b = ${normal(90)}> { y = Gemm <transB = 1> (x, w, b) }`,
    feeds: x,
  },
  "a MatMul behind a Transpose": {
    model: parse`(float[N,64] x) => (y) <float[90,64] w = ${normal(90, 64)}> { wt = Transpose <perm = [1,0]> (w) y = MatMul(x, wt) }`,
    feeds: x,
  },
  FusedMatMul: {
    model: parse`<opset_import: ["" : 17, "com.microsoft" : 1]> (float[N,64] x) => (y) <float[90,64] w = ${normal(90, 64)}> { y = com.microsoft.FusedMatMul <transB = 1> (x, w) }`,
    feeds: x,
  },
};
const ways: readonly { options: QuantizeOptions; decibels: number }[] = [
  { options: { dtype: "int8" }, decibels: 30 },
  { options: { dtype: "uint8" }, decibels: 30 },
  { options: { dtype: "int4", granularity: "group:32" }, decibels: 14 },
  { options: { dtype: "uint4", granularity: "group:16" }, decibels: 14 },
  { options: { dtype: "int4", granularity: "group:32", method: "hqq" }, decibels: 14 },
];

describe.each(Object.entries(models))("%s", (name, { model, feeds }) => {
  test.each(ways.map((way) => [JSON.stringify(way.options), way] as const))("%s", async (_, { options, decibels }) => {
    const { model: quantized, layers } = quantize(model, options);
    const wanted = await runModel(model, feeds);
    expect(leastSqnr(wanted, await runModel(quantized, feeds))).toBeGreaterThan(decibels);
    expect(leastSqnr(wanted, await runModel(quantized, feeds, "all"))).toBeGreaterThan(decibels);
    const bytes = [...constantSizes(quantized).values()].reduce((a, b) => a + b, 0);
    expect(bytes / 90 / 64).toBeLessThan(options.dtype?.endsWith("8") ? 1.25 : 0.9);
    expect(layers()).toMatchObject([{ weight: "w", status: "quantized" }]);
    const ops = await optimizedOps(quantized);
    if (name !== "FusedMatMul") expect(ops["com.microsoft.MatMulNBits"]).toBe(model.graph.outputs.length);
    expect([ops.Transpose, ops.DequantizeLinear, ops.Reshape]).toEqual([
      undefined,
      name === "FusedMatMul" && options.dtype?.endsWith("8") ? 1 : undefined,
      name === "tied Gemm" ? 1 : undefined,
    ]);
    expect(ops["com.microsoft.GatherBlockQuantized"]).toBe(feeds === ids ? 1 : undefined);
  });
});

test("read both ways round, or with what no kernel has: decoded, not wrong", async () => {
  const model = parse`(float[N,64] x) => (y, z, u) <float[64,64] w = ${normal(64, 64)}, float[64] b = ${normal(64)}> {
    y = MatMul(x, w) z = Gemm <transB = 1> (x, w) u = Gemm <transB = 1, alpha = 0.5> (x, w, b) }`;
  for (const { options, decibels } of ways) {
    const { model: quantized } = quantize(model, options);
    expect(leastSqnr(await runModel(model, x), await runModel(quantized, x, "all"))).toBeGreaterThan(decibels);
  }
});

test("a tied table whose rows have no groups is decoded at every run, and says so", async () => {
  const model = parse`(int64[1,S] ids) => (y) <float[90,60] w = ${normal(90, 60)}> { e = Gather(w, ids) t = Tanh(e) wt = Transpose(w) y = MatMul(t, wt) }`;
  const { model: quantized, layers } = quantize(model);
  expect(leastSqnr(await runModel(model, ids), await runModel(quantized, ids, "all"))).toBeGreaterThan(30);
  expect(layers()[0]?.reason).toMatch(
    /^the product decodes the whole table at every run, which is slow \(group size 16 does not divide the row length 60\): --dynamic or "e@keep"/,
  );
});
