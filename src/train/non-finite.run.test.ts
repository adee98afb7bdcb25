/** @file Tests of why a loss is no number: the sample, the model's answer, an operator's slope, or the rate. */
import { describe, expect, it } from "vitest";
import { datasetOf, type Sample } from "../data/dataset.ts";
import { chooseMetric } from "../evaluate/choose-metric.ts";
import type { Model } from "../ir/model.ts";
import { parse } from "../ir/text/index.ts";
import { inProcessRuntime } from "../runtime/in-process.ts";
import { hostTensor } from "../tensor/host-tensor.ts";
import { Rng } from "../util/rng.ts";
import { fit as trainModel } from "./fit.ts";
import type { TrainOptions } from "./options.ts";

const files = { readText: () => expect.fail("no file"), loadModule: () => expect.fail("no module") };
const top1 = await chooseMetric("top-1", files);
const numbers = (count: number, key: string) =>
  Array.from({ length: count }, (_, i) => (new Rng(4, `${key}${i}`).normal() / 2).toFixed(3)).join();
const weights = `float[3,8] w = {${numbers(24, "w")}}, float[8,2] v = {${numbers(16, "v")}}`;

const mlp = parse(`(float[N,3] x) => (y) <${weights}> { h = MatMul(x, w)  r = Relu(h)  y = MatMul(r, v) }`);
const root = parse(
  `(float[N,3] x) => (y) <${weights}> { h = MatMul(x, w)  r = Relu(h)  [root] q = Sqrt(r)  y = MatMul(q, v) }`,
);
/** Attention over three positions: 0 in the mask leaves one out. */
const pooled = parse(`(float[N,3] x, bool[N,3] mask) => (y) <${weights}, float zero = {0}, float[3] s = {1, 2, 3}> {
    big = Log(zero)  m = Where(mask, zero, big)  a = Mul(x, s)  b = Add(a, m)
    [attend] p = Softmax(b)  f = Mul(x, p)  h = MatMul(f, w)  r = Relu(h)  y = MatMul(r, v)
  }`);

function samples(change: (x: number[], i: number) => void = () => {}): Sample[] {
  return Array.from({ length: 32 }, (_, i) => {
    const rng = new Rng(6, `${i}`);
    const x = [rng.normal(), rng.normal(), rng.normal()];
    const label = Number((x[0] as number) > 0);
    change(x, i);
    return { id: `#${i}`, inputs: { x: hostTensor("float32", [1, 3], x) }, label };
  });
}

async function divergence(model: Model, data: readonly Sample[], options: TrainOptions = {}) {
  const env = { runtime: inProcessRuntime("ort-node"), session: { threads: 1 }, data: datasetOf("made", data) };
  const { diverged } = await trainModel(model, { batchSize: 4, epochs: 4, seed: 1, rate: 1e-9, ...options }, env);
  return diverged;
}

describe("a loss that is no number", () => {
  it("is put down to the sample that holds NaN, whenever it comes", async () => {
    for (const rate of [0.01, 1e-9]) {
      const data = samples((x, i) => {
        if (i === 17) x[1] = Number.NaN;
      });
      const diverged = await divergence(mlp, data, { rate });
      expect(diverged).toContain('The cause is not the rate: sample "#17": input "x" holds NaN.');
    }
  });

  it("is put down to the operator that gives NaN, and to the sample that it is given", async () => {
    const masked = samples().map((sample, i): Sample => {
      const mask = hostTensor("bool", [1, 3], i === 9 ? [0, 0, 0] : [1, 1, 0]);
      return { ...sample, inputs: { ...sample.inputs, mask } };
    });
    const diverged = await divergence(pooled, masked);
    expect(diverged).toContain(
      'sample "#9": the model answers no number to it with finite weights: Softmax "attend" gives NaN',
    );
  });

  it("is put down to the operator whose slope is not finite", async () => {
    const diverged = await divergence(root, samples());
    expect(diverged).toContain('the slope of Sqrt "root" is not finite at the values that it is given');
    expect(diverged).not.toContain("learning rate");
  });

  it("is put down to the rate where samples and operators are sound", async () => {
    const diverged = await divergence(mlp, samples(), { rate: 1e8, optimizer: { name: "sgd" } } as TrainOptions);
    expect(diverged).toContain("The likely cause is a learning rate that is too high");
  });
});

it("samples of the validation that are answered with NaN are counted and named", async () => {
  const broken = samples((x, i) => {
    if (i === 3) x[0] = Number.NaN;
  });
  const { unanswered } = await trainModel(
    mlp,
    { batchSize: 4, epochs: 1 },
    {
      runtime: inProcessRuntime("ort-node"),
      session: { threads: 1 },
      data: datasetOf("made", samples()),
      validation: { data: datasetOf("held", broken), metric: top1 },
    },
  );
  expect([...(unanswered ?? [])]).toEqual([["#3", 'input "x"']]);
});
