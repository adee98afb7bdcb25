/** @file Tests of training quantized models, from files to files. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { encode } from "../../../test/wire.ts";
import { encodeNpz } from "../../data/npy.ts";
import { parse } from "../../ir/text/index.ts";
import { loadModel } from "../../node/load.ts";
import { hostTensor } from "../../tensor/host-tensor.ts";
import { float32 } from "../../tensor/tensor.ts";
import { Rng } from "../../util/rng.ts";
import { runRecipe } from "../node/run-recipe.ts";
import type { RecipeStep } from "../recipe.ts";
import type { TrainReport } from "./finetune.ts";

const rng = new Rng(1, "distill");
const normals = (count: number, scale = 1) => Float32Array.from({ length: count }, () => rng.normal() * scale);

const teacher = parse`<ir_version: 10, opset_import: ["": 21]> net (float[N,8] x) => (float[N,3] y)
  <float[8,16] w1 = ${float32([8, 16], normals(128, 0.5))}, float[16] b1 = ${float32([16], normals(16, 0.1))},
   float[16,16] w2 = ${float32([16, 16], normals(256, 0.4))}, float[16] b2 = ${float32([16], normals(16, 0.1))},
   float[16,3] w3 = ${float32([16, 3], normals(48, 0.5))}, float[3] b3 = {0, 0, 0}> {
  h = Gemm(x, w1, b1)  r = Relu(h)  i = Gemm(r, w2, b2)  t = Relu(i)  y = Gemm(t, w3, b3) }`;

/** A folder with the teacher and inputs without labels. */
function folderWithTeacher(): string {
  const folder = mkdtempSync(join(tmpdir(), "tersor-distill-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, "teacher.onnx"), encode(teacher));
  writeFileSync(join(folder, "data.npz"), encodeNpz({ x: hostTensor("float32", [256, 8], normals(2048)) }));
  return folder;
}

const dtypesOf = (path: string) =>
  loadModel(path).graph.initializers.map(({ name, tensor }) => `${name} ${tensor?.dtype}`);

async function run(folder: string, model: string, output: string, steps: readonly RecipeStep[]) {
  const { manifest } = await runRecipe({ model, output, data: "data.npz", steps }, { folder });
  return manifest.steps.at(-1)?.report as unknown as TrainReport;
}

const options = { epochs: 6, rate: 0.005, validation: 0, threads: 1 };

describe("a quantized student", () => {
  it("learns from the recipe's original, from the float weights that it was rounded from", async () => {
    const folder = folderWithTeacher();
    const toInt4 = { static: { weights: "int4", granularity: "tensor" } } as const;
    await run(folder, "teacher.onnx", "int4.onnx", [toInt4]);
    const { quantized, trained, history } = await run(folder, "teacher.onnx", "trained.onnx", [
      toInt4,
      { distill: { ...options, teacher: "original" } },
    ]);
    expect(quantized).toEqual({ weights: 3, fromOriginal: 3, codes: { int8: 2, int4: 1 }, scales: "fixed" });
    expect([...trained].sort()).toEqual(["b1", "b2", "b3", "w1", "w2", "w3"]);
    expect(history.at(-1)?.loss).toBeLessThan(0.8 * (history[0]?.loss ?? 0));
    expect(dtypesOf(join(folder, "trained.onnx"))).toEqual(dtypesOf(join(folder, "int4.onnx")));
  });

  it("learns from another file, its scales as well, and can be trained again", async () => {
    const folder = folderWithTeacher();
    await run(folder, "teacher.onnx", "int4.onnx", [{ static: { weights: "int4", granularity: "tensor" } }]);
    const learned = { ...options, teacher: "teacher.onnx", scales: "learned" } as const;
    const first = await run(folder, "int4.onnx", "once.onnx", [{ distill: learned }]);
    expect(first.quantized).toMatchObject({ fromOriginal: 3, scales: "learned" });
    expect(first.trained.length).toBeGreaterThan(6);
    const again = await run(folder, "once.onnx", "twice.onnx", [
      { finetune: { ...options, teacher: "teacher.onnx", loss: { name: "kl", target: "teacher:y" } } },
    ]);
    expect(again.history.at(-1)?.loss).toBeLessThan(first.history[0]?.loss ?? 0);
  });
});
