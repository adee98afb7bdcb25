/** @file Pruned models that are quantized: what was zero is exactly zero afterwards, whatever quantizes, and after training in integers. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { temporaryFolder } from "../../../test/cli.ts";
import { encode } from "../../../test/wire.ts";
import { encodeNpy } from "../../data/npy.ts";
import { parse } from "../../ir/text/index.ts";
import { loadModel } from "../../node/load.ts";
import { thaw } from "../../quantize/learned/qat/thaw.ts";
import { hostTensor } from "../../tensor/host-tensor.ts";
import { float32 } from "../../tensor/tensor.ts";
import { Rng } from "../../util/rng.ts";
import { runRecipe } from "../node/run-recipe.ts";

const rng = new Rng(17, "pruned and quantized");
const numbers = (...dims: number[]) =>
  float32(
    dims,
    // Not in the middle: asymmetric ranges have zero points of their own.
    Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => rng.normal() * 0.3 + 0.15),
  );

const model = parse`<ir_version: 10, opset_import: ["": 21]> net (float[N,3,8,8] x) => (float[N,4] y)
  <float[16,3,3,3] w1 = ${numbers(16, 3, 3, 3)}, float[16,16,3,3] w2 = ${numbers(16, 16, 3, 3)}, float[16] b2 = ${numbers(16)},
   float[64,32] w3 = ${numbers(64, 32)}, float[32,4] w4 = ${numbers(32, 4)}, int64[2] s = {0, -1}> {
  a = Conv <pads = [1, 1, 1, 1]> (x, w1)  ra = Relu(a)
  b = Conv <pads = [1, 1, 1, 1]> (ra, w2, b2)  rb = Relu(b)
  p = AveragePool <kernel_shape = [4, 4], strides = [4, 4]> (rb)  f = Reshape(p, s)
  c = MatMul(f, w3)  rc = Relu(c)  y = MatMul(rc, w4) }`;

const images = hostTensor(
  "float32",
  [24, 3, 8, 8],
  Array.from({ length: 24 * 192 }, () => rng.normal()),
);

const prune = { prune: { structure: "weights", ratio: 0.6, compressed: false } };
const ptq = { quantize: { minElements: 0 } };

/** Zeros before and after, weight by weight: those of the pruned model that are none afterwards. */
async function lost(
  steps: readonly object[],
): Promise<{ readonly weights: number; readonly revived: readonly string[] }> {
  const folder = temporaryFolder();
  const at = (name: string) => join(folder, name);
  writeFileSync(at("m.onnx"), encode(model));
  writeFileSync(at("x.npy"), encodeNpy(images));
  const run = (output: string, more: readonly object[]) =>
    runRecipe({ model: "m.onnx", output, data: "x.npy", steps: [prune, ...more] as never }, { folder });
  await run("pruned.onnx", []);
  await run("quantized.onnx", steps);
  const { graph } = loadModel(at("pruned.onnx"));
  const opened = thaw(loadModel(at("quantized.onnx")), { prunedZeros: true });
  const revived: string[] = [];
  for (const { name, slot } of opened?.weights ?? []) {
    const after = opened?.model.graph.find(name)?.tensor;
    const original = graph.initializers.find((value) => name.startsWith(value.name) || `${name}`.includes(value.name));
    const isTurned = slot.nodes[0]?.opType === "MatMulNBits";
    const [k = 1, n = 1] = original?.tensor?.dims ?? [];
    const before = original?.tensor?.toFloat32() ?? new Float32Array();
    const values = after?.toFloat32() ?? new Float32Array();
    expect(values.length).toBe(before.length);
    before.forEach((x, i) => {
      const j = isTurned ? (i % n) * k + Math.floor(i / n) : i;
      if (x === 0 && values[j] !== 0) revived.push(`${name} ${i}`);
    });
  }
  return { weights: opened?.weights.length ?? 0, revived };
}

describe("zeros stay exactly zero", () => {
  it.each([
    ["int8", [{ quantize: { ...ptq.quantize } }]],
    ["uint8, asymmetric", [{ quantize: { ...ptq.quantize, dtype: "uint8", symmetric: false } }]],
    ["int8, clipped by mse", [{ quantize: { ...ptq.quantize, scale: "mse", symmetric: false } }]],
    [
      "int4 in groups, asymmetric",
      [{ quantize: { ...ptq.quantize, dtype: "uint4", granularity: "group:16", symmetric: false } }],
    ],
    ["stochastic rounding", [{ quantize: { ...ptq.quantize, rounding: "stochastic" } }]],
    ["hqq", [{ quantize: { ...ptq.quantize, dtype: "uint4", symmetric: false, method: "hqq" } }]],
    ["gptq", [{ quantize: { ...ptq.quantize, dtype: "int4", method: "gptq", calibrate: "x.npy" } }]],
    ["awq", [{ quantize: { ...ptq.quantize, dtype: "int4", method: "awq", calibrate: "x.npy" } }]],
    ["static", [{ quantize: { mode: "static", target: "node-x64", calibrationSamples: 16 } }]],
    [
      "static with gptq, after cross-layer equalization",
      [
        { equalize: { equalize: ["cross-layer"] } },
        { quantize: { mode: "static", target: "any", method: "gptq", calibrationSamples: 16 } },
      ],
    ],
    [
      "static, trained in integers",
      [
        { quantize: { mode: "static", target: "node-x64", calibrationSamples: 16 } },
        { distill: { teacher: "original", epochs: 4, rate: 0.01, batchSize: 8, prunedZeros: true } },
      ],
    ],
  ])("%s", { timeout: 30_000 }, async (_, steps) => {
    const { weights, revived } = await lost(steps);
    expect(weights).toBeGreaterThan(1);
    expect(revived).toEqual([]);
  });

  it("but not where training in integers is not told", { timeout: 30_000 }, async () => {
    const distill = { teacher: "original", epochs: 4, rate: 0.01, batchSize: 8 };
    const { revived } = await lost([
      { quantize: { mode: "static", target: "node-x64", calibrationSamples: 16 } },
      { distill },
    ]);
    expect(revived.length).toBeGreaterThan(0);
  });
});
