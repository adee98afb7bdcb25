/** @file A recipe on another model: retrained, renamed, of another opset, with one layer more; every layer is treated as before. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { temporaryFolder } from "../../../test/cli.ts";
import type { Model } from "../../ir/model.ts";
import * as nn from "../../nn/index.ts";
import { loadModel } from "../../node/load.ts";
import { saveModel } from "../../node/save.ts";
import { convertOpset } from "../../passes/convert-opset/convert-opset.ts";
import type { LayerReport } from "../../quantize/layers/report.ts";
import { type EarlierRun, readEarlierRun } from "../node/earlier-run.ts";
import { runRecipe } from "../node/run-recipe.ts";
import type { Recipe, RecipeStep } from "../recipe.ts";
import type { PruneStepReport } from "../steps/prune-report.ts";
import { reappliedInAll } from "./reapply.ts";

const block = (channels: number) => [nn.conv2d(channels, 3, { padding: 1 }), nn.batchNorm(), nn.relu()];

/** Twenty layers, of which many have the shape of their neighbours. */
function network({ seed = 1, extra = 0 }: { readonly seed?: number; readonly extra?: number } = {}): Model {
  const layers = [
    ...block(8),
    ...Array.from({ length: 6 }, () => block(8)).flat(),
    ...block(16),
    ...Array.from({ length: 4 + extra }, () => block(16)).flat(),
    nn.maxPool(2),
    ...block(24),
    ...Array.from({ length: 5 }, () => block(24)).flat(),
    nn.flatten(),
    nn.linear(32),
    nn.relu(),
    nn.linear(10),
  ];
  return nn.build(layers, { input: [3, 8, 8], seed });
}

/** As another exporter would name it. */
function renamed(model: Model): Model {
  const copy = model.clone();
  for (const graph of copy.graphs()) {
    for (const [at, node] of graph.nodes.entries()) node.name = `node_${node.opType.toLowerCase()}_${at}`;
    let count = 100;
    for (const value of [...graph.values])
      if (!value.isInput && !value.isOutput) graph.rename(value, `onnx::${value.isConstant ? "W" : "V"}_${count++}`);
  }
  return copy;
}

async function write(folder: string, name: string, model: Model): Promise<void> {
  await saveModel(model, join(folder, name));
}

const treatment = (manifest: Awaited<ReturnType<typeof runRecipe>>["manifest"]) =>
  manifest.steps
    .flatMap(({ report }) => (report.layers ?? []) as readonly LayerReport[])
    .map(({ status, spec, format }) => `${status} ${spec ?? ""} ${format ?? ""}`);

/** Runs steps on v1, then the same with its decisions on v2. */
async function twice(steps: readonly RecipeStep[], v1: Model, v2: Model, later: readonly RecipeStep[] = steps) {
  const folder = temporaryFolder();
  await write(folder, "v1.onnx", v1);
  await write(folder, "v2.onnx", v2);
  const recipe: Recipe = { model: "v1.onnx", output: "v1.small.onnx", asAsked: true, steps };
  const first = await runRecipe(recipe, { folder });
  const earlier = readEarlierRun(join(folder, "v1.small.onnx.json"));
  const again = { ...recipe, steps: later, model: "v2.onnx", output: "v2.small.onnx" };
  const second = await runRecipe(again, { folder, earlier: earlier?.steps });
  const reapplied = reappliedInAll(second.manifest.steps.map((step) => step.reapplied));
  return { folder, first, second, reapplied, written: loadModel(join(folder, "v2.small.onnx")) };
}

/** One layer in four is kept, some have options of their own: by index, as they would be searched. */
const mixed = "0-19@int8+channel,3@keep,7@int4+group:4,15@int4,16@keep,18@uint8+mse";

describe("decisions for layers", () => {
  const quantized: readonly RecipeStep[] = [{ simplify: {} }, { quantize: { layers: mixed } }];

  it("hold for a retrained model, layer by layer", async () => {
    const { first, second, reapplied } = await twice(quantized, network(), network({ seed: 2 }));
    expect(treatment(second.manifest)).toEqual(treatment(first.manifest));
    expect(new Set(treatment(first.manifest)).size).toBeGreaterThan(3);
    expect(reapplied).toEqual({ decisions: 20, byName: 20, byStructure: 0, lost: [], fresh: [] });
  });

  it("hold for a retrained model with other names and another opset", async () => {
    const other = renamed(convertOpset(network({ seed: 3 }), 21).model);
    const { first, second, reapplied } = await twice(quantized, network(), other);
    expect(treatment(second.manifest)).toEqual(treatment(first.manifest));
    expect(reapplied).toMatchObject({ decisions: 20, byName: 0, byStructure: 20, lost: [] });
  });

  it("hold for a model with one layer more, renamed or not: the new one is named", async () => {
    const more = network({ seed: 4, extra: 1 });
    for (const other of [more, renamed(more)]) {
      const { reapplied } = await twice(quantized, network(), other);
      const { byName = 0, byStructure = 0, lost = [], fresh } = reapplied ?? {};
      expect(byName + byStructure).toBeGreaterThanOrEqual(19);
      expect(byName + byStructure + lost.length).toBe(20);
      expect(fresh).toHaveLength(1 + lost.length);
    }
  });

  it("are not guessed where the new layer stands in a row of its like that was not treated alike", async () => {
    const uneven = [{ simplify: {} }, { quantize: { layers: `${mixed},10@keep` } }];
    const { reapplied } = await twice(uneven, network(), renamed(network({ seed: 4, extra: 1 })));
    expect(reapplied?.lost.map(({ layer }) => layer)).toContain("conv11");
    for (const { reason } of reapplied?.lost ?? [])
      expect(reason).toMatch(/^ambiguous: \d layers could be it \("node_/);
  });

  it("of other options than the recipe has now are made anew, and it is said", async () => {
    const int4: readonly RecipeStep[] = [{ simplify: {} }, { quantize: { layers: mixed, minElements: 1 } }];
    const { reapplied } = await twice(quantized, network(), network({ seed: 2 }), int4);
    expect(reapplied?.lost).toHaveLength(20);
    expect(reapplied?.lost[0]?.reason).toBe("decided anew: minElements was 256 and is 1");
  });

  it("are widths of channels, whatever the ratio would take now", async () => {
    const steps: readonly RecipeStep[] = [
      { simplify: {} },
      { prune: { ratio: 0.4, ranking: "global", compressed: false } },
      { quantize: {} },
    ];
    for (const other of [network({ seed: 5 }), renamed(network({ seed: 5 }))]) {
      const { first, second, reapplied } = await twice(steps, network(), other);
      const widthsOf = ({ manifest }: typeof first) =>
        (manifest.steps[1]?.report as PruneStepReport | undefined)?.groups?.map(({ channels, removed }) => [
          channels,
          removed,
        ]);
      expect(widthsOf(second)).toEqual(widthsOf(first));
      expect(new Set(widthsOf(first)?.map(String)).size).toBeGreaterThan(3);
      expect(reapplied?.lost).toEqual([]);
      expect(reapplied?.decisions).toBeGreaterThan(35);
    }
  });

  it("are shares of zeros, layer by layer", async () => {
    const steps: readonly RecipeStep[] = [
      { simplify: {} },
      { prune: { structure: "weights", ratio: 0.6, layers: "*,conv2@0.2,linear*@keep", compressed: false } },
    ];
    const { first, second, reapplied } = await twice(steps, network(), renamed(network({ seed: 5 })));
    const zerosOf = ({ manifest }: typeof first) =>
      (manifest.steps[1]?.report as PruneStepReport | undefined)?.layers?.map(({ zeros }) => zeros);
    expect(zerosOf(second)).toEqual(zerosOf(first));
    expect(reapplied).toMatchObject({ decisions: 20, byStructure: 20, lost: [] });
  });

  it("of a model with nothing in common end it, and nothing is written", async () => {
    const other = nn.build([nn.linear(7), nn.relu(), nn.linear(5)], { input: [6] });
    await expect(twice(quantized, network(), other)).rejects.toMatchObject({
      code: "bad-model",
      message: expect.stringMatching(
        /^model: nothing in common with .*expected at least one of its 20 layers, such as "conv1"/,
      ),
    });
  });
});

describe("a manifest", () => {
  it.each(["dynamic", "float16"] as const)("is a recipe again, %s too: defaults are not filled in", async (mode) => {
    const folder = temporaryFolder();
    await write(folder, "m.onnx", network());
    const files = { model: "m.onnx", output: "s.onnx" };
    await runRecipe({ ...files, asAsked: true, steps: [{ quantize: { mode } }] }, { folder });
    const earlier = readEarlierRun(join(folder, "s.onnx.json")) as EarlierRun;
    const again = { ...earlier.recipe, model: "m.onnx", output: "t.onnx" };
    const { manifest } = await runRecipe(again, { folder, earlier: earlier.steps });
    expect(manifest.steps[0]?.reapplied).toMatchObject({ decisions: 20, byName: 20, lost: [] });
  });

  it.each([
    [
      "of another format",
      (text: string) => text.replace('"format": 1', '"format": 7'),
      "in another format: expected 1, got 7",
    ],
    ["of before there were decisions", (text: string) => text.replace('"format": 1,', ""), "expected 1, got none"],
    ["that was cut off", (text: string) => text.slice(0, 500), "damaged: "],
    [
      "with other things in it",
      (text: string) => text.replace('"after": [', '"after": ["x",'),
      'damaged: "steps.0.decisions.layers',
    ],
    ["that is other JSON", () => "[]", "damaged: expected what Tersor writes beside a model"],
  ])("%s is refused in one line", async (_, change, message) => {
    const folder = temporaryFolder();
    await write(folder, "m.onnx", network());
    await runRecipe({ model: "m.onnx", output: "s.onnx", asAsked: true, steps: [{ quantize: {} }] }, { folder });
    const path = join(folder, "s.onnx.json");
    writeFileSync(path, change(readFileSync(path, "utf8")));
    expect(() => readEarlierRun(path)).toThrow(
      expect.objectContaining({ code: "bad-recipe", message: expect.stringContaining(message) }),
    );
  });
});
