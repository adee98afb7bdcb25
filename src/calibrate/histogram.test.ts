/** @file Tests of histograms whose range grows. */
import { expect, test } from "vitest";
import { Rng } from "../util/rng.ts";
import { BINS, Histogram } from "./histogram.ts";

const add = (histogram: Histogram, values: Float32Array) =>
  histogram.add(values, { min: Math.min(...values), max: Math.max(...values) });

test("counts everything, whatever the order in which the range grows", () => {
  const rng = new Rng(1, "histogram");
  const batches = [0.001, 1, 30, 2].map((scale) => Float32Array.from({ length: 1000 }, () => rng.normal() * scale));
  const histogram = new Histogram();
  for (const batch of batches) add(histogram, batch);
  const all = batches.flatMap((batch) => [...batch]).sort((a, b) => a - b);
  expect(histogram.counts.reduce((a, b) => a + b)).toBe(4000);
  expect([histogram.min, histogram.max]).toEqual([all[0], all.at(-1)]);
  const used = (histogram.max - histogram.min) / (histogram.width * BINS);
  expect(used).toBeGreaterThan(0.25);
  for (const rank of [40, 1200, 2000, 3600, 3996]) {
    const value = histogram.valueAt(rank);
    expect(value).toBeGreaterThan((all[rank - 1] as number) - 2 * histogram.width);
    expect(value).toBeLessThan((all[rank] as number) + 2 * histogram.width);
  }
});

test("zeros, constants and a single huge value", () => {
  const histogram = new Histogram();
  add(histogram, new Float32Array(100));
  expect([histogram.min, histogram.max, histogram.valueAt(50)]).toEqual([0, 0, 0]);
  add(histogram, Float32Array.of(3e38));
  expect(histogram.counts.reduce((a, b) => a + b)).toBe(101);
  const constant = new Histogram();
  add(constant, new Float32Array(10).fill(-7));
  expect([constant.valueAt(1), constant.valueAt(10)]).toEqual([-7, -7]);
});
