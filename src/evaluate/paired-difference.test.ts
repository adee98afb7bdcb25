import { expect, it } from "vitest";
import { hostTensor } from "../tensor/host-tensor.ts";
import type { ChosenMetric } from "./choose-metric.ts";
import { metricForLabel } from "./choose-metric.ts";
import { PairedDifference } from "./paired-difference.ts";

const scores = (winner: number) => ({
  y: hostTensor(
    "float32",
    [1, 2],
    Float32Array.from([0, 1], (i) => (i === winner ? 1 : 0)),
  ),
});
const sampleOf = (i: number) => ({ id: String(i), inputs: {}, label: 0 });

function errorOf(metric: ChosenMetric, pairs: readonly (readonly [number, number])[]): number | undefined {
  const paired = new PairedDifference(metric);
  for (const [i, [before, after]] of pairs.entries()) paired.add(scores(before), scores(after), sampleOf(i));
  return paired.standardError;
}

const top1 = metricForLabel(sampleOf(0)) as ChosenMetric;

it("is 0 where both models are right and wrong alike", () => {
  expect(
    errorOf(top1, [
      [0, 0],
      [1, 1],
      [0, 0],
    ]),
  ).toBe(0);
});

it("is the spread of the differences over the root of their number", () => {
  // Differences −100, 0, 0, 0: variance 2500, over 4 samples.
  expect(
    errorOf(top1, [
      [0, 1],
      [0, 0],
      [1, 1],
      [0, 0],
    ]),
  ).toBeCloseTo(25, 10);
});

it("is unknown for one sample, and for metrics that single samples have no value of", () => {
  expect(errorOf(top1, [[0, 1]])).toBeUndefined();
  const value = () => {
    throw new Error("too few");
  };
  const area: ChosenMetric = { ...top1, create: () => ({ add: () => {}, value }) };
  expect(
    errorOf(area, [
      [0, 1],
      [0, 0],
    ]),
  ).toBeUndefined();
});
