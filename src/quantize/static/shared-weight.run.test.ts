/** @file Static quantization of weights with several readers, or behind a Transpose, or of one dimension. */
import { describe, expect, test } from "vitest";
import { leastSqnr, optimizedOps } from "../../../test/optimized-graph.ts";
import { runModel } from "../../../test/run-model.ts";
import { encode } from "../../../test/wire.ts";
import { datasetOf } from "../../data/dataset.ts";
import type { Model } from "../../ir/model.ts";
import { parse } from "../../ir/text/index.ts";
import { inProcessRuntime } from "../../runtime/in-process.ts";
import type { Feeds } from "../../runtime/io.ts";
import { hostTensor } from "../../tensor/host-tensor.ts";
import { float32 } from "../../tensor/tensor.ts";
import { Rng } from "../../util/rng.ts";
import type { StaticOptions } from "./options.ts";
import { quantizeStatic } from "./static.ts";

const rng = new Rng(29, "shared");
const numbers = (dims: readonly number[]) =>
  Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => rng.normal());
const normal = (...dims: number[]) => float32(dims, numbers(dims));
/** Rows of different size. */
const uneven = (rows: number, columns: number, by: (row: number, column: number) => number) =>
  float32(
    [rows, columns],
    numbers([rows, columns]).map((x, i) => x * 3 ** (by(Math.floor(i / columns), i % columns) % 4)),
  );

async function quantized(model: Model, feeds: readonly Feeds[], options: StaticOptions = {}) {
  const data = datasetOf(
    "data",
    feeds.map((inputs, i) => ({ id: `${i}`, inputs })),
  );
  const open = (each: Model) => inProcessRuntime("ort-node").create(encode(each), { threads: 1 });
  const result = await quantizeStatic(model, data, { target: "node-x64-vnni", fitCosts: false, ...options }, { open });
  const [first] = feeds as [Feeds];
  const sqnr = leastSqnr(await runModel(model, first), await runModel(result.model, first));
  return { ...result, sqnr, ops: await optimizedOps(result.model), run: await runModel(result.model, first, "all") };
}

const ids = [{ ids: hostTensor("int64", [8], [0, 39, 7, 1, 2, 3, 4, 80]) }];
const x = [{ x: hostTensor("float32", [16, 64], numbers([16, 64])) }];
const rows = uneven(90, 64, (row) => row);

describe("tied tables: one scale per row serves the lookup and the product", () => {
  const heads = {
    Gemm: parse`(int64[N] ids) => (y) <float[90,64] w = ${rows}> { e = Gather(w, ids) t = Tanh(e) y = Gemm <transB = 1> (t, w) }`,
    "Transpose and MatMul": parse`(int64[N] ids) => (y) <float[90,64] w = ${rows}> { e = Gather(w, ids) t = Tanh(e) wt = Transpose(w) y = MatMul(t, wt) }`,
    "Transpose and Gemm with a bias": parse`(int64[N] ids) => (y) <float[90,64] w = ${rows}, float[90] b = ${normal(90)}> { e = Gather(w, ids) t = Tanh(e) wt = Transpose(w) y = Gemm(t, wt, b) }`,
    "Transpose and Gemm with a bias of one number": parse`(int64[N] ids) => (y) <float[90,64] w = ${rows}, float b = {0.5}> { e = Gather(w, ids) t = Tanh(e) wt = Transpose(w) y = Gemm(t, wt, b) }`,
  };
  test.each(Object.entries(heads))("%s", async (_, model) => {
    const { model: result, layers, sqnr, ops } = await quantized(model, ids);
    expect(layers()).toMatchObject([{ weight: "w", status: "quantized", spec: "int8 channel" }]);
    expect(sqnr).toBeGreaterThan(31);
    expect(result.graph.initializers.filter(({ tensor }) => (tensor?.size ?? 0) > 1000)).toHaveLength(1);
    // The table is never decoded: rows are looked up as codes.
    expect(ops.DequantizeLinear).toBeUndefined();
    expect(ops.Gemm ?? ops.MatMul).toBeUndefined();
  });

  test("4 bits: looked up before they are decoded too", async () => {
    const layers = [{ match: "*", options: { dtype: "int4" as const } }];
    const { ops, model } = await quantized(heads["Transpose and MatMul"], ids, { dtype: "int4", layers });
    expect(model.graph.initializers.find(({ tensor }) => (tensor?.size ?? 0) > 1000)?.tensor?.dtype).toBe("int4");
    expect(ops.DequantizeLinear ?? ops.Transpose ?? ops.MatMul).toBeUndefined();
  });
});

test("read both ways round: each way has scales of its own channels", async () => {
  const w = uneven(64, 64, (row, column) => row + 2 * column);
  const model = parse`(float[N,64] x) => (y, z) <float[64,64] w = ${w}> { y = MatMul(x, w) z = Gemm <transB = 1> (x, w) }`;
  const { sqnr, layers, notes } = await quantized(model, x);
  expect(layers()).toMatchObject([{ spec: "int8 channel", bytesAfter: 2 * 64 * (64 + 5) }]);
  expect(sqnr).toBeGreaterThan(31);
  expect(notes.join()).toMatch(
    /"w" is read along both of its axes \(y, z\): .* stored once for each; .* dB instead of/,
  );
});

test("read both ways round: one scale for all where that loses nothing, which is said", async () => {
  const even = numbers([64, 64]).map((value) => Math.sign(value) * (0.9 + Math.abs(value) / 40));
  const model = parse`(float[N,64] x) => (y, z) <float[64,64] w = ${float32([64, 64], even)}> { y = MatMul(x, w) z = Gemm <transB = 1> (x, w) }`;
  const { layers, notes } = await quantized(model, x);
  expect(layers()).toMatchObject([{ spec: "int8 tensor", bytesAfter: 64 * 64 + 5 }]);
  expect(notes.join()).toMatch(/one scale for all of it serves both, .* dB instead of .* dB/);
});

test("read both ways round: a method knows the inputs of the first, and says that it does not those of the other", async () => {
  const w = uneven(64, 48, (row, column) => row + 2 * column);
  const model = parse`(float[N,64] x, float[N,48] u) => (y, z) <float[64,48] w = ${w}> { y = MatMul(x, w) z = Gemm <transB = 1> (u, w) }`;
  const feeds = [{ ...(x[0] as Feeds), u: hostTensor("float32", [16, 48], numbers([16, 48])) }];
  const { sqnr, notes } = await quantized(model, feeds, { method: "gptq" });
  expect(notes.filter((note) => note.includes("gptq sees no inputs of this layer"))).toHaveLength(1);
  expect(sqnr).toBeGreaterThan(28);
});

test("a product with a vector is left alone, with the reason, and nothing is written around it", async () => {
  const model = parse`(float[N,64] x) => (y) <float[300,64] w = ${normal(300, 64)}, float[300] v = ${normal(300)}> { t = Tanh(u) y = MatMul(t, v) u = Gemm <transB = 1> (x, w) }`;
  model.graph.sort();
  const { layers, left, model: result } = await quantized(model, x);
  expect(layers()).toMatchObject([{ weight: "w", status: "quantized" }]);
  expect(left()).toMatchObject([{ weight: "v", reason: "a vector: there are no channels" }]);
  expect(
    result.graph
      .find("t")
      ?.users()
      .map(({ opType }) => opType),
  ).toEqual(["MatMul"]);
  const alone = parse`(float[N,300] x) => (y) <float[300] v = ${normal(300)}> { y = MatMul(x, v) }`;
  const kept = await quantized(alone, [{ x: hostTensor("float32", [2, 300], numbers([2, 300])) }]);
  expect(kept.model.graph.nodes.map(({ opType }) => opType)).toEqual(["MatMul"]);
});
