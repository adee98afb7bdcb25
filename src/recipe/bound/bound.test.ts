import { describe, expect, it } from "vitest";
import { parseOptions } from "../../util/options.ts";
import type { MetricChange } from "../compare.ts";
import { parseRecipe } from "../recipe.ts";
import { type BoundOptions, boundOptions, measureBound } from "./bound.ts";

const accuracy = { name: "top-1", unit: "%", higherIsBetter: true } as const;
const cer = { name: "cer", unit: "%", higherIsBetter: false } as const;
const perplexity = { name: "perplexity", unit: "", higherIsBetter: false } as const;

const measured = (options: BoundOptions, metric: MetricChange, careful = false) =>
  measureBound(boundOptions.parse(options), { data: {} as never, fidelity: {}, metric }, careful);

describe("maxDrop", () => {
  it.each([
    ["points of an accuracy", "0.5%", accuracy, 90, 89.5],
    ["a share of an error rate", "10%", cer, 4, 4.4],
    ["a share of a perplexity", "1%", perplexity, 5, 5.05],
    ["the metric's own unit, as a number", 0.5, cer, 4, 4.5],
    ["the metric's own unit, as a text", "0.5", perplexity, 5, 5.5],
    ["nothing at all", "0%", accuracy, 90, 90],
  ] as const)("means %s", (_, maxDrop, metric, before, limit) => {
    expect(measured({ maxDrop }, { ...metric, before, after: limit }).limit).toBeCloseTo(limit, 10);
    expect(measured({ maxDrop }, { ...metric, before, after: limit }).excess).toBeLessThanOrEqual(0);
    const worse = limit + (metric.higherIsBetter ? -0.01 : 0.01);
    expect(measured({ maxDrop }, { ...metric, before, after: worse }).excess).toBeCloseTo(0.01, 8);
  });

  it("asks a standard error more where other samples judge", () => {
    const change = { ...accuracy, before: 90, after: 89.7, standardError: 0.4 };
    expect(measured({ maxDrop: "0.5%" }, change).excess).toBeLessThanOrEqual(0);
    expect(measured({ maxDrop: "0.5%" }, change, true).excess).toBeCloseTo(0.2, 8);
  });

  it("is exceeded by what is no number", () => {
    expect(measured({ maxDrop: 1 }, { ...cer, before: 4, after: Number.NaN }).excess).toBe(Number.POSITIVE_INFINITY);
  });
});

describe("minSqnr", () => {
  const fidelity = { a: { sqnr: 30 }, b: { sqnr: 21 } } as never;
  it("holds for the output that has least", () => {
    const bound = boundOptions.parse({ minSqnr: 20.8 });
    expect(measureBound(bound, { data: {} as never, fidelity }, false)).toMatchObject({ name: "SQNR", after: 21 });
    expect(measureBound(bound, { data: {} as never, fidelity }, false).excess).toBeLessThanOrEqual(0);
    expect(measureBound(bound, { data: {} as never, fidelity }, true).excess).toBeCloseTo(0.3, 10);
  });
});

describe("bounds that make no sense", () => {
  it.each([
    [{ maxDrop: "-1%" }, /"maxDrop": expected a number of 0 or more, alone or with %.* got "-1%"/],
    [{ maxDrop: "5dB" }, /"maxDrop": expected a number of 0 or more, alone or with %.* got "5dB"/],
    [{ maxDrop: -1 }, /"maxDrop": .*>=0.* got -1/],
    [{ maxDrop: Number.NaN }, /"maxDrop"/],
    [{ minSqnr: -3 }, /"minSqnr": too small/],
    [{ minSqnr: Number.NaN }, /"minSqnr"/],
    [{}, /a bound is either maxDrop or minSqnr/],
    [{ maxDrop: 1, minSqnr: 20 }, /a bound is either maxDrop or minSqnr/],
  ])("%j", (options, says) => {
    expect(() => parseOptions(boundOptions, options, "bound")).toThrow(says);
  });

  it("without one step that could be held to it", () => {
    const files = { model: "a.onnx", output: "b.onnx", bound: { minSqnr: 20 } };
    expect(() => parseRecipe({ ...files, steps: [{ simplify: {} }] })).toThrow(
      "recipe: bound: expected exactly one step of quantize, got none.",
    );
    expect(() => parseRecipe({ ...files, steps: [{ quantize: {} }, { quantize: { mode: "dynamic" } }] })).toThrow(
      "got quantize and quantize dynamic. Only one step can be held to it.",
    );
  });
});
