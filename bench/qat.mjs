/**
 * @file What quantization-aware training regains of the accuracy that rounding loses: ResNet-20 on CIFAR-10, a language model on stories.
 *
 * Usage: node bench/qat.mjs --only ROW [--seed N] [--threads N] [--samples N] [--epochs N] [--json FILE] [--shared FOLDER]
 *        node bench/qat.mjs --table FILE…
 * Needs `npm run build`. The fp32 model is quantized, and trained after itself on data without labels; it is judged on other data, as ONNX Runtime
 * runs it in integers, with its graph optimizations off, and as training saw it. No epoch is chosen: the last one counts.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { collect } from "../dist/data/dataset.js";
import { loadModel } from "../dist/node/load.js";
import { thaw } from "../dist/quantize/learned/qat/thaw.js";
import { inputsOf } from "../dist/recipe/data/inputs-of.js";
import { runRecipe } from "../dist/recipe/node/run-recipe.js";
import { judge, singleRows, spread, tableOf, timeOf } from "./single-rows.mjs";
import { dataSpecs, openSpec, zoo } from "./zoo.mjs";

const images = {
  ...dataSpecs.cifar,
  path: "cifar10-jpeg/train_x.u8.bin",
  labels: { path: "cifar10-jpeg/train_y.u8.bin", dtype: "uint8" },
};

/** Windows of 257 tokens to train on; the others judge. */
const TRAINING_STORIES = 126;

const tasks = {
  resnet20: {
    model: "resnet20_cifar10",
    metric: "top-1",
    distill: { samples: 4000, epochs: 3, rate: 0.0005, augment: { flip: true, crop: 2 } },
    data: () => ({ training: images, test: dataSpecs.cifar }),
  },
  stories: {
    model: "stories260K",
    metric: "perplexity",
    distill: { epochs: 12, rate: 0.0005, batchSize: 6, temperature: 1, schedule: { name: "cosine", warmup: 0.05 } },
    data: (shared, folder) => {
      const tokens = readFileSync(join(shared, "data", dataSpecs.stories.path));
      const at = 2 * 257 * TRAINING_STORIES;
      const part = (name, bytes) => {
        writeFileSync(join(folder, name), bytes);
        return { ...dataSpecs.stories, path: join(folder, name) };
      };
      return { training: part("training.bin", tokens.subarray(0, at)), test: part("test.bin", tokens.subarray(at)) };
    },
  },
};

const int4 = { quantize: { mode: "static", target: "node-x64", dtype: "int4" } };
const int2 = { quantize: { mode: "static", target: "node-x64", dtype: "int2" } };
const blocks = { quantize: { dtype: "int4", granularity: "group:32" } };
const settings = {
  "int4-fixed": { task: "resnet20", title: "int4 weights, uint8 activations", step: int4, scales: "fixed" },
  "int4-learned": { task: "resnet20", title: "int4 weights, uint8 activations", step: int4, scales: "learned" },
  "int2-fixed": { task: "resnet20", title: "int2 weights, uint8 activations", step: int2, scales: "fixed" },
  "int2-learned": { task: "resnet20", title: "int2 weights, uint8 activations", step: int2, scales: "learned" },
  "stories-int4-fixed": { task: "stories", title: "int4 weights in groups of 32", step: blocks, scales: "fixed" },
  "stories-int4-learned": { task: "stories", title: "int4 weights in groups of 32", step: blocks, scales: "learned" },
};

const rowOf =
  ({ task, step, scales }) =>
  async ({ seed, threads, samples, epochs, shared, folder }) => {
    const { model, metric, distill, data } = tasks[task];
    const { path } = zoo(shared).find(({ name }) => name === model);
    const { training, test } = data(shared, folder);
    const before = [{ simplify: {} }, step];
    const given = { ...distill, ...(samples && { samples }), ...(epochs && { epochs }) };
    const common = { teacher: "original", labels: 0, validation: 0, threads, scales };
    const make = async (name, steps) => {
      const output = join(folder, `${name}.onnx`);
      await runRecipe({ model: path, output, data: training, seed, steps }, { folder: join(shared, "data") });
      return output;
    };
    const rounded = await make("rounded", before);
    const trained = await make("trained", [...before, { distill: { ...given, ...common } }]);
    const held = await collect(
      await openSpec({ ...test, ...(samples && { take: samples }) }, inputsOf(loadModel(path)), shared),
    );
    const score = (file, optimization = "all") => judge(file, held, metric, { optimization, batch: 21 });
    const opened = thaw(loadModel(trained));
    return {
      fp32: await score(path),
      rounded: await score(rounded),
      trained: await score(trained),
      unoptimized: await score(trained, "disabled"),
      asTrained: await score(opened.model, "basic"),
      count: held.length,
    };
  };

function tables(runs) {
  const header = [
    "",
    "fp32",
    "rounded",
    "trained",
    "seeds",
    "regained, %",
    "bound",
    "verdict",
    "training, unoptimized, integers: most apart",
    "CPU / wall s",
  ];
  const rows = Object.entries(settings).map(([name, { task, title, scales }]) => [
    name,
    (each) => {
      const shares = each.map(({ fp32, rounded, trained }) => (100 * (trained - rounded)) / (fp32 - rounded));
      const mean = shares.reduce((sum, share) => sum + share, 0) / shares.length;
      const least = task === "stories" ? 50 : 80;
      const apart = each.map(({ trained, unoptimized, asTrained }) => {
        const scores = [trained, unoptimized, asTrained];
        return Math.max(...scores) - Math.min(...scores);
      });
      const one = (key) => spread(each.map((run) => run[key]));
      const verdict = mean >= least ? "kept" : "MISSED";
      const difference = Math.max(...apart).toFixed(3);
      return [
        `${title}, scales ${scales}`,
        one("fp32"),
        one("rounded"),
        one("trained"),
        each.length,
        spread(shares, 0),
        `≥ ${least}`,
        verdict,
        difference,
        timeOf(each),
      ];
    },
  ]);
  return tableOf(header, rows, runs);
}

await singleRows(Object.fromEntries(Object.entries(settings).map(([name, each]) => [name, rowOf(each)])), tables);
