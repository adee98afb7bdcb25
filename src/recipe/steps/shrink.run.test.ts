/** @file Tests of students made of a teacher: narrower and shorter, with its weights or fresh ones; then distilled. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { encode } from "../../../test/wire.ts";
import { encodeNpz } from "../../data/npy.ts";
import type { Model } from "../../ir/model.ts";
import * as nn from "../../nn/index.ts";
import { loadModel } from "../../node/load.ts";
import { hostTensor } from "../../tensor/host-tensor.ts";
import { freshWeights } from "../../train/fresh-weights.ts";
import { Rng } from "../../util/rng.ts";
import { runRecipe } from "../node/run-recipe.ts";
import type { RecipeStep } from "../recipe.ts";
import type { TrainReport } from "./train-report.ts";

const conv = (channels: number) => nn.conv2d(channels, 3, { padding: 1, bias: false });
const block = () => nn.residual([conv(16), nn.batchNorm(), nn.relu(), conv(16), nn.batchNorm()]);
const teacher = nn.build(
  [conv(16), nn.batchNorm(), nn.relu(), block(), block(), block(), nn.globalAvgPool(), nn.flatten(), nn.linear(4)],
  { input: [3, 8, 8], seed: 3 },
);

function folderWithTeacher(): string {
  const folder = mkdtempSync(join(tmpdir(), "tersor-shrink-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, "large.onnx"), encode(teacher));
  const rng = new Rng(1, "images");
  const pixels = Float32Array.from({ length: 64 * 192 }, () => rng.normal());
  writeFileSync(join(folder, "images.npz"), encodeNpz({ x: hostTensor("float32", [64, 3, 8, 8], pixels) }));
  return folder;
}

async function shrunk(...steps: readonly RecipeStep[]) {
  const folder = folderWithTeacher();
  const recipe = { model: "large.onnx", output: "small.onnx", data: "images.npz", steps };
  const { manifest } = await runRecipe(recipe, { folder });
  const model = loadModel(join(folder, "small.onnx"));
  return { model, reports: manifest.steps.map(({ report }) => report) };
}

const convsOf = ({ graph }: Model) =>
  graph.nodes.flatMap((node) => (node.opType === "Conv" ? [node.input(1).tensor?.dims.join()] : []));
const weightOf = ({ graph }: Model, name: string) => [...(graph.find(name)?.tensor?.toNumbers() ?? [])];

describe("shrink", () => {
  it("leaves out channels and blocks, and keeps the weights of the rest", async () => {
    const { model, reports } = await shrunk({ shrink: { width: 0.5, depth: 0.33, calibrate: "images.npz" } });
    expect(convsOf(model)).toEqual(["8,3,3,3", ...new Array(4).fill("8,8,3,3")]);
    const [first] = teacher.graph.nodes;
    const all = new Set(weightOf(teacher, first?.input(1).name ?? ""));
    const kept = weightOf(model, first?.input(1).name ?? "");
    expect(kept).toHaveLength(8 * 27);
    expect(kept.every((w) => all.has(w))).toBe(true);
    expect(reports[0]?.notes?.[0]).toMatch(/^student: \d+ of \d+ parameters, inherited weights$/);
  });

  it("draws weights anew, the same for the same seed", async () => {
    const make = (seed: number) => shrunk({ shrink: { width: 0.5, depth: 0.6, weights: "fresh", seed } });
    const [{ model }, again, other] = [await make(1), await make(1), await make(2)];
    expect(convsOf(model)).toHaveLength(3);
    expect(encode(again.model)).toEqual(encode(model));
    const [first] = model.graph.nodes;
    const name = first?.input(1).name ?? "";
    expect(weightOf(other.model, name)).not.toEqual(weightOf(model, name));
    const deviation = Math.sqrt(weightOf(model, name).reduce((sum, w) => sum + w * w, 0) / (8 * 27));
    expect(deviation / Math.sqrt(2 / 27)).toBeCloseTo(1, 0);
    const norm = model.graph.nodes.find(({ opType }) => opType === "BatchNormalization");
    expect([1, 2, 3, 4].map((i) => [...new Set(norm?.input(i).tensor?.toNumbers())])).toEqual([[1], [0], [0], [1]]);
  });

  it("begins anew with the whole network where only that is asked for", async () => {
    const { model } = await shrunk({ shrink: { weights: "fresh" } });
    expect(convsOf(model)).toEqual(convsOf(teacher));
    expect(weightOf(model, "linear1.bias")).toEqual([0, 0, 0, 0]);
  });

  it("makes a student that learns from the model as it was", async () => {
    const { reports } = await shrunk(
      { shrink: { width: 0.5, depth: 0.33, calibrate: "images.npz" } },
      { distill: { teacher: "original", epochs: 6, rate: 0.005, validation: 0, threads: 1 } },
    );
    const { history } = reports.at(-1) as unknown as TrainReport;
    expect(history.at(-1)?.loss).toBeLessThan(0.5 * (history[0]?.loss ?? 0));
  });

  it.each([
    [{}, "shrink: nothing to leave out: expected a share as width or depth."],
    [{ depth: 0.5 }, 'criterion "sqnr" needs calibration data'],
  ])("refuses %j", async (shrink, message) => {
    await expect(shrunk({ shrink })).rejects.toThrow(message);
  });
});

it("fresh weights know the layers of recurrent networks and transformers, and name what they leave", () => {
  const layers = [nn.lstm(6), nn.transformerEncoderBlock({ heads: 2, hidden: 8 }), nn.poolSteps("mean"), nn.linear(3)];
  const model = nn.build(layers, { input: [5, 4], seed: 1 });
  const { model: fresh, kept } = freshWeights(model, 9);
  expect(kept).toEqual([]);
  for (const { name, tensor } of model.graph.initializers) {
    const [before, after] = [weightOf(model, name), weightOf(fresh, name)];
    const size = (weights: readonly number[]) => Math.sqrt(weights.reduce((sum, w) => sum + w * w, 0) / weights.length);
    if (tensor?.dtype !== "float32" || before.length < 12) continue;
    expect(after, name).not.toEqual(before);
    expect(Math.abs(Math.log2(size(after) / size(before))), name).toBeLessThan(1);
  }
});
