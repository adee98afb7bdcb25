import { describe, expect, it } from "vitest";
import * as z from "zod";
import { parseOptions, writtenOptions } from "../util/options.ts";
import { defineConfig, parseRecipe, recipeJsonSchema } from "./recipe.ts";
import { steps } from "./steps.ts";

const files = { model: "a.onnx", output: "b.onnx" };

describe("recipes", () => {
  it("get every default filled in, as it would be written", () => {
    const recipe = parseRecipe(defineConfig({ ...files, seed: 7, steps: [{ quantize: { dtype: "int4" } }] }));
    expect(recipe).toMatchObject({ ...files, seed: 7, externalData: "auto" });
    expect(recipe.steps[0]?.written).toMatchObject({
      dtype: "int4",
      granularity: "channel",
      scale: "absmax",
      minElements: 256,
      seed: 7,
    });
  });

  it("let a step have a seed of its own", () => {
    const { steps } = parseRecipe({ ...files, seed: 7, steps: [{ quantize: { seed: 1, rounding: "stochastic" } }] });
    expect(steps[0]?.options.seed).toBe(1);
  });

  it.each([
    [null, "recipe: expected object"],
    [{ ...files, steps: [] }, 'recipe: "steps": too small: expected array to have >=1 items.'],
    [{ ...files, stps: [], steps: [{ simplify: {} }] }, 'recipe: unknown option "stps" (did you mean steps?).'],
    [
      { ...files, steps: [{ quantise: {} }] },
      'recipe: step 1: expected one of simplify, prune, shrink, finetune, distill, equalize, quantize, sparse, compare as the only key, got "quantise" (did you mean quantize?).',
    ],
    [
      { ...files, steps: [{ simplify: {}, quantize: {} }] },
      'recipe: step 1: expected one of simplify, prune, shrink, finetune, distill, equalize, quantize, sparse, compare as the only key, got "simplify", "quantize".',
    ],
    [
      { ...files, steps: [{ simplify: {} }, { quantize: { dtyp: "int8" } }] },
      'recipe: step 2 (quantize): unknown option "dtyp" (did you mean dtype?).',
    ],
    [
      { ...files, steps: [{ quantize: { dtype: "int88" } }] },
      'recipe: step 1 (quantize): "dtype": expected one of int8, uint8, int4, uint4, int2, uint2, float16, bfloat16, got "int88" (did you mean int8?).',
    ],
    [
      { ...files, steps: [{ quantize: { granularity: "group" } }] },
      'recipe: step 1 (quantize): "granularity": expected model, tensor, channel or group:N, got "group".',
    ],
    [{ ...files, steps: [{ quantize: 3 }] }, "recipe: step 1 (quantize): expected object, got 3."],
  ])("%j is refused", (recipe, message) => {
    expect(() => parseRecipe(recipe)).toThrow(message);
    expect(() => parseRecipe(recipe)).toThrow(expect.objectContaining({ code: "bad-recipe" }));
  });

  it("have a JSON Schema that names every step and its options", () => {
    const text = JSON.stringify(recipeJsonSchema());
    expect(steps.filter((step) => !text.includes(`"${step.name}":`))).toEqual([]);
    expect(text).toContain("which weights share a scale");
  });
});

describe("options", () => {
  const schema = z.strictObject({
    size: z.int().min(1).default(4),
    items: z.array(z.strictObject({ name: z.string() })).optional(),
    kind: z.union([z.string(), z.strictObject({ path: z.string() })]).optional(),
  });

  it("keep what was given and add what was not", () => {
    expect(writtenOptions(schema, { kind: "x" })).toEqual({ size: 4, kind: "x" });
  });

  it("are all named when several are wrong", () => {
    const wrong = { size: 0, items: [{ nam: "x" }] };
    expect(() => parseOptions(schema, wrong, "test")).toThrow(
      'test: "size": too small: expected number to be >=1, got 0; "items.0.name": expected string; "items.0": unknown option "nam" (did you mean name?).',
    );
  });

  it("are listed once with what is known, where nothing is near", () => {
    expect(() => parseOptions(schema, { sise: 1, licence: 1, version: 1 }, "test")).toThrow(
      'test: unknown option "sise" (did you mean size?); unknown options "licence", "version" (known: size, items, kind).',
    );
  });

  it("are named as the caller says", () => {
    expect(() => parseOptions(schema, { size: "a" }, "test", { naming: ([name]) => `--${String(name)}` })).toThrow(
      'test: --size: expected number, got "a".',
    );
  });
});
