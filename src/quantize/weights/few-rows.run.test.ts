/** @file GPTQ on fewer rows than a layer has inputs: better than rounding on rows it did not see, and said. */
import { expect, test } from "vitest";
import { runModel } from "../../../test/run-model.ts";
import { encode } from "../../../test/wire.ts";
import { datasetOf } from "../../data/dataset.ts";
import { fidelityOf } from "../../evaluate/fidelity.ts";
import type { Model } from "../../ir/model.ts";
import { parse } from "../../ir/text/index.ts";
import { inProcessRuntime } from "../../runtime/in-process.ts";
import { hostTensor } from "../../tensor/host-tensor.ts";
import { float32 } from "../../tensor/tensor.ts";
import { Rng } from "../../util/rng.ts";
import { shrinkMoments } from "../methods/shrink.ts";
import { collectMethodStats } from "./method-stats.ts";
import { quantize } from "./quantize-weights.ts";

const K = 64;
const rng = new Rng(9, "few rows");
const normal = (count: number, scale = 1) => Float32Array.from({ length: count }, () => scale * rng.normal());
const mixing = normal(K * K, 1 / 8);
/** Rows whose columns hang together, as activations do. */
function rows(count: number): Float32Array {
  const z = normal(count * K);
  return Float32Array.from({ length: count * K }, (_, at) => {
    const [row, column] = [Math.floor(at / K), at % K];
    let sum = 0;
    for (let i = 0; i < K; i++) sum += (z[row * K + i] as number) * (mixing[i * K + column] as number);
    return sum;
  });
}
const model = parse`<ir_version: 8, opset_import: ["": 17]> g (float[N,${K}] x) => (float[N,48] y)
  <float[${K},48] w = ${float32([K, 48], normal(K * 48, 1 / 8))}> { [layer] y = MatMul(x, w) }`;
const unseen = rows(200);
const running = {
  open: (probed: Model) => inProcessRuntime("ort-node").create(encode(probed), { threads: 1 }),
};

async function decibels(quantized: Model): Promise<number> {
  const feeds = { x: hostTensor("float32", [200, K], unseen) };
  const [wanted, given] = [await runModel(model, feeds), await runModel(quantized, feeds)];
  return fidelityOf(wanted.y?.data as Float32Array, given.y?.data as Float32Array).sqnr;
}

async function gptqOn(count: number) {
  const seen = rows(count);
  const samples = Array.from({ length: count }, (_, i) => ({
    id: `#${i}`,
    inputs: { x: hostTensor("float32", [1, K], seen.slice(i * K, (i + 1) * K)) },
  }));
  const stats = await collectMethodStats(model, datasetOf("rows", samples), running);
  return quantize(model, { dtype: "int4", granularity: "group:32", method: "gptq" }, stats);
}

test("fewer rows than inputs are no worse than rounding on others, and are named; many are as they were", async () => {
  const rounded = await decibels(quantize(model, { dtype: "int4", granularity: "group:32" }).model);
  const few = await gptqOn(8);
  expect(await decibels(few.model)).toBeGreaterThan(rounded);
  expect(few.notes.join()).toContain("layer (8 of 64)");
  const many = await gptqOn(400);
  expect(await decibels(many.model)).toBeGreaterThan(rounded + 1);
  expect(many.notes.join()).not.toContain("fewer rows");
});

test("moments keep their diagonal, and are left alone where there are rows enough", () => {
  const moments = Float32Array.of(4, 2, 2, 9);
  expect(shrinkMoments(moments, 2, 2)).toBe(moments);
  const shrunk = shrinkMoments(moments, 2, 1);
  expect([shrunk[0], shrunk[3]]).toEqual([4, 9]);
  expect(Math.abs(shrunk[1] as number)).toBeLessThan(2);
});
