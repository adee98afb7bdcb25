/** @file Models with several outputs, through the steps that judge and train: which output is taken, and that it is said. */
import { describe, expect, it } from "vitest";
import { evaluate } from "../../../test/run-model.ts";
import { encode } from "../../../test/wire.ts";
import { type Dataset, datasetOf, type Sample } from "../../data/dataset.ts";
import { chooseMetric } from "../../evaluate/choose-metric.ts";
import type { Model } from "../../ir/model.ts";
import { parse } from "../../ir/text/index.ts";
import { inProcessRuntime } from "../../runtime/in-process.ts";
import { hostTensor } from "../../tensor/host-tensor.ts";
import { Rng } from "../../util/rng.ts";
import type { StepContext } from "../step.ts";
import { compareModels } from "../steps/compare.ts";
import { distillStep } from "../steps/distill.ts";
import { finetuneOptions, trainModel } from "../steps/finetune.ts";

const files = { readText: () => expect.fail("no file"), loadModule: () => expect.fail("no module") };

/** Two values; the class is the larger one's. Its sub-folders name three classes, of which the model knows them all. */
const samples = Array.from({ length: 120 }, (_, i): Sample => {
  const rng = new Rng(3, `${i}`);
  const x = [rng.uniform() * 2 - 1, rng.uniform() * 2 - 1, rng.uniform() * 2 - 1];
  return { id: `#${i}`, inputs: { x: hostTensor("float32", [1, 3], x) }, label: x.indexOf(Math.max(...x)) };
});
const data: Dataset = datasetOf("made", samples);

function contextOf(original: Model, dataset: Dataset = data): StepContext {
  return {
    original,
    seed: 0,
    dryRun: false,
    signal: new AbortController().signal,
    open: (model, { runtime, ...options }) => inProcessRuntime(runtime).create(encode(model), options),
    evaluate,
    size: async () => ({ bytes: 0 }),
    discard: () => {},
    data: async () => dataset,
    metric: (spec) => chooseMetric(spec as string, files),
    runtime: async (name) => inProcessRuntime(name),
    model: async () => original,
    files: {
      read: async () => undefined,
      readOwn: async () => undefined,
      write: async () => {},
      append: async () => {},
    },
    progress: () => ({ update: () => {}, end: () => {} }),
  };
}

const numbers = (count: number, key: string) =>
  Array.from({ length: count }, (_, i) => new Rng(5, `${key}${i}`).normal().toFixed(3));
const constants = `<float[3,8] w = {${numbers(24, "w")}}, float[8,3] v = {${numbers(24, "v")}}>`;
const body = "h = MatMul(x, w)  feat = Relu(h)  logits = MatMul(feat, v)";
const featFirst = parse(`(float[N,3] x) => (feat, logits) ${constants} { ${body} }`);
const predFirst = parse(
  `(float[N,3] x) => (pred, logits) ${constants} { ${body}  pred = ArgMax <axis = 1, keepdims = 0> (logits) }`,
);
const predOnly = parse(
  `(float[N,3] x) => (pred) ${constants} { ${body}  pred = ArgMax <axis = 1, keepdims = 0> (logits) }`,
);

const basic = { epochs: 8, rate: 0.05, batchSize: 12, threads: 1 };
const options = finetuneOptions.parse(basic);
const note = (...names: string[]) =>
  `output "logits" is taken for the answer, of ${names.map((name) => `"${name}"`).join(", ")}`;

describe("models with several outputs", () => {
  it.each([
    ["features first", featFirst, ["feat", "logits"]],
    ["class indices first", predFirst, ["pred", "logits"]],
  ] as const)("%s: the logits are trained and judged", async (_, model, names) => {
    const { report } = await trainModel(model, options, contextOf(model));
    expect(report.notes?.[0]).toContain(note(...names));
    expect(report.withoutGradient).toEqual([]);
    expect(report.validation?.after).toBeGreaterThan(80);
    const compared = await compareModels(model, model, { runs: 0, threads: 1, compressed: false }, contextOf(model));
    expect(compared.metric).toMatchObject({ name: "top-1", output: "logits" });
    expect(compared.notes?.[0]).toContain(note(...names));
  });

  it("the metric follows the output of the loss", async () => {
    const loss = [{ name: "cross-entropy", output: "feat" } as const];
    const { report } = await trainModel(featFirst, finetuneOptions.parse({ ...basic, loss }), contextOf(featFirst));
    expect(report.withoutGradient).toEqual(["v"]);
    expect(report.validation?.metric.output).toBe("feat");
    expect(report.notes?.join()).not.toContain("is taken for");
  });

  it("class indices alone are judged by accuracy, and can't be trained", async () => {
    const compared = await compareModels(
      predOnly,
      predOnly,
      { runs: 0, threads: 1, compressed: false },
      contextOf(predOnly),
    );
    expect(compared.metric?.name).toBe("accuracy");
    await expect(trainModel(predOnly, options, contextOf(predOnly))).rejects.toThrow(
      'loss cross-entropy of "pred": it is int64: class indices and other integers have no gradient: expected floats, such as logits. Train what it is made from: {"name":"cross-entropy","output":"logits"} as the loss.',
    );
    const loss = [{ name: "cross-entropy", output: "logits" } as const];
    const { report } = await trainModel(predOnly, finetuneOptions.parse({ ...basic, loss }), contextOf(predOnly));
    expect(report.validation?.metric.name).toBe("accuracy");
    expect(report.validation?.after).toBeGreaterThan(80);
    const asked = compareModels(predOnly, predOnly, { runs: 0, threads: 1, metric: "top-1" }, contextOf(predOnly));
    await expect(asked).rejects.toThrow("If it is class indices, take the metric accuracy");
  });

  it("a student learns from the teacher's output of the same name", async () => {
    const { report } = await distillStep.run(
      predFirst,
      distillStep.options.parse({ teacher: "original", ...basic }),
      contextOf(featFirst),
    );
    expect(report().notes?.[0]).toContain(`student: ${note("pred", "logits")}`);
  });
});

describe("classes that sub-folders number", () => {
  const foldered = (...classes: string[]): Dataset => ({ ...data, classes });

  it("are said, with those that the model has beyond them", async () => {
    const compare = async (dataset: Dataset) =>
      await compareModels(
        featFirst,
        featFirst,
        { runs: 0, threads: 1, compressed: false },
        contextOf(featFirst, dataset),
      );
    const all = await compare(foldered("red", "green", "blue"));
    expect(all.data.classes).toEqual(["red", "green", "blue"]);
    expect(all.notes?.slice(1)).toEqual(["classes are numbered by the data's sub-folders: 0 red, 1 green, 2 blue"]);
    const two = await compare(foldered("green", "blue"));
    expect(two.notes?.at(-1)).toContain('the data has 2 sub-folders and output "logits" has 3 classes');
    const named = await compare(foldered("1", "2", "10"));
    expect(named.notes?.at(-1)).toContain("torchvision and Keras order them as text (1, 10, 2, …)");
    expect((await compare(data)).notes).toHaveLength(1);
  });

  it("are said of a training", async () => {
    const { report } = await trainModel(
      featFirst,
      finetuneOptions.parse({ ...basic, epochs: 1 }),
      contextOf(featFirst, foldered("a", "b")),
    );
    expect(report.data.classes).toEqual(["a", "b"]);
    expect(report.notes?.join()).toContain("0 a, 1 b");
    expect(report.notes?.join()).toContain('output "logits" has 3 classes');
  });
});
