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

async function quantized(model: Model, feeds: readonly Feeds[]) {
  const data = datasetOf(
    "data",
    feeds.map((inputs, i) => ({ id: `${i}`, inputs })),
  );
  const open = (each: Model) => inProcessRuntime("ort-node").create(encode(each), { threads: 1 });
  const result = await quantizeStatic(model, data, { target: "node-x64-vnni", fitCosts: false }, { open });
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
});

test("read both ways round: each way has scales of its own channels", async () => {
  const w = uneven(64, 64, (row, column) => row + 2 * column);
  const model = parse`(float[N,64] x) => (y, z) <float[64,64] w = ${w}> { y = MatMul(x, w) z = Gemm <transB = 1> (x, w) }`;
  const { sqnr, layers } = await quantized(model, x);
  expect(layers()).toMatchObject([{ spec: "int8 channel", bytesAfter: 2 * 64 * (64 + 5) }]);
  expect(sqnr).toBeGreaterThan(31);
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
