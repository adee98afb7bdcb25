/** @file Weights quantized by workers are those that are quantized without, byte for byte; errors, aborts and idle workers do no harm. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished, test } from "vitest";
import { encode } from "../../../test/wire.ts";
import { datasetOf } from "../../data/dataset.ts";
import type { Model } from "../../ir/model.ts";
import { parse } from "../../ir/text/index.ts";
import { saveModel } from "../../node/save.ts";
import { findLayers } from "../../quantize/layers/sites.ts";
import { quantizeSequentially } from "../../quantize/sequential/sequential.ts";
import type { MethodStats } from "../../quantize/weights/method-stats.ts";
import { type QuantizeOptions, quantize } from "../../quantize/weights/quantize-weights.ts";
import { inProcessRuntime } from "../../runtime/in-process.ts";
import { float32 } from "../../tensor/tensor.ts";
import { packageFile } from "../../util/package-file.ts";
import { Rng } from "../../util/rng.ts";
import { methodPool, workersFor } from "./method-pool.ts";
import { runRecipe } from "./run-recipe.ts";

const rng = new Rng(8, "pool");
const normal = (...dims: number[]) =>
  float32(
    dims,
    Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => rng.normal()),
  );
const chain = (width: number, first = normal(width, width)) =>
  parse`(float[N,${width}] x) => (y) <float[${width},${width}] a = ${first}, float[${width},${width}] b = ${normal(width, width)}, float[${width},40] c = ${normal(width, 40)}> {
    h = MatMul(x, a) r = Relu(h) i = MatMul(r, b) s = Tanh(i) y = MatMul(s, c) }`;
const model = chain(72);
const convolutions = parse`(float[N,8,6,6] x) => (y) <float[16,8,3,3] a = ${normal(16, 8, 3, 3)}, float[12,8,3,3] g = ${normal(12, 8, 3, 3)}> {
    h = Conv(x, a) y = Conv <group = 2> (h, g) }`;

/** X^T X of made-up inputs of every layer. */
const momentsOf = (each: Model): MethodStats =>
  new Map(
    findLayers(each).layers.map(({ value, weight, opType, sites }) => {
      const groups = opType === "Conv" ? (sites[0]?.node.int("group", 1) ?? 1) : 1;
      const k = opType === "Conv" ? weight.dims.slice(1).reduce((a, b) => a * b, 1) : (weight.dims[0] as number);
      const sums = new Float64Array(groups * k * k);
      for (let sample = 0; sample < 2 * k; sample++) {
        const x = Float64Array.from({ length: groups * k }, () => rng.normal());
        for (let i = 0; i < sums.length; i++) {
          const first = Math.floor(i / (k * k)) * k;
          const [row, column] = [Math.floor(i / k) % k, i % k];
          sums[i] = (sums[i] as number) + (x[first + row] as number) * (x[first + column] as number);
        }
      }
      return [value.name, { sums, groups, k }];
    }),
  );

const pool = (workers: number) => {
  const made = methodPool(workers);
  onTestFinished(() => made.close());
  return made;
};

describe.each<[string, Model, QuantizeOptions]>([
  ["gptq, MatMulNBits", model, { method: "gptq", dtype: "uint4", granularity: "group:32" }],
  ["gptq, a scale for all layers", model, { method: "gptq", dtype: "int8", granularity: "model" }],
  ["gptq, convolutions in groups", convolutions, { method: "gptq", dtype: "int4" }],
  ["awq", model, { method: "awq", dtype: "int4" }],
  ["hqq, MatMulNBits", model, { method: "hqq", dtype: "int4", granularity: "group:16" }],
  ["hqq", convolutions, { method: "hqq", dtype: "uint8" }],
])("%s", (_, each, options) => {
  const stats = momentsOf(each);
  const alone = quantize(each, { minElements: 0, ...options }, stats);
  const bytes = encode(alone.model);

  test.each([1, 2])("the same bytes with %i workers", async (workers) => {
    const result = quantize(each, { minElements: 0, ...options }, stats);
    const seen: number[] = [];
    await result.precompute(pool(workers), { onProgress: (done) => seen.push(done) });
    expect(result.layers()).toEqual(alone.layers());
    expect(result.layers().every(({ sqnr = 0 }) => sqnr > 5)).toBe(true);
    expect(encode(result.model)).toEqual(bytes);
    // What was read is computed again.
    expect(encode(result.model)).toEqual(bytes);
    expect(seen).toEqual(alone.layers().map((_, i) => i + 1));
  });
});

test("layer by layer, those of one stage at the same time", async () => {
  const branches = parse`(float[N,32] x) => (y) <float[32,32] a = ${normal(32, 32)}, float[32,32] b = ${normal(32, 32)}, float[32,8] c = ${normal(32, 8)}> {
    h = MatMul(x, a) i = MatMul(x, b) s = Add(h, i) t = Tanh(s) y = MatMul(t, c) }`;
  const samples = Array.from({ length: 48 }, (_, i) => ({
    id: String(i),
    inputs: { x: { dtype: "float32", dims: [1, 32], data: Float32Array.from({ length: 32 }, () => rng.normal()) } },
  }));
  const run = async (workers: number) => {
    const options = { method: "gptq", dtype: "int4", minElements: 0 } as const;
    const { model } = await quantizeSequentially(
      branches,
      datasetOf("seen", samples as never),
      (stats) => quantize(branches, options, stats),
      {
        open: (each) => inProcessRuntime("ort-node").create(encode(each), { threads: 1 }),
        ...(workers > 0 && { pool: pool(workers) }),
      },
    );
    return encode(model);
  };
  expect(await run(2)).toEqual(await run(0));
});

it("keeps code and message of an error, and begins nothing after it", async () => {
  const broken = normal(72, 72);
  const values = broken.toFloat32().slice();
  values[100] = Number.NaN;
  const options = { method: "hqq", dtype: "int4" } as const;
  const quantized = () => quantize(chain(72, float32([72, 72], values)), options);
  const messageOf = (): unknown => {
    try {
      return encode(quantized().model);
    } catch (error) {
      return error;
    }
  };
  const expected = messageOf() as Error;
  expect(expected.message).toMatch(/weight "a".*NaN/);
  const seen: number[] = [];
  const failing = quantized().precompute(pool(1), { onProgress: (done) => seen.push(done) });
  await expect(failing).rejects.toMatchObject({ code: "bad-data", message: expected.message });
  expect(seen.length).toBeLessThan(3);
});

it("ends its workers when aborted, and works again", async () => {
  const workers = pool(2);
  const large = chain(512);
  const result = quantize(large, { method: "hqq", dtype: "int4" });
  const abort = new AbortController();
  const running = result.precompute(workers, { signal: abort.signal });
  abort.abort();
  await expect(running).rejects.toMatchObject({ code: "aborted" });
  await expect(result.precompute(workers, { signal: abort.signal })).rejects.toMatchObject({ code: "aborted" });
  const small = quantize(model, { method: "hqq", dtype: "int4" });
  await small.precompute(workers);
  expect(small.layers().every(({ sqnr }) => sqnr !== undefined)).toBe(true);
});

it("lets the process end while it is idle", () => {
  const script = `
    import { ir, quantization, runtime } from ${JSON.stringify(packageFile("dist/node/index.js").href)};
    const w = "{" + Array.from({ length: 256 }, (_, i) => Math.sin(i).toFixed(3)).join(",") + "}";
    const result = quantization.quantizeWeights(ir.parse("(float[N,16] x) => (y) <float[16,16] w = " + w + "> { y = MatMul(x, w) }"), { method: "hqq" });
    await result.precompute(runtime.methodPool(2));
    console.log(result.layers()[0].sqnr > 20);`;
  const { stdout, stderr, status } = spawnSync(process.execPath, ["--input-type=module", "-e", script], {
    encoding: "utf8",
    timeout: 20_000,
  });
  expect({ stdout, stderr, status }).toEqual({ stdout: "true\n", stderr: "", status: 0 });
});

it("does the work of a recipe", async () => {
  const folder = mkdtempSync(join(tmpdir(), "tersor-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  await saveModel(model, join(folder, "model.onnx"));
  const run = async (workers: number) => {
    const output = `with-${workers}.onnx`;
    const labels: string[] = [];
    const options = {
      folder,
      workers,
      progress: (label: string) => {
        labels.push(label);
        return { update: () => {}, end: () => {} };
      },
    };
    await runRecipe({ model: "model.onnx", output, steps: [{ quantize: { method: "hqq" } }] }, options);
    return { labels, bytes: readFileSync(join(folder, output)) };
  };
  const [without, with2] = [await run(0), await run(2)];
  expect(with2.bytes).toEqual(without.bytes);
  expect([without, with2].map(({ labels }) => labels)).toEqual([["writing"], ["quantizing", "writing"]]);
  await expect(run(-1)).rejects.toMatchObject({ code: "bad-recipe" });
});

it("starts workers unasked only for work that is worth it", () => {
  expect(workersFor(1e6, "auto")).toBe(0);
  expect(workersFor(1e12, "auto")).toBeLessThanOrEqual(4);
  expect([workersFor(1e6, 3), workersFor(0, 3)]).toEqual([3, 0]);
  expect(() => methodPool(0)).toThrow("at least 1");
});
