import { expect, test } from "vitest";
import { float32 } from "../../tensor/tensor.ts";
import { Rng } from "../../util/rng.ts";
import { resolveSpec, type SpecOptions, specOptions } from "../grid/spec.ts";
import { modelScale } from "./model-scale.ts";

const rng = new Rng(1, "weights");
const normal = (n: number) => Float32Array.from({ length: n }, () => rng.normal());
const weights = [normal(300_000), normal(1000), Float32Array.of(8)];

function scaleFor(options: SpecOptions): number {
  const spec = resolveSpec(specOptions.parse({ granularity: "model", ...options }), "test");
  const named = weights.map((data, i) => ({ name: `w${i}`, weight: float32([data.length], data), spec }));
  return modelScale(named).scale.toNumbers()[0] as number;
}

test("one step for all weights: the largest magnitude of any", () => {
  expect(scaleFor({})).toBeCloseTo(8 / 127, 7);
});

test("the percentile is that of all weights together", () => {
  const all = weights
    .flatMap((data) => [...data])
    .map(Math.abs)
    .sort((a, b) => a - b);
  expect(scaleFor({ scale: "percentile:99" })).toBeCloseTo((all[Math.ceil(all.length * 0.99) - 1] as number) / 127, 6);
});

test("the search weighs the errors of all weights", () => {
  const noise = (scale: number) =>
    weights
      .flatMap((data) => [...data])
      .reduce((sum, w) => {
        const q = Math.max(-8, Math.min(7, Math.round(w / scale)));
        return sum + (w - q * scale) ** 2;
      }, 0);
  expect(noise(scaleFor({ dtype: "int4", scale: "mse" }))).toBeLessThan(noise(scaleFor({ dtype: "int4" })));
});
