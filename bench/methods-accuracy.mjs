/**
 * @file What methods regain of the accuracy that 4-bit weights cost: each layer on its own, and layer by layer (--sequential).
 *
 * Usage: node bench/methods-accuracy.mjs [--only stories,resnet20] [--methods rtn,hqq,gptq,awq] [--test N] [--shared FOLDER]
 * Needs `npm run build`. Calibration and test samples have none in common: every third story and the others, 256 training images and
 * all test images. "regained": the share of what plain rounding loses against fp32 that is not lost. CPU seconds of
 * calibrating and quantizing.
 */
import { parseArgs } from "node:util";
import { batches, unbatch } from "../dist/data/batch.js";
import { collect, datasetOf, take } from "../dist/data/dataset.js";
import { chooseMetric } from "../dist/evaluate/choose-metric.js";
import { loadModel } from "../dist/node/load.js";
import { awqOnData } from "../dist/quantize/equalize/on-data.js";
import { resolveSpec, specOptions } from "../dist/quantize/grid/spec.js";
import { quantizeSequentially } from "../dist/quantize/sequential/sequential.js";
import { collectMethodStats } from "../dist/quantize/weights/method-stats.js";
import { quantize } from "../dist/quantize/weights/quantize-weights.js";
import { markdown } from "./measure.mjs";
import { bytesOf, dataSpecs, defaultShared, openSession, openSpec, simplified, zoo } from "./zoo.mjs";

const { values: args } = parseArgs({
  options: {
    only: { type: "string" },
    methods: { type: "string", default: "rtn,hqq,gptq,awq" },
    test: { type: "string" },
    shared: { type: "string", default: defaultShared },
  },
});

const trainImages = {
  ...dataSpecs.cifar,
  path: "cifar10-jpeg/train_x.u8.bin",
  labels: { path: "cifar10-jpeg/train_y.u8.bin", dtype: "uint8" },
};

/** `metrics`: the first is what is regained; lower is better for all but top-1. */
const tasks = [
  {
    name: "stories",
    title: "stories260K, int4 in groups of 32",
    model: "stories260K",
    options: { dtype: "int4", granularity: "group:32" },
    metrics: ["perplexity"],
    batch: 9,
    calibrationBatch: 4,
    async samples(inputs) {
      const all = await collect(await openSpec(dataSpecs.stories, inputs, args.shared));
      return { calibration: all.filter((_, i) => i % 3 === 0), test: all.filter((_, i) => i % 3 !== 0) };
    },
  },
  {
    name: "resnet20",
    title: "ResNet-20 on CIFAR-10, int4 per channel",
    model: "resnet20_cifar10",
    options: { dtype: "int4", granularity: "channel" },
    metrics: ["cross-entropy", "top-1"],
    batch: 50,
    calibrationBatch: 8,
    async samples(inputs) {
      const calibration = await collect(take(await openSpec(trainImages, inputs, args.shared), 256));
      return { calibration, test: await collect(await openSpec(dataSpecs.cifar, inputs, args.shared)) };
    },
  },
];

async function judge(task, samples, model) {
  const chosen = await Promise.all(task.metrics.map((name) => chooseMetric(name, {})));
  const accumulators = chosen.map((metric) => metric.create());
  const session = await openSession(model);
  try {
    for await (const batch of batches(datasetOf(task.name, samples), { size: task.batch })) {
      const outputs = unbatch(await session.run(batch.inputs), batch.samples.length);
      for (const [i, sample] of batch.samples.entries()) for (const each of accumulators) each.add(outputs[i], sample);
    }
  } finally {
    await session.release();
  }
  return accumulators.map((each) => each.value());
}

async function timed(work) {
  const start = process.cpuUsage();
  const bytes = bytesOf(await work());
  const { user, system } = process.cpuUsage(start);
  return { bytes, cpu: (user + system) / 1e6 };
}

async function bench(task) {
  const { path } = zoo(args.shared).find(({ name }) => name === task.model);
  const model = await simplified(loadModel(path));
  const session = await openSession(model);
  const { inputs } = session;
  await session.release();
  const { calibration, test } = await task.samples(inputs);
  const judged = test.slice(0, args.test ? Number(args.test) : undefined);
  const data = datasetOf(task.name, calibration);
  const running = { open: (each) => openSession(each), batchSize: task.calibrationBatch };
  const options = (method) => ({ ...task.options, method });
  const alone = async (from, method) => {
    const stats = method === "rtn" ? undefined : await collectMethodStats(from, data, running);
    return quantize(from, options(method), stats).model;
  };
  const sequential = async (from, method) =>
    (await quantizeSequentially(from, data, (stats) => quantize(from, options(method), stats), running)).model;
  const scaled = async () => {
    const spec = resolveSpec(specOptions.parse(task.options), "bench");
    return (await awqOnData(model, data, spec, { insertMul: false }, running)).model;
  };
  const rows = args.methods.split(",").flatMap((method) => [
    { name: method, make: () => alone(model, method) },
    { name: `${method}, sequential`, make: () => sequential(model, method) },
  ]);
  rows.push(
    { name: "equalize awq, then gptq", make: async () => alone(await scaled(), "gptq") },
    { name: "equalize awq, then gptq, sequential", make: async () => sequential(await scaled(), "gptq") },
  );
  const fp32 = await judge(task, judged, model);
  const plain = (await judge(task, judged, await alone(model, "rtn")))[0];
  const cells = [["fp32", ...fp32.map((value) => value.toFixed(3)), "", ""]];
  for (const { name, make } of rows) {
    const { bytes, cpu } = await timed(make);
    const values = await judge(task, judged, bytes);
    const regained = ((plain - values[0]) / (plain - fp32[0])) * 100;
    cells.push([name, ...values.map((value) => value.toFixed(3)), `${regained.toFixed(0)} %`, cpu.toFixed(1)]);
    console.error(`${task.name} ${cells.at(-1).join("  ")}`);
  }
  console.log(`\n### ${task.title}: ${judged.length} samples that were not calibrated on\n`);
  console.log(markdown(["", ...task.metrics, "regained", "CPU s to make"], cells));
}

const only = args.only?.split(",");
for (const task of tasks.filter(({ name }) => only?.includes(name) ?? true)) await bench(task);
