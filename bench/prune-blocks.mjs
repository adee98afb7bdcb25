/**
 * @file Depth pruning before any training: what is left of accuracy when residual blocks go, by criterion and recovery.
 *
 * Usage: node bench/prune-blocks.mjs [--only TEXT] [--test N] [--seen N] [--shared FOLDER]
 * Needs `npm run build`. Blocks are chosen on training images (on the first stories) and judged on test images (on the last).
 */
import { parseArgs } from "node:util";
import { collect, datasetOf, take } from "../dist/data/dataset.js";
import { chooseMetric } from "../dist/evaluate/choose-metric.js";
import { loadModel } from "../dist/node/load.js";
import { pruneBlocks } from "../dist/prune/blocks/prune-blocks.js";
import { pruneOptions } from "../dist/prune/options.js";
import { markdown } from "./measure.mjs";
import { cifarTrain, judge } from "./prune-tasks.mjs";
import { dataSpecs, defaultShared, openSession, openSpec, simplified, zoo } from "./zoo.mjs";

const { values: args } = parseArgs({
  options: {
    only: { type: "string", default: "" },
    test: { type: "string", default: "500" },
    seen: { type: "string", default: "32" },
    shared: { type: "string", default: defaultShared },
  },
});
const tasks = [
  { model: "resnet20_cifar10", counts: [1, 2, 3], metric: "top-1", batch: 32 },
  { model: "resnet56_cifar10", counts: [2, 5, 8], metric: "top-1", batch: 32 },
  { model: "stories260K", counts: [1, 2, 3], metric: "perplexity", batch: 1 },
];
const variants = [
  { criterion: "sqnr", recover: "none" },
  { criterion: "sqnr", recover: "mean" },
  { criterion: "sqnr", recover: "least-squares" },
  { criterion: "influence", recover: "none" },
  { criterion: "random", recover: "none" },
];

async function samplesOf({ model }, inputs) {
  if (model === "stories260K") {
    const all = await collect(await openSpec(dataSpecs.stories, inputs, args.shared));
    return { seen: all.slice(0, Number(args.seen) / 2), unseen: all.slice(-Math.ceil(Number(args.test) / 10)) };
  }
  const seen = await collect(take(await openSpec(cifarTrain, inputs, args.shared), Number(args.seen)));
  return { seen, unseen: await collect(take(await openSpec(dataSpecs.cifar, inputs, args.shared), Number(args.test))) };
}

async function rowsOf(task) {
  const { path } = zoo(args.shared).find(({ name }) => name === task.model);
  const model = await simplified(loadModel(path));
  const probe = await openSession(model);
  const { seen, unseen } = await samplesOf(task, probe.inputs);
  await probe.release();
  const chosen = await chooseMetric(task.metric);
  const whole = await judge(model, unseen, task.batch, chosen);
  const open = (probed) => openSession(probed);
  const calibration = { data: datasetOf("seen", seen), open, batchSize: task.batch };
  const shapes = Object.fromEntries(Object.entries(seen[0].inputs).map(([name, { dims }]) => [name, dims]));
  const rows = [];
  for (const { criterion, recover } of variants) {
    const cells = [];
    for (const count of task.counts) {
      const options = pruneOptions.parse({ structure: "blocks", count, criterion, recover, seed: 1 });
      const { model: cut, before, after } = await pruneBlocks(model, options, calibration, shapes);
      const value = await judge(cut, unseen, task.batch, chosen);
      cells.push(`${value.toFixed(2)} (−${(100 * (1 - after.macs / before.macs)).toFixed(0)} %)`);
    }
    rows.push([task.model, criterion, recover, whole.toFixed(2), ...cells]);
  }
  console.log(`\n${task.metric}, without ${task.counts.join(", ")} blocks (share of MACs that goes)\n`);
  console.log(markdown(["model", "criterion", "recover", "dense", ...task.counts.map((n) => `${n} blocks`)], rows));
}

for (const task of tasks.filter(({ model }) => model.includes(args.only))) await rowsOf(task);
