/**
 * @file What learned rounding (AdaRound by layers, BRECQ by blocks) regains of the accuracy that 4 bits and fewer cost.
 *
 * Usage: node bench/reconstruct.mjs --only TASK/METHOD [--seed N] [--threads N] [--iterations N] [--rate X] [--pressure X] [--calibration N]
 *          [--test N] [--json FILE] [--shared FOLDER]
 *        node bench/reconstruct.mjs --table FILE…
 * Needs `npm run build`. Tasks: resnet20-int4, resnet20-int3, resnet20-int2 (per channel), resnet20-w4a8 (static, uint8 activations), stories-int4
 * (groups of 32). Methods: fp32, rtn, gptq, gptq-sequential, adaround, brecq. The seed decides the order of training and which
 * calibration samples are drawn; the test samples are always the same, and none of them is calibrated on. CPU seconds of calibrating and quantizing.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { parseArgs } from "node:util";
import { batches, unbatch } from "../dist/data/batch.js";
import { collect, datasetOf } from "../dist/data/dataset.js";
import { chooseMetric } from "../dist/evaluate/choose-metric.js";
import { loadModel } from "../dist/node/load.js";
import { reconstruct } from "../dist/quantize/learned/reconstruct/reconstruct.js";
import { quantizeSequentially } from "../dist/quantize/sequential/sequential.js";
import { quantizeStatic } from "../dist/quantize/static/static.js";
import { collectMethodStats } from "../dist/quantize/weights/method-stats.js";
import { quantize } from "../dist/quantize/weights/quantize-weights.js";
import { inProcessRuntime } from "../dist/runtime/in-process.js";
import { Rng } from "../dist/util/rng.js";
import { markdown } from "./measure.mjs";
import { bytesOf, dataSpecs, defaultShared, openSession, openSpec, simplified, zoo } from "./zoo.mjs";

const { values: args, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    only: { type: "string" },
    seed: { type: "string", default: "0" },
    threads: { type: "string", default: "1" },
    iterations: { type: "string", default: "500" },
    rate: { type: "string" },
    pressure: { type: "string" },
    calibration: { type: "string" },
    test: { type: "string" },
    json: { type: "string" },
    table: { type: "boolean", default: false },
    shared: { type: "string", default: defaultShared },
  },
});
const seed = Number(args.seed);

const images = {
  model: "resnet20_cifar10",
  metrics: ["top-1", "cross-entropy"],
  batch: 32,
  calibration: 512,
  async samples(inputs) {
    const labels = { path: "cifar10-jpeg/train_y.u8.bin", dtype: "uint8" };
    const train = { ...dataSpecs.cifar, path: "cifar10-jpeg/train_x.u8.bin", labels };
    const [seen, test] = await Promise.all(
      [train, dataSpecs.cifar].map(async (spec) => collect(await openSpec(spec, inputs, args.shared))),
    );
    return { seen, test };
  },
};
const stories = {
  model: "stories260K",
  metrics: ["perplexity"],
  batch: 4,
  calibration: 63,
  async samples(inputs) {
    const all = await collect(await openSpec(dataSpecs.stories, inputs, args.shared));
    return { seen: all.filter((_, i) => i % 3 === 0), test: all.filter((_, i) => i % 3 !== 0) };
  },
};
const perChannel = { granularity: "channel", scale: "mse" };
const tasks = {
  "resnet20-int4": { ...images, options: { dtype: "int4", ...perChannel } },
  "resnet20-int3": { ...images, options: { dtype: "int8", bits: 3, ...perChannel } },
  "resnet20-int2": { ...images, options: { dtype: "int2", ...perChannel } },
  "resnet20-w4a8": { ...images, static: { dtype: "int4", activations: "uint8", target: "node-x64" } },
  "stories-int4": { ...stories, options: { dtype: "int4", granularity: "group:32" } },
};

const running = (task) => ({ open: (model) => openSession(model), batchSize: task.batch });

async function plain(task, model, data, method) {
  if (task.static) return (await quantizeStatic(model, data, { ...task.static, method }, running(task))).model;
  const stats = method === "rtn" ? undefined : await collectMethodStats(model, data, running(task));
  return quantize(model, { ...task.options, method }, stats).model;
}

async function learned(task, model, data, kind) {
  const own = { kind, iterations: Number(args.iterations), seed };
  const tuned = Object.fromEntries(
    ["rate", "pressure"].filter((name) => args[name]).map((name) => [name, Number(args[name])]),
  );
  const session = { threads: Number(args.threads) };
  const env = { ...running(task), runtime: inProcessRuntime("ort-node"), session };
  const result = await reconstruct(model, await plain(task, model, data, "rtn"), data, { ...own, ...tuned }, env);
  return { model: result.model, units: result.units };
}

const methods = {
  fp32: (_, model) => ({ model }),
  rtn: async (...call) => ({ model: await plain(...call, "rtn") }),
  gptq: async (...call) => ({ model: await plain(...call, "gptq") }),
  "gptq-sequential": async (task, model, data) => {
    const make = (stats) => quantize(model, { ...task.options, method: "gptq" }, stats);
    return quantizeSequentially(model, data, make, running(task));
  },
  adaround: (...call) => learned(...call, "layer"),
  brecq: (...call) => learned(...call, "block"),
};

async function judge(task, samples, model) {
  const chosen = await Promise.all(task.metrics.map((name) => chooseMetric(name, {})));
  const accumulators = chosen.map((metric) => metric.create());
  const session = await openSession(model);
  for await (const batch of batches(datasetOf("test", samples), { size: task.batch, pad: "split" })) {
    const outputs = unbatch(await session.run(batch.inputs), batch.samples.length);
    for (const [i, sample] of batch.samples.entries()) for (const each of accumulators) each.add(outputs[i], sample);
  }
  await session.release();
  return Object.fromEntries(task.metrics.map((name, i) => [name, accumulators[i].value()]));
}

async function measureRow() {
  const [name, method] = args.only.split("/");
  const task = tasks[name];
  const { path } = zoo(args.shared).find((each) => each.name === task.model);
  const model = await simplified(loadModel(path));
  const session = await openSession(model);
  const { inputs } = session;
  await session.release();
  const { seen, test } = await task.samples(inputs);
  const order = new Rng(seed, "calibration").shuffle(seen.map((_, i) => i));
  const count = Number(args.calibration ?? task.calibration);
  const data = datasetOf(
    "calibration",
    order.slice(0, count).map((i) => seen[i]),
  );
  const start = process.cpuUsage();
  const made = await methods[method](task, model, data);
  const bytes = bytesOf(made.model);
  const { user, system } = process.cpuUsage(start);
  const scores = await judge(task, test.slice(0, args.test ? Number(args.test) : undefined), bytes);
  const { rate, pressure, iterations } = args;
  const row = { task: name, method, seed, iterations, rate, pressure, count, scores, cpu: (user + system) / 1e6 };
  const units = made.units?.map(({ layers, before, after }) => ({ layers, before, after }));
  const text = JSON.stringify({ ...row, ...(units && { units }) });
  console.error(JSON.stringify(row));
  if (!args.json) return console.log(text);
  mkdirSync(dirname(args.json), { recursive: true });
  writeFileSync(args.json, text);
}

/** A row for each task and method: means over seeds, and in brackets the least and the most. */
function printTable() {
  const rows = positionals.map((file) => JSON.parse(readFileSync(file, "utf8")));
  const keys = [...new Set(rows.map(({ task, method }) => `${task}/${method}`))];
  const cells = keys.map((key) => {
    const own = rows.filter(({ task, method }) => `${task}/${method}` === key);
    const [metric] = Object.keys(own[0].scores);
    const values = own.map(({ scores }) => scores[metric]);
    const mean = (numbers) => numbers.reduce((a, b) => a + b, 0) / numbers.length;
    const digits = metric === "perplexity" ? 3 : 2;
    const spread = `(${Math.min(...values).toFixed(digits)}–${Math.max(...values).toFixed(digits)})`;
    const range = own.length > 1 ? ` ${spread}` : "";
    const cpu = mean(own.map((row) => row.cpu)).toFixed(0);
    return [...key.split("/"), metric, `${mean(values).toFixed(digits)}${range}`, own.length, cpu];
  });
  console.log(markdown(["", "method", "metric", "mean (range)", "seeds", "CPU s to make"], cells));
}

if (args.table) printTable();
else await measureRow();
