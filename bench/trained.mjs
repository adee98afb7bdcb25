/**
 * @file Models that Tersor trains from the beginning or trains on, judged on data that decided nothing.
 *
 * Usage: node bench/trained.mjs --only ROW [--seed N] [--threads N] [--samples N] [--epochs N] [--json FILE] [--shared FOLDER]
 *        node bench/trained.mjs --table FILE…
 * Needs `npm run build`. A row takes minutes. Where there are several settings of one task (`resnet20-…`, `mnist-…`), the table takes the one that
 * is best on held-out training data, and shows what that one gives on the test data.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { collect } from "../dist/data/dataset.js";
import { parseDelimited } from "../dist/data/delimited.js";
import { openData } from "../dist/data/node/open-data.js";
import { wordTokenizer } from "../dist/data/word-tokenizer.js";
import * as nn from "../dist/nn/index.js";
import { loadModel } from "../dist/node/load.js";
import { saveModel } from "../dist/node/save.js";
import { inputsOf } from "../dist/recipe/data/inputs-of.js";
import { runRecipe } from "../dist/recipe/node/run-recipe.js";
import { articleNetwork } from "../examples/article/networks.mjs";
import { judge, singleRows, spread, tableOf, timeOf } from "./single-rows.mjs";
import { spokenDigits, spokenLayers, spokenStep } from "./spoken-digits.mjs";
import { dataSpecs, root, zoo } from "./zoo.mjs";

/** Trains a model with the step of recipes and judges the result once. */
async function trained(model, { folder, seed, threads, samples, epochs }, { step, test, metric, limits = {} }) {
  const [input, output] = ["begin.onnx", "end.onnx"].map((name) => join(folder, name));
  if (typeof model !== "string") await saveModel(model, input);
  const finetune = { metric, threads, ...step, ...(samples && { samples }), ...(epochs && { epochs }) };
  const recipe = { model: typeof model === "string" ? model : input, output, seed, steps: [{ finetune }] };
  const { manifest } = await runRecipe(recipe);
  const { report } = manifest.steps[0];
  const result = loadModel(output);
  const spec = { ...test, ...(samples && { take: samples }) };
  const data = await collect(await openData(spec, { inputs: inputsOf(result) }));
  return {
    parameters: parametersOf(result),
    epochs: finetune.epochs,
    validation: report.history.at(-1)?.validation,
    best: report.validation?.after,
    test: await judge(output, data, metric, limits),
    count: data.length,
  };
}

const parametersOf = ({ graph }) =>
  graph.initializers.reduce((sum, { tensor }) => sum + (tensor.dtype === "float32" ? tensor.size : 0), 0);

const spokenRow = (layer) => async (options) => {
  const data = spokenDigits(options.shared, options.folder);
  const model = nn.build(spokenLayers(layer), { input: [64, 40], seed: options.seed, name: "spoken-digits" });
  return trained(model, options, { step: spokenStep(data), test: data("test"), metric: "top-1" });
};

/** Intents of SNIPS, from words; the vocabulary is that of the training sentences. */
async function snipsRow(options) {
  const { folder, seed } = options;
  const text = (part) => join(options.shared, "data", "text", `snips.${part}.tsv`);
  const records = parseDelimited(readFileSync(text("train"), "utf8"), { separator: "\t" }, "snips");
  const classes = [...new Set(records.map(([intent]) => intent))].sort();
  const json = wordTokenizer(records.map(([, sentence]) => sentence));
  writeFileSync(join(folder, "words.json"), json);
  const words = Object.keys(JSON.parse(json).model.vocab).length;
  const length = 32;
  const data = (part) => ({
    path: text(part),
    textColumn: 1,
    labelColumn: 0,
    header: false,
    classes,
    tokenizer: join(folder, "words.json"),
    maxLength: length,
    pad: true,
    shuffle: true,
  });
  const block = () => nn.transformerEncoderBlock({ heads: 4, hidden: 128, dropout: 0.2 });
  const layers = [
    nn.embedding(words, 64, { init: { std: 0.1 } }),
    nn.positions(length),
    nn.dropout(0.3),
    block(),
    block(),
    nn.layerNorm(),
    nn.poolSteps("max"),
    nn.dropout(0.3),
    nn.linear(classes.length),
  ];
  const model = nn.build(layers, { input: [length], dtype: "int64", inputName: "input_ids", seed, name: "snips" });
  const step = {
    data: data("train"),
    validation: data("valid"),
    epochs: 8,
    batchSize: 64,
    rate: 0.002,
    schedule: { name: "cosine", warmup: 0.1 },
    optimizer: { name: "adamw", weightDecay: 0.01 },
    loss: { name: "cross-entropy", labelSmoothing: 0.05 },
    clipNorm: 1,
  };
  return { ...(await trained(model, options, { step, test: data("test"), metric: "top-1" })), words };
}

/** Settings of ResNet-20's fine-tuning that held-out training images choose from. */
const resnetSettings = {
  "resnet20-adamw": { rate: 0.001, optimizer: { name: "adamw", weightDecay: 0.01 } },
  "resnet20-nesterov": { rate: 0.01, optimizer: { name: "nesterov", weightDecay: 5e-4 } },
};

const resnetRow = (settings) => async (options) => {
  const { path } = zoo(options.shared).find(({ name }) => name === "resnet20_cifar10");
  const images = (part) => ({
    ...dataSpecs.cifar,
    path: join(options.shared, "data", "cifar10-jpeg", `${part}_x.u8.bin`),
    labels: { path: join(options.shared, "data", "cifar10-jpeg", `${part}_y.u8.bin`), dtype: "uint8" },
  });
  const step = {
    data: images("train"),
    validation: 0.1,
    epochs: 10,
    batchSize: 64,
    schedule: { name: "cosine", warmup: 0.05 },
    augment: { flip: true, crop: 3 },
    average: 0.998,
    ...settings,
  };
  return { ...(await trained(path, options, { step, test: images("test"), metric: "top-1" })), settings };
};

/** Settings of the article's network that held-out training digits choose from; 3 epochs each. */
const digitSettings = {
  "mnist-before": { rate: 0.002, batchSize: 64 },
  "mnist-warm": { rate: 0.004, batchSize: 64, warmup: 0.1 },
  "mnist-shift": { rate: 0.004, batchSize: 64, warmup: 0.1, augment: { crop: 1 } },
  "mnist-small-batch": { rate: 0.003, batchSize: 32, warmup: 0.1, augment: { crop: 1 } },
  "mnist-average": { rate: 0.004, batchSize: 32, warmup: 0.1, augment: { crop: 1 }, average: 0.998 },
};

const digitRow =
  ({ warmup = 0, ...settings }) =>
  async (options) => {
    const digits = (part) => ({ path: join(root, "examples", "article", `${part}.mjs`) });
    const step = {
      data: digits("train"),
      validation: 0.1,
      epochs: 3,
      schedule: { name: "cosine", warmup },
      ...settings,
    };
    return {
      ...(await trained(articleNetwork(options.seed), options, { step, test: digits("test"), metric: "top-1" })),
      settings,
    };
  };

const rowsOf = (settings, row) => Object.fromEntries(Object.entries(settings).map(([name, each]) => [name, row(each)]));

const rows = {
  lstm: spokenRow(nn.lstm(64, { bidirectional: true })),
  gru: spokenRow(nn.gru(64, { bidirectional: true })),
  snips: snipsRow,
  ...rowsOf(resnetSettings, resnetRow),
  ...rowsOf(digitSettings, digitRow),
};

const bounds = { lstm: [95, "≥ 95 %"], gru: [95, "≥ 95 %"], snips: [97, "≥ 97.0 %"] };
const titles = {
  lstm: "bidirectional LSTM of 64, spoken digits",
  gru: "bidirectional GRU of 64, spoken digits",
  snips: "transformer of 2 blocks, SNIPS intents",
};

function tables(runs) {
  const numbers = (each, key) => each.map((run) => run[key]);
  const average = (each, key) => numbers(each, key).reduce((sum, value) => sum + value, 0) / each.length;
  const fromNothing = Object.entries(titles).map(([name, title]) => [
    name,
    (each) => {
      const [bound, text] = bounds[name];
      const verdict = average(each, "test") >= bound ? "kept" : "MISSED";
      const { parameters, epochs } = each[0];
      return [title, parameters, epochs, spread(numbers(each, "test")), each.length, text, verdict, timeOf(each)];
    },
  ]);
  const first = tableOf(
    ["trained from nothing", "parameters", "epochs", "test top-1, %", "seeds", "bound", "verdict", "CPU / wall s"],
    fromNothing,
    runs,
  );
  const choice = (prefix, title) => {
    const names = [...runs.keys()].filter((name) => name.startsWith(prefix));
    const best = names.toSorted((a, b) => average(runs.get(b), "validation") - average(runs.get(a), "validation"))[0];
    const cells = (name) => (each) => [
      name,
      JSON.stringify(each[0].settings),
      spread(numbers(each, "validation")),
      name === best ? spread(numbers(each, "test")) : "",
      each.length,
      timeOf(each),
    ];
    const header = [title, "settings", "held-out training data, %", "test, %", "seeds", "CPU / wall s"];
    return tableOf(
      header,
      names.map((name) => [name, cells(name)]),
      runs,
    );
  };
  return [
    ...first,
    ...choice("resnet20-", "ResNet-20 on CIFAR-10, trained on"),
    ...choice("mnist-", "article's network on MNIST"),
  ];
}

await singleRows(rows, tables);
