/** @file Accuracy bounds end to end: kept, missed, interrupted, on every way of quantizing. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { filesIn, temporaryFolder } from "../../../test/cli.ts";
import { encode } from "../../../test/wire.ts";
import { parse } from "../../ir/text/index.ts";
import { float32 } from "../../tensor/tensor.ts";
import { Rng } from "../../util/rng.ts";
import { runRecipe } from "../node/run-recipe.ts";
import type { Recipe, RecipeStep } from "../recipe.ts";
import { boundsMet } from "../run-steps.ts";
import type { BoundReport } from "./run-bound.ts";

const rng = new Rng(3, "bound");
const numbers = (count: number) => Float32Array.from({ length: count }, () => rng.normal());
const [inner, hidden, classes, samples] = [16, 32, 8, 40];
const w1 = numbers(inner * hidden);
const w2 = numbers(hidden * classes);
// One weight takes nearly all codes of its tensor.
w1[5] = 40;
const x = numbers(samples * inner);

const model = encode(parse`<ir_version: 8, opset_import: ["": 17]>
  g (float[N,16] x) => (float[N,8] y) <float[16,32] w1 = ${float32([inner, hidden], w1)}, float[32,8] w2 = ${float32([hidden, classes], w2)}> {
    [first] a = MatMul(x, w1)
    b = Relu(a)
    [second] y = MatMul(b, w2)
  }`);

/** The class that the model gives each sample: labels of which it knows all. */
function labels(): Uint8Array {
  return Uint8Array.from({ length: samples }, (_, row) => {
    const units = Array.from({ length: hidden }, (__, j) => {
      let sum = 0;
      for (let i = 0; i < inner; i++) sum += (x[row * inner + i] as number) * (w1[i * hidden + j] as number);
      return Math.max(0, sum);
    });
    const scores = Array.from({ length: classes }, (__, k) =>
      units.reduce((sum, unit, j) => sum + unit * (w2[j * classes + k] as number), 0),
    );
    return scores.indexOf(Math.max(...scores));
  });
}

const raw = { path: "x.bin", dtype: "float32", dims: [inner] };
const labelled = { ...raw, labels: { path: "y.bin", dtype: "uint8" } };

async function keep(step: RecipeStep, rest: Partial<Recipe>, signal?: AbortSignal) {
  const folder = temporaryFolder();
  writeFileSync(join(folder, "m.onnx"), model);
  writeFileSync(join(folder, "x.bin"), x);
  writeFileSync(join(folder, "y.bin"), labels());
  const recipe: Recipe = {
    model: "m.onnx",
    output: "out.onnx",
    steps: [step, { compare: { runs: 0, compressed: false } }],
    ...rest,
  };
  const run = runRecipe(recipe, { folder, ...(signal && { signal }) });
  return { folder, run };
}

async function boundOf(step: RecipeStep, rest: Partial<Recipe>) {
  const { folder, run } = await keep(step, rest);
  const { manifest } = await run;
  const bound = manifest.steps[0]?.report.bound as BoundReport;
  expect(filesIn(folder)).toEqual(["m.onnx", "out.onnx", "out.onnx.json", "x.bin", "y.bin"]);
  expect(JSON.parse(readFileSync(join(folder, "out.onnx.json"), "utf8")).steps[0].report.bound.met).toBe(bound.met);
  return { bound, manifest, met: boundsMet(manifest.steps), bytes: readFileSync(join(folder, "out.onnx")) };
}

const int4: RecipeStep = { quantize: { dtype: "int4", granularity: "tensor" } };

describe("a bound on a drop", () => {
  it("steps up the worst layer until it holds, and judges by other samples than it searched with", async () => {
    const { bound, manifest, met } = await boundOf(int4, { data: labelled, bound: { maxDrop: "5%" } });
    expect(met).toBe(true);
    expect(bound).toMatchObject({ met: true, maxDrop: "5%", data: { searched: 20, judged: 20, heldOut: true } });
    expect(bound.result).toMatchObject({ name: "top-1", unit: "%", before: 100, limit: 95 });
    expect(bound.result.after).toBeGreaterThanOrEqual(95);
    expect(bound.rounds[0]).toMatchObject({ action: "as asked", layers: [], holds: false });
    expect(bound.rounds[1]).toMatchObject({ action: "up", layers: ["first"] });
    expect(bound.changes.map(({ layer }) => layer)).toContain("first");
    expect(bound.changes[0]?.from).toBe("int4 tensor");
    // Later steps see the samples that the search did not.
    expect(manifest.steps[1]?.report).toMatchObject({ data: { samples: 20 }, metric: { after: bound.result.after } });
  });

  it("gives the same bytes again", async () => {
    const rest = { data: labelled, bound: { maxDrop: 2, rounds: 3 } };
    const [a, b] = [await boundOf(int4, rest), await boundOf(int4, rest)];
    expect(a.bytes.equals(b.bytes)).toBe(true);
    expect(a.bound).toEqual(b.bound);
  });

  it.each([
    ["no data", {}, "bad-recipe", /^maxDrop: a drop .* can't be measured without data: expected labelled samples/],
    ["no labels", { data: raw }, "bad-data", /^maxDrop: sample "x\.bin#0" of x\.bin has no label/],
  ] as const)("with %s ends in an error, and nothing is written", async (_, rest, code, says) => {
    const { folder, run } = await keep(int4, { ...rest, bound: { maxDrop: "1%" } });
    await expect(run).rejects.toMatchObject({ code, message: expect.stringMatching(says) });
    expect(filesIn(folder)).toEqual(["m.onnx", "x.bin", "y.bin"]);
  });
});

describe("a bound on the outputs", () => {
  it.each([
    ["static", { quantize: { mode: "static", granularity: "tensor", calibrate: raw } }, 30],
    ["dynamic", { quantize: { mode: "dynamic", granularity: "tensor" } }, 30],
    ["float16", { quantize: { mode: "float16" } }, 40],
  ] as const)("is kept by %s", async (_, step, minSqnr) => {
    const { bound, met } = await boundOf(step as RecipeStep, { data: raw, bound: { minSqnr } });
    expect(met).toBe(true);
    expect(bound.result.after).toBeGreaterThanOrEqual(minSqnr);
  });

  it("that nothing quantized can keep is missed: the closest file is written, here for made-up inputs", async () => {
    const { bound, met } = await boundOf(int4, { bound: { minSqnr: 500 } });
    expect(met).toBe(false);
    expect(bound).toMatchObject({ met: false, data: { madeUp: true, searched: 8, judged: 8, heldOut: false } });
    expect(bound.rounds.every(({ holds }) => !holds)).toBe(true);
    expect(bound.result.after).toBe(Math.max(...bound.rounds.map(({ value }) => value ?? 0)));
    expect(bound.changes.map(({ to }) => to).sort()).toEqual(["float16 mse", "float32"]);
  });

  it("leaves nothing when interrupted", async () => {
    const controller = new AbortController();
    const { folder, run } = await keep(int4, { data: raw, bound: { minSqnr: 500 } }, controller.signal);
    setTimeout(() => controller.abort(), 300);
    await expect(run).rejects.toMatchObject({ code: "aborted" });
    expect(filesIn(folder)).toEqual(["m.onnx", "x.bin", "y.bin"]);
  });
});
