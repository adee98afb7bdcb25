/** @file Tests of training: small models learn, the same seed gives the same bytes, and what was broken off goes on. */
import { describe, expect, it } from "vitest";
import { encode } from "../../test/wire.ts";
import { datasetOf, type IndexedDataset, type Sample } from "../data/dataset.ts";
import { chooseMetric } from "../evaluate/choose-metric.ts";
import { parse } from "../ir/text/index.ts";
import { build, linear, relu } from "../nn/index.ts";
import { inProcessRuntime } from "../runtime/in-process.ts";
import { hostTensor } from "../tensor/host-tensor.ts";
import { fromNumbers } from "../tensor/tensor.ts";
import { Rng } from "../util/rng.ts";
import { type Checkpoint, type FitEnvironment, fit as trainModel } from "./fit.ts";
import type { TrainOptions } from "./options.ts";
import { chooseParameters } from "./parameters.ts";

const files = { readText: () => expect.fail("no file"), loadModule: () => expect.fail("no module") };
const top1 = await chooseMetric("top-1", files);

/** Weights as a text: seeded, of the size that He et al. 2015 give. */
function weights(name: string, dims: readonly number[]): string {
  const rng = new Rng(1, name);
  const fan = dims.slice(1).reduce((a, b) => a * b, 1);
  const count = dims.reduce((a, b) => a * b, 1);
  const values = Array.from({ length: count }, () => (rng.normal() * Math.sqrt(2 / fan)).toFixed(4));
  return `float[${dims}] ${name} = {${values}}`;
}

const mlp = parse(`<ir_version: 10, opset_import: ["": 21]> mlp (float[N,2] x) => (float[N,2] y) <
  ${weights("w1", [16, 2])}, float[16] b1 = {${new Array(16).fill(0.1)}}, ${weights("w2", [2, 16])}, float[2] b2 = {0, 0}> {
  a = Gemm <transB = 1> (x, w1, b1)  h = Relu(a)  y = Gemm <transB = 1> (h, w2, b2)
}`);

/** Is x₁x₂ positive? No line tells. */
function quadrants(count: number, seed: number): IndexedDataset {
  const samples = Array.from({ length: count }, (_, i): Sample => {
    const rng = new Rng(seed, `${i}`);
    const [a, b] = [rng.uniform() * 2 - 1, rng.uniform() * 2 - 1];
    return { id: `#${i}`, inputs: { x: hostTensor("float32", [1, 2], [a, b]) }, label: Number(a * b > 0) };
  });
  return datasetOf("quadrants", samples);
}

const data = quadrants(512, 1);
const validation = { data: quadrants(256, 2), metric: top1 };
const train = (options: TrainOptions, env: Partial<FitEnvironment> = {}) =>
  trainModel(
    mlp,
    { rate: 0.02, epochs: 12, batchSize: 32, ...options },
    {
      runtime: inProcessRuntime("ort-node"),
      session: { threads: 1 },
      data,
      ...env,
    },
  );

describe("fit", () => {
  it.each(["sgd", "momentum", "nesterov", "adam", "adamw"] as const)(
    "%s learns what is not linear",
    async (optimizer) => {
      const rate = { sgd: 0.5, momentum: 0.1, nesterov: 0.1, adam: 0.02, adamw: 0.02 }[optimizer];
      const { history, best, model, trained } = await train({ optimizer, rate }, { validation });
      expect(best?.value).toBeGreaterThan(93);
      expect(history.at(-1)?.loss).toBeLessThan((history[0]?.loss as number) / 2);
      expect(trained).toEqual(["w1", "b1", "w2", "b2"]);
      expect(model.graph.nodes.map(({ opType }) => opType)).toEqual(["Gemm", "Relu", "Gemm"]);
    },
  );

  it("trains weights that old exporters keep in Constant nodes", async () => {
    const old = parse(`<ir_version: 10, opset_import: ["": 21]> mlp (float[N,2] x) => (float[N,2] y) {
      w = Constant <value = float[2,2] {0.5, 0.1, 0.2, 0.3}> () y = MatMul(x, w) }`);
    const env = { runtime: inProcessRuntime("ort-node"), session: { threads: 1 }, data };
    const { trained, history } = await trainModel(old, { epochs: 2, rate: 0.1 }, env);
    expect(trained).toEqual(["w"]);
    expect(history[1]?.loss).toBeLessThan(history[0]?.loss ?? 0);
  });

  it("gives the same bytes for the same seed, and others for another", async () => {
    const run = async (seed: number) => encode((await train({ epochs: 2, seed })).model);
    expect(await run(3)).toEqual(await run(3));
    expect(await run(4)).not.toEqual(await run(3));
  });

  it("goes on to the same bytes from a checkpoint, in an epoch as well as between two", async () => {
    const whole = await train({ epochs: 3 }, { validation });
    for (const stopAt of [16, 21]) {
      const controller = new AbortController();
      const saved: Checkpoint[] = [];
      const stopped = train(
        { epochs: 3 },
        {
          validation,
          signal: controller.signal,
          onStep: ({ step }) => void (step === stopAt && controller.abort()),
          onCheckpoint: async (checkpoint) => void saved.push(structuredClone(checkpoint)),
        },
      );
      await expect(stopped).rejects.toMatchObject({ code: "aborted" });
      const resume = saved.at(-1) as Checkpoint;
      expect(resume.step).toBe(stopAt);
      const rest = await train({ epochs: 3 }, { validation, resume });
      expect(encode(rest.model)).toEqual(encode(whole.model));
      expect(rest.history).toEqual(whole.history);
    }
  });

  it("stopped before the model was judged as it was, judges it then", async () => {
    const whole = await train({ epochs: 1, rate: 1e-6 }, { validation });
    const controller = new AbortController();
    const saved: Checkpoint[] = [];
    const create = () => {
      controller.abort();
      return validation.metric.create();
    };
    const stopped = train(
      { epochs: 1, rate: 1e-6 },
      {
        validation: { ...validation, metric: { ...validation.metric, create } },
        signal: controller.signal,
        onCheckpoint: async (checkpoint) => void saved.push(structuredClone(checkpoint)),
      },
    );
    await expect(stopped).rejects.toMatchObject({ code: "aborted" });
    expect(saved[0]).toMatchObject({ step: 0, before: undefined });
    const rest = await train({ epochs: 1, rate: 1e-6 }, { validation, resume: saved[0] });
    // A rate of nothing makes nothing better: the weights are those from before.
    expect([rest.before, rest.best]).toEqual([whole.before, { epoch: 0, value: whole.before }]);
    expect(encode(rest.model)).toEqual(encode(whole.model));
  });

  it("trains weights so large that steps leave them in tiles: validated, stopped and gone on with as others are", async () => {
    const wide = build([linear(512), relu(), linear(2)], { input: [600], seed: 1 });
    const rng = new Rng(3, "wide");
    const samples = Array.from({ length: 96 }, (_, i): Sample => {
      const x = Array.from({ length: 600 }, () => rng.normal() + (i % 2 ? 0.2 : -0.2));
      return { id: `#${i}`, inputs: { x: hostTensor("float32", [1, 600], x) }, label: i % 2 };
    });
    const env = {
      runtime: inProcessRuntime("ort-node"),
      session: { threads: 1 },
      data: datasetOf("wide", samples.slice(0, 64)),
      validation: { data: datasetOf("held out", samples.slice(64)), metric: top1 },
    };
    const options = {
      batchSize: 16,
      rate: 1e-3,
      epochs: 2,
      average: 0.5,
      optimizer: { name: "adamw", weightDecay: 0.1 },
    } as const;
    const saved: Checkpoint[] = [];
    const whole = await trainModel(wide, options, {
      ...env,
      onCheckpoint: async (checkpoint) => void saved.push(structuredClone(checkpoint)),
    });
    expect(whole.best?.value).toBeGreaterThan(90);
    expect(whole.model.graph.find("linear1.weight")?.tensor?.dims).toEqual([512, 600]);
    expect(saved[0]?.state["linear1.weight"]?.dims).toEqual([512, 600]);
    const rest = await trainModel(wide, options, { ...env, resume: saved[0] });
    expect(Buffer.compare(encode(rest.model), encode(whole.model))).toBe(0);
  });

  it("averages the gradients of several batches as one large batch does", async () => {
    const options = { optimizer: "momentum", rate: 0.1, epochs: 1, schedule: "constant" } as const;
    const large = await train({ ...options, batchSize: 64 });
    const small = await train({ ...options, batchSize: 32, accumulate: 2 });
    const numbers = ({ model }: typeof large) => [...(model.graph.find("w1")?.tensor?.toNumbers() ?? [])];
    numbers(small).forEach((w, i) => void expect(w).toBeCloseTo(numbers(large)[i] as number, 5));
  });

  it("keeps pruned weights at zero, frozen ones as they are, and returns averages", async () => {
    const pruned = mlp.clone();
    const w1 = [...(mlp.graph.find("w1")?.tensor?.toNumbers() ?? [])].map((w, i) => (i % 2 ? 0 : w));
    const value = pruned.graph.find("w1");
    if (value) value.tensor = fromNumbers("float32", [16, 2], w1);
    const env = { runtime: inProcessRuntime("ort-node"), session: { threads: 1 }, data };
    const result = await trainModel(pruned, { epochs: 1, rate: 0.05, freeze: ["b*"], average: 0.9 }, env);
    const after = [...(result.model.graph.find("w1")?.tensor?.toNumbers() ?? [])];
    expect(after.every((w, i) => (w === 0) === (w1[i] === 0))).toBe(true);
    expect(after).not.toEqual(w1);
    expect(result.trained).toEqual(["w1", "w2"]);
    expect(result.model.graph.find("b1")?.tensor?.toNumbers()).toEqual(mlp.graph.find("b1")?.tensor?.toNumbers());
  });

  it("gives groups of weights a rate and a decay of their own", async () => {
    const one = { epochs: 1, batchSize: 512, schedule: "constant", rate: 0.01 } as const;
    const trainedTo = async (options: TrainOptions, name: string) => {
      const { model } = await train({ ...one, ...options });
      return Array.from(model.graph.find(name)?.tensor?.toNumbers() ?? []);
    };
    const begun = (name: string) => Array.from(mlp.graph.find(name)?.tensor?.toNumbers() ?? []);
    for (const name of ["sgd", "adamw"] as const) {
      const groups = [
        { weights: ["w1"], rate: 3 },
        { weights: ["*1"], rate: 0.5, weightDecay: 0.1 },
      ];
      const [plain, grouped] = [
        await trainedTo({ optimizer: { name } }, "w1"),
        await trainedTo({ optimizer: { name }, groups }, "w1"),
      ];
      for (const [i, w] of begun("w1").entries())
        expect((grouped[i] as number) - w).toBeCloseTo(3 * ((plain[i] as number) - w), 5);
      const [bias, decayed] = [
        await trainedTo({ optimizer: { name } }, "b1"),
        await trainedTo({ optimizer: { name }, groups }, "b1"),
      ];
      for (const [i, b] of begun("b1").entries())
        expect((decayed[i] as number) - b).toBeCloseTo(0.5 * ((bias[i] as number) - b) - 0.5 * 0.01 * 0.1 * b, 6);
      expect(await trainedTo({ optimizer: { name }, groups }, "w2")).toEqual(
        await trainedTo({ optimizer: { name } }, "w2"),
      );
    }
  });

  it("stops when the loss is no number, and gives the last good weights", async () => {
    const { diverged, model } = await train({ optimizer: "sgd", rate: 1e38, schedule: "constant" });
    expect(diverged).toContain("The likely cause is a learning rate that is too high");
    expect([...(model.graph.find("w1")?.tensor?.toNumbers() ?? [])].every(Number.isFinite)).toBe(true);
  });

  it("stops when weights are no numbers after the last step, which no loss tells", async () => {
    const { diverged, model, history } = await train({
      optimizer: "sgd",
      rate: 1e38,
      schedule: "constant",
      epochs: 1,
      batchSize: 1e6,
      loss: [{ name: "cross-entropy", weight: 1e6 }],
    });
    expect(diverged).toMatch(/step 1: weight "\w+" is no longer finite/);
    expect(history).toEqual([]);
    expect([...(model.graph.find("w1")?.tensor?.toNumbers() ?? [])].every(Number.isFinite)).toBe(true);
  });

  it.each([
    [{ freeze: ["w9"] }, '"w9": matches none of the model\'s 4 weights. Did you mean w1, w2?'],
    [{ groups: [{ weights: ["w9"], rate: 2 }] }, '"w9": matches none of the model\'s 4 weights. Did you mean w1, w2?'],
    [{ train: ["b*"], freeze: ["b1", "b2"] }, "nothing to train: the model has 4 float32 weights, and none is left"],
    [{ loss: { name: "cross-entropy", output: "z" } }, 'loss cross-entropy: output "z": the model has no such value'],
    [{ loss: { name: "mse", target: "teacher:y" } }, 'loss target "teacher:y": there is no teacher.'],
  ] as const)("refuses %j", async (options, message) => {
    await expect(train(options as unknown as TrainOptions)).rejects.toThrow(message);
  });

  it("names a label that is out of range", async () => {
    const bad = datasetOf("bad", [{ id: "a.png", inputs: { x: hostTensor("float32", [1, 2], [0, 0]) }, label: 7 }]);
    await expect(train({}, { data: bad })).rejects.toThrow('sample "a.png": label out of range: expected 0 to 1');
  });
});

it.each([
  ["float16", "float16"],
  ["float64", "double"],
])("says that weights are %s, and what to do", (dtype, text) => {
  const half = parse(`(${text}[N,2] x) => (y) <${text}[2,2] w = {1, 2, 3, 4}> { y = MatMul(x, w) }`);
  expect(() => chooseParameters(half, {})).toThrow(
    `nothing to train: the model's 1 weights are ${dtype}: expected float32. Train the float32 model`,
  );
});
