/** @file One weight with several readers: each counts channels along its own axis, and what is float decodes the codes of the others. */
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
import { quantizeDynamic } from "./dynamic.ts";

const rng = new Rng(11, "shared");
const numbers = (dims: readonly number[]) =>
  Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => rng.normal());
/** Columns and rows of very different size: a scale of the wrong axis shows. */
const uneven = (rows: number, columns: number) =>
  float32(
    [rows, columns],
    numbers([rows, columns]).map((x, i) => x * 4 ** ((i % columns) % 3) * 3 ** (Math.floor(i / columns) % 3)),
  );
const normal = (...dims: number[]) => float32(dims, numbers(dims));
const feed = (...dims: number[]) => hostTensor("float32", dims, numbers(dims));
const bytes = (model: Model) => [...constantSizes(model).values()].reduce((a, b) => a + b, 0);

const cases: Readonly<Record<string, { model: Model; feeds: Feeds; codes: number }>> = {
  "MatMul and Gemm(transB), square": {
    model: parse`(float[N,48] x) => (y, z) <float[48,48] w = ${uneven(48, 48)}> { y = MatMul(x, w) z = Gemm <transB = 1> (x, w) }`,
    feeds: { x: feed(5, 48) },
    codes: 2,
  },
  "Gemm(transB) first, oblong": {
    model: parse`(float[N,64] x, float[N,32] u) => (y, z) <float[32,64] w = ${uneven(32, 64)}> { z = Gemm <transB = 1> (x, w) y = MatMul(u, w) }`,
    feeds: { x: feed(5, 64), u: feed(5, 32) },
    codes: 2,
  },
  "Gemm and Gemm(transB) in different branches": {
    model: parse`(bool[] c, float[N,48] x) => (float[N,48] y) <float[48,48] w = ${uneven(48, 48)}> {
      y = If (c) <then_branch = then () => (a) { a = Gemm(x, w) }, else_branch = else () => (b) { b = Gemm <transB = 1> (x, w) }> }`,
    feeds: { c: hostTensor("bool", [], [0]), x: feed(3, 48) },
    codes: 2,
  },
  "Gather and Gemm(transB): the codes are in the file once": {
    model: parse`(int64[B] ids) => (float[B,90] y) <float[90,64] w = ${uneven(90, 64)}> { e = Gather(w, ids) t = Tanh(e) y = Gemm <transB = 1> (t, w) }`,
    feeds: { ids: hostTensor("int64", [3], [0, 39, 7]) },
    codes: 1,
  },
  "Conv and ConvTranspose": {
    model: parse`(float[1,32,8,8] x) => (y) <float[32,32,3,3] w = ${normal(32, 32, 3, 3)}> { c = Conv <pads = [1,1,1,1]> (x, w) r = Relu(c) y = ConvTranspose <pads = [1,1,1,1]> (r, w) }`,
    feeds: { x: feed(1, 32, 8, 8) },
    codes: 1,
  },
  "MatMul and Add": {
    model: parse`(float[64,64] x) => (y) <float[64,64] w = ${normal(64, 64)}> { a = MatMul(x, w) y = Add(a, w) }`,
    feeds: { x: feed(64, 64) },
    codes: 1,
  },
  "MatMul and FusedMatMul": {
    model: parse`<opset_import: ["" : 17, "com.microsoft" : 1]> (float[N,64] x) => (y) <float[64,64] w = ${uneven(64, 64)}> { a = MatMul(x, w) y = com.microsoft.FusedMatMul <transB = 1> (a, w) }`,
    feeds: { x: feed(5, 64) },
    codes: 1,
  },
};

describe.each(Object.entries(cases))("%s", (_, { model, feeds, codes }) => {
  test.each(["int8", "uint8"] as const)("%s", async (dtype) => {
    const quantized = quantizeDynamic(model, { dtype, reduceRange: false, fitCosts: false });
    const stored = [...quantized.model.graph.initializers].filter(
      ({ tensor }) => tensor?.dtype === dtype && tensor.size > 1000,
    );
    expect(stored).toHaveLength(codes);
    const [wanted, given] = [await runModel(model, feeds), await runModel(quantized.model, feeds)];
    expect(leastSqnr(wanted, given)).toBeGreaterThan(30);
    expect(bytes(quantized.model)).toBeLessThan(bytes(model) * (codes === 1 ? 0.4 : 0.65));
    expect(await runModel(quantized.model, feeds, "all")).toBeDefined();
  });
});

test("who decodes what others take as codes is named", () => {
  const { model } = cases["Conv and ConvTranspose"] as (typeof cases)[string];
  expect(quantizeDynamic(model, { fitCosts: false }).layers()[0]?.reason).toBe(
    'ConvTranspose "y" decodes the codes: there is no integer ConvTranspose',
  );
});

test("a tied head stays an integer product: the runtime folds the Transpose of its codes", async () => {
  const { model } = cases["Gather and Gemm(transB): the codes are in the file once"] as (typeof cases)[string];
  const ops = await optimizedOps(quantizeDynamic(model, { fitCosts: false }).model);
  expect(ops["com.microsoft.DynamicQuantizeMatMul"]).toBe(1);
  expect(ops.Transpose).toBeUndefined();
});
