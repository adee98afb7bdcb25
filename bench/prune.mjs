/**
 * @file What pruning cuts out of real models, and what that does to accuracy before any training.
 *
 * Usage: node bench/prune.mjs [--only TEXT] [--ratio R] [--test N] [--no-cuts] [--no-accuracy] [--shared FOLDER]
 * Needs `npm run build`. Cut: every model at a ratio of its MACs; proof is the largest difference between the cut and the masked model, as
 * a share of the largest output (at least 0.01), graph optimizations off, on one sample. Accuracy: calibration samples are not judged (256 training images;
 * the first 200 of 1,000 keywords; every third line of text). Exit code 1 when a model that has inner channels is not cut.
 */
import { readFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { collect, datasetOf, take } from "../dist/data/dataset.js";
import { chooseMetric } from "../dist/evaluate/choose-metric.js";
import { loadModel } from "../dist/node/load.js";
import { pruneChannels } from "../dist/prune/channels/prune-channels.js";
import { pruneOptions } from "../dist/prune/options.js";
import { markdown } from "./measure.mjs";
import { cifarTrain, judge, proveCut } from "./prune-tasks.mjs";
import { dataSpecs, defaultShared, ocrCharset, openSession, openSpec, simplified, zoo } from "./zoo.mjs";

const { values: args } = parseArgs({
  options: {
    only: { type: "string", default: "" },
    ratio: { type: "string", default: "0.3" },
    test: { type: "string" },
    "no-cuts": { type: "boolean", default: false },
    "no-accuracy": { type: "boolean", default: false },
    shared: { type: "string", default: defaultShared },
  },
});
const ratio = Number(args.ratio);
const models = zoo(args.shared).filter(({ name }) => name.includes(args.only));
const percent = (x) => `${(100 * x).toFixed(1)} %`;

async function cut({ name, path, samples }) {
  const model = await simplified(loadModel(path));
  const session = await openSession(model, { runtime: "ort-node", optimization: "disabled" });
  const data = await collect(await samples(session.inputs, 1));
  await session.release();
  const { result, error, seconds } = await proveCut(model, data, ratio);
  const held = [...new Set(result.kept.map(({ because }) => because))].join(", ");
  const channels = result.groups.reduce((sum, group) => sum + group.channels, 0);
  return [
    name,
    `${result.groups.length}`,
    `${channels}`,
    percent(1 - result.after.macs / result.before.macs),
    percent(1 - result.after.params / result.before.params),
    error.toExponential(1),
    seconds.toFixed(2),
    held,
  ];
}

const tasks = [
  { model: "resnet20_cifar10", data: dataSpecs.cifar, train: cifarTrain, metric: "top-1", batch: 50 },
  { model: "resnet56_cifar10", data: dataSpecs.cifar, train: cifarTrain, metric: "top-1", batch: 50 },
  { model: "mlperf_kws_dscnn", data: dataSpecs.keywords, first: 200, metric: "top-1", batch: 50 },
  {
    model: "ch_PP-OCRv4_rec_infer",
    data: dataSpecs.lines,
    third: true,
    metric: { name: "cer", charset: ocrCharset, space: true },
    batch: 1,
  },
];

/** Samples to calibrate on and to judge by, none in common. */
async function splitOf({ data, train, first, third }, inputs) {
  const all = await collect(await openSpec(data, inputs, args.shared));
  const limited = (samples) => (args.test ? samples.slice(0, Number(args.test)) : samples);
  if (train) {
    const seen = await collect(take(await openSpec(train, inputs, args.shared), 256));
    return { seen, unseen: limited(all) };
  }
  const isSeen = (_, i) => (third ? i % 3 === 0 : i < first);
  return { seen: all.filter(isSeen), unseen: limited(all.filter((sample, i) => !isSeen(sample, i))) };
}

async function accuracy(task) {
  const entry = models.find(({ name }) => name === task.model);
  if (!entry) return [];
  const model = await simplified(loadModel(entry.path));
  const probe = await openSession(model, { runtime: "ort-node", optimization: "all" });
  const { seen, unseen } = await splitOf(task, probe.inputs);
  await probe.release();
  const chosen = await chooseMetric(task.metric, { readText: (file) => readFile(file, "utf8") });
  const rows = [];
  const before = await judge(model, unseen, task.batch, chosen);
  for (const recover of ["none", "mean", "least-squares"]) {
    const calibration = {
      data: datasetOf("calibration", seen),
      open: (probed) => openSession(probed, { runtime: "ort-node", optimization: "all" }),
      batchSize: task.batch > 1 ? 32 : 1,
    };
    const result = await pruneChannels(model, pruneOptions.parse({ ratio, by: "macs", recover }), calibration);
    const after = await judge(result.model, unseen, task.batch, chosen);
    rows.push([task.model, chosen.name, recover, before.toFixed(2), after.toFixed(2)]);
  }
  return rows;
}

const found = [];
if (!args["no-cuts"]) {
  for (const entry of models) found.push(await cut(entry));
  console.log(`Cut at a ratio of ${ratio} of the MACs\n`);
  console.log(markdown(["model", "groups", "channels", "MACs", "params", "proof", "s", "held by"], found));
}
if (!args["no-accuracy"]) {
  const rows = [];
  for (const task of tasks) rows.push(...(await accuracy(task)));
  if (rows.length > 0) {
    console.log("\nAccuracy before any training, by recovery\n");
    console.log(markdown(["model", "metric", "recover", "before", "after"], rows));
  }
}
process.exitCode = found.every(([, groups, , macs]) => groups === "0" || Number.parseFloat(macs) > 0) ? 0 : 1;
