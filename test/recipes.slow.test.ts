/** @file The recipes of examples/recipes, in their small form: each cuts a model from a file, trains it, quantizes it and says what that did. */
import { execFile } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { beforeAll, describe, expect, it } from "vitest";
import type { CompareReport } from "../src/recipe/steps/compare.ts";
import type { PruneStepReport } from "../src/recipe/steps/prune-report.ts";
import type { TrainReport } from "../src/recipe/steps/train-report.ts";
import { runCli } from "./cli.ts";

const root = join(import.meta.dirname, "..");
const stories = join(root, "../shared/data/stories260k");
const env = { SMALL: "1", STORIES: stories };

beforeAll(async () => {
  await promisify(execFile)(process.execPath, ["examples/recipes/make.mjs"], {
    cwd: root,
    env: { ...process.env, ...env },
  });
}, 120_000);

/** Runs a recipe and gives the reports of pruning, training and comparing from the manifest. */
async function run(name: string) {
  const { code, stderr } = await runCli(["run", `examples/recipes/${name}.config.mjs`], { cwd: root, env });
  expect(stderr).toBe("");
  expect(code).toBe(0);
  const text = readFileSync(join(root, `out/recipes-small/${name}-small.onnx.json`), "utf8");
  const { steps } = JSON.parse(text) as { steps: { step: string; report: unknown }[] };
  const report = (...names: string[]) => steps.find(({ step }) => names.includes(step))?.report;
  const compared = report("compare") as CompareReport;
  return {
    pruned: report("prune") as PruneStepReport,
    trained: report("finetune", "distill") as TrainReport,
    compared,
    smaller: compared.size.before.bytes / compared.size.after.bytes,
    metric: compared.metric as { before: number; after: number },
  };
}

describe("examples/recipes", () => {
  it("lstm: half the hidden units in all gates, then integers", async () => {
    const { pruned, metric, smaller } = await run("lstm");
    expect(pruned.groups).toMatchObject([{ channels: 96, removed: 48 }]);
    expect(metric.before).toBeGreaterThan(30);
    expect(metric.after).toBeGreaterThan(metric.before - 15);
    expect(smaller).toBeGreaterThan(8);
  });

  it("transformer: heads and hidden units, then a teacher without labels, then integers", async () => {
    const { pruned, trained, metric, smaller } = await run("transformer");
    expect((pruned.macs?.after ?? 0) / (pruned.macs?.before ?? 1)).toBeLessThan(0.67);
    expect(trained.history.at(-1)?.loss).toBeGreaterThan(0);
    expect(metric.before).toBeGreaterThan(40);
    expect(metric.after).toBeGreaterThan(metric.before - 15);
    expect(smaller).toBeGreaterThan(4);
  });

  it("voice: convolutions and the LSTM of a real detector, whose sampling rate was an input, from its file", async () => {
    const { pruned, trained, compared, smaller } = await run("voice");
    expect(pruned.params.after / pruned.params.before).toBeLessThan(0.76);
    expect(trained.history.at(-1)?.loss).toBeLessThan(0.1);
    expect(compared.fidelity.output?.cosine).toBeGreaterThan(0.9);
    expect(smaller).toBeGreaterThan(4);
  });

  it("reader: convolutions and attention of a real recogniser, from its file", async () => {
    const { pruned, trained, smaller } = await run("reader");
    expect((pruned.macs?.after ?? 0) / (pruned.macs?.before ?? 1)).toBeLessThan(0.7);
    expect(trained.trained.length).toBeGreaterThan(100);
    expect(smaller).toBeGreaterThan(4.5);
  });

  it.skipIf(!existsSync(stories))("stories: a language model, where its file is at hand", async () => {
    const { pruned, metric, smaller } = await run("stories");
    expect(pruned.params.after / pruned.params.before).toBeLessThan(0.81);
    expect(metric.after).toBeLessThan(4 * metric.before);
    expect(smaller).toBeGreaterThan(3);
  });
});
