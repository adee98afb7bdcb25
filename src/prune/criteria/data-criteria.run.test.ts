/** @file Criteria that look at data, against what they mean: computed by hand from the model, run as a whole. */
import { describe, expect, it } from "vitest";
import { runModel } from "../../../test/run-model.ts";
import { encode } from "../../../test/wire.ts";
import { datasetOf } from "../../data/dataset.ts";
import type { Model } from "../../ir/model.ts";
import { parse } from "../../ir/text/index.ts";
import { inProcessRuntime } from "../../runtime/in-process.ts";
import type { HostTensor } from "../../tensor/host-tensor.ts";
import { float32 } from "../../tensor/tensor.ts";
import { Rng } from "../../util/rng.ts";
import { pruneChannels } from "../channels/prune-channels.ts";
import type { Analysis, PortRow } from "../graph/analysis.ts";
import { maskCut } from "../graph/cut.ts";
import { findGroups } from "../graph/groups.ts";
import { prepared } from "../graph/prepare.ts";
import type { PruneOptions } from "../options.ts";
import { pruneWeights } from "../weights/prune-weights.ts";
import type { MeasureContext } from "./criterion.ts";
import { type CriterionName, criteria } from "./index.ts";

const rng = new Rng(8, "criteria");
const normal = (...dims: readonly number[]) =>
  float32(
    dims,
    Float32Array.from({ length: dims.reduce((all, dim) => all * dim, 1) }, () => rng.normal() * 0.5),
  );

/** A residual: "in" and "two" make the same channels, "one" others. Smooth, so that differences come close to gradients. */
const model = parse`(float[N,3,4,4] x) => (y)
  <float[6,3,1,1] w0 = ${normal(6, 3, 1, 1)}, float[5,6,3,3] w1 = ${normal(5, 6, 3, 3)}, float[5] b1 = ${normal(5)},
   float[6,5,1,1] w2 = ${normal(6, 5, 1, 1)}, float[6,4] w3 = ${normal(6, 4)}> {
    [in] a = Conv(x, w0)  [one] b = Conv <pads = [1, 1, 1, 1]> (a, w1, b1)  c = Tanh(b)
    [two] d = Conv(c, w2)  e = Add(a, d)  p = GlobalAveragePool(e)  f = Flatten(p)  [out] y = MatMul(f, w3)
  }`;

const images = Array.from({ length: 6 }, (_, i) => ({
  id: `${i}`,
  label: i % 4,
  inputs: { x: { dtype: "float32" as const, dims: [1, 3, 4, 4], data: normal(48).toFloat32() } },
}));

function contextOf(labels: boolean, batchSize?: number): MeasureContext {
  const fresh = () => findGroups(prepared(model)).analysis;
  const samples = labels ? images : images.map(({ id, inputs }) => ({ id, inputs }));
  const data = {
    data: datasetOf("images", samples),
    open: (probed: Model) => inProcessRuntime("ort-node").create(encode(probed), { threads: 1 }),
    batchSize,
  };
  return { analysis: fresh(), fresh, data, objective: "auto", seed: 3 };
}

/** The port of a weight's outputs. */
const made = (analysis: Analysis, name: string) =>
  analysis.made.find(({ port }) => port.value.name === name)?.port as PortRow;

async function measure(name: CriterionName, weight: string, context = contextOf(true)) {
  const measured = await criteria[name].measure?.(context);
  return { scores: Array.from(measured?.of(made(context.analysis, weight)) ?? []), note: measured?.note };
}

async function outputs(changed: Model, index: number): Promise<number[]> {
  const { x } = (images[index] as (typeof images)[number]).inputs;
  return Array.from((await runModel(changed, { x })).y?.data as Float32Array);
}

async function crossEntropy(changed: Model, index: number): Promise<number> {
  const y = await outputs(changed, index);
  const largest = Math.max(...y);
  return Math.log(y.reduce((sum, v) => sum + Math.exp(v - largest), 0)) + largest - (y[index % 4] as number);
}

/** The model with a weight's elements of some indices of its first axis scaled. */
function scaled(weight: string, from: number, count: number, factor: number): Model {
  const copy = model.clone();
  const value = copy.graph.find(weight);
  const numbers = value?.tensor?.toFloat32().slice() ?? new Float32Array();
  for (let i = from; i < from + count; i++) numbers[i] = (numbers[i] as number) * factor;
  if (value?.tensor) value.tensor = float32(value.tensor.dims, numbers);
  return copy;
}

const STEP = 1e-2;

/** The mean over images of the squared derivative by a factor on something, from differences. */
async function squaredDerivative(change: (factor: number) => Model): Promise<number> {
  let sum = 0;
  for (const index of images.keys()) {
    const [up, down] = [await crossEntropy(change(1 + STEP), index), await crossEntropy(change(1 - STEP), index)];
    sum += ((up - down) / (2 * STEP)) ** 2;
  }
  return sum / images.length;
}

describe("taylor", () => {
  it("is the squared derivative by a factor on a channel's weights, sample by sample", async () => {
    const { scores, note } = await measure("taylor", "w1");
    expect(note).toBe("gradients of the cross-entropy on labels: 6 samples");
    for (const channel of [0, 3])
      expect(scores[channel]).toBeCloseTo(
        await squaredDerivative((factor) => scaled("w1", channel * 54, 54, factor)),
        4,
      );
  });

  it("without labels is of the outputs, and says so; with larger batches too", async () => {
    const { scores, note } = await measure("taylor", "w1", contextOf(false));
    expect(note).toBe("gradients of the model's own outputs: 6 samples");
    expect(scores.every((score) => score > 0)).toBe(true);
    expect(await measure("taylor", "w1", contextOf(false))).toEqual({ scores, note });
    const batched = await measure("taylor", "w1", contextOf(true, 3));
    expect(batched.note).toBe("gradients of the cross-entropy on labels: 6 samples, 2 batches");
  });

  it("refuses labels that are not there", async () => {
    const context = { ...contextOf(false), objective: "labels" as const };
    await expect(measure("taylor", "w1", context)).rejects.toMatchObject({
      code: "bad-recipe",
      message: expect.stringContaining('sample "0" has none that is a class'),
    });
  });
});

describe("fisher", () => {
  it("is the squared derivative by one factor on all that reads a channel", async () => {
    const context = contextOf(true);
    const { scores } = await measure("fisher", "w0", context);
    const port = made(context.analysis, "w0");
    /** The model with a factor in front of all layers that read the channel. */
    const gated = (factor: number) => {
      const analysis = context.fresh();
      const channel = analysis.atomOf(port.base + 2);
      maskCut(analysis, new Set([channel]));
      for (const value of analysis.model.graph.initializers)
        if (value.name.endsWith("_mask") && value.tensor)
          value.tensor = float32(
            value.tensor.dims,
            value.tensor.toFloat32().map((x) => x || factor),
          );
      return analysis.model;
    };
    expect(scores[2]).toBeCloseTo(await squaredDerivative(gated), 4);
    // Both layers that make the channels get the same.
    expect((await measure("fisher", "w2")).scores).toEqual(scores);
  });
});

describe("obd", () => {
  it("comes close to the diagonal of the Gauss-Newton matrix", async () => {
    const many = contextOf(true);
    const repeated = Array.from({ length: 200 }, () => images).flat();
    const context = { ...many, data: { ...many.data, data: datasetOf("many", repeated) } };
    const { scores, note } = await measure("obd", "w2", context);
    expect(note).toBe("gradients of the curvature of cross-entropy: 1200 samples");
    let exact = 0;
    for (const index of images.keys()) {
      const y = await outputs(model, index);
      const largest = Math.max(...y);
      const total = y.reduce((sum, v) => sum + Math.exp(v - largest), 0);
      const p = y.map((v) => Math.exp(v - largest) / total);
      for (let i = 5; i < 10; i++) {
        const [up, down] = [
          await outputs(scaled("w2", i, 1, 1 + STEP), index),
          await outputs(scaled("w2", i, 1, 1 - STEP), index),
        ];
        const j = y.map((_, k) => ((up[k] as number) - (down[k] as number)) / (2 * STEP));
        const mean = j.reduce((sum, x, k) => sum + x * (p[k] as number), 0);
        exact += j.reduce((sum, x, k) => sum + (p[k] as number) * (x - mean) ** 2, 0) / images.length / 2;
      }
    }
    expect((scores[1] ?? 0) / exact).toBeGreaterThan(0.85);
    expect((scores[1] ?? 0) / exact).toBeLessThan(1.15);
  });
});

describe("wanda", () => {
  it("is what reads a channel, by magnitude, times the norm of the channel", async () => {
    const { scores } = await measure("wanda", "w1");
    // c = tanh(b) is read by w2 alone.
    const probed = model.clone();
    const c = probed.graph.find("c");
    const read = async (inputs: (typeof images)[number]["inputs"]) => (await runModel(probed, inputs)).c as HostTensor;
    if (c) probed.graph.addOutput(c);
    let energy = 0;
    for (const { inputs } of images)
      for (const v of ((await read(inputs)).data as Float32Array).subarray(16, 32)) energy += v * v;
    const w2 = model.graph.find("w2")?.tensor?.toFloat32() ?? new Float32Array();
    const magnitude = Array.from({ length: 6 }, (_, o) => Math.abs(w2[o * 5 + 1] as number)).reduce((a, b) => a + b);
    expect(scores[1]).toBeCloseTo(magnitude * Math.sqrt(energy), 4);
  });
});

describe("single weights", () => {
  const zerosOf = async (options: PruneOptions, context = contextOf(true)) => {
    const given = { structure: "weights", layers: "out", ratio: 0.25, ...options };
    const { model: pruned, notes } = await pruneWeights(model, given, context.data);
    const numbers = pruned.graph.find("w3")?.tensor?.toFloat32() ?? new Float32Array();
    return { zeros: [...numbers.keys()].filter((i) => numbers[i] === 0), notes };
  };

  it.each([
    ["taylor", Math.abs],
    ["fisher", (x: number) => x * x],
  ] as const)("%s takes those that the loss depends on least, by differences", async (criterion, measureOf) => {
    const scores: number[] = [];
    for (let i = 0; i < 24; i++) {
      let sum = 0;
      for (const index of images.keys()) {
        const at = (factor: number) => crossEntropy(scaled("w3", i, 1, factor), index);
        sum += measureOf(((await at(1 + STEP)) - (await at(1 - STEP))) / (2 * STEP));
      }
      scores.push(sum);
    }
    const least = [...scores.keys()].sort((a, b) => (scores[a] as number) - (scores[b] as number)).slice(0, 6);
    const { zeros, notes } = await zerosOf({ criterion });
    expect(zeros).toEqual(least.sort((a, b) => a - b));
    expect(notes).toEqual(["gradients of the cross-entropy on labels: 6 samples"]);
  });

  it("obd needs no labels, and gives the same twice", async () => {
    const first = await zerosOf({ criterion: "obd" }, contextOf(false));
    expect(first.zeros).toHaveLength(6);
    expect(first.notes).toEqual(["gradients of the model's own outputs: 6 samples"]);
    expect(await zerosOf({ criterion: "obd" }, contextOf(false))).toEqual(first);
  });

  it("that no gradient reaches stay, with the reason", async () => {
    const apart = parse`(float[N,2] x) => (y) <float[2,3] w = ${normal(2, 3)}, float[3,2] v = ${normal(3, 2)}> {
      [one] a = MatMul(x, w)  b = Sign(a)  [two] y = MatMul(b, v)
    }`;
    const rows = images.map(({ id, label }) => ({
      id,
      label: label % 2,
      inputs: { x: { dtype: "float32" as const, dims: [1, 2], data: Float32Array.of(1, label - 1) } },
    }));
    const options = { structure: "weights", ratio: 0.5, criterion: "fisher" } as const;
    const calibration = { ...contextOf(true).data, data: datasetOf("rows", rows) };
    const { groups } = await pruneChannels(apart, { ratio: 0.5, criterion: "taylor" }, calibration);
    expect(groups).toMatchObject([{ removed: 0, reason: 'criterion "taylor" finds nothing to look at' }]);
    const { layers } = await pruneWeights(apart, options, calibration);
    expect(layers().map(({ zeros, reason }) => [zeros, reason])).toEqual([
      [0, 'criterion "fisher" finds nothing to look at'],
      [3, undefined],
    ]);
  });

  it("that only branches hold have none: one error names the node", async () => {
    const inside = parse`(float[N,2] x) => (y) {
      total = ReduceSum <keepdims = 0> (x)  limit = Constant <value_float = 0.0> ()  up = Greater(total, limit)
      [choice] y = If (up) <
        then_branch = t () => (t1) <float[2,2] w = ${normal(2, 2)}> { [one] t1 = MatMul(x, w) },
        else_branch = e () => (e1) <float[2,2] v = ${normal(2, 2)}> { [two] e1 = MatMul(x, v) }>
    }`;
    const rows = images.map(({ id }, i) => ({
      id,
      inputs: { x: { dtype: "float32" as const, dims: [1, 2], data: Float32Array.of(1, i - 3) } },
    }));
    const calibration = { ...contextOf(false).data, data: datasetOf("rows", rows) };
    const options = { structure: "weights", ratio: 0.5, criterion: "fisher" } as const;
    await expect(pruneWeights(inside, options, calibration)).rejects.toMatchObject({
      code: "unsupported-op",
      message: expect.stringMatching(/gradients can't be had of this model: .*choice.*l1, wanda/),
    });
  });
});
