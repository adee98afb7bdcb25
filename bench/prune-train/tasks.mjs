/**
 * @file The tasks of bench/prune-train.mjs: a model, samples to train on, and others that judge it once, when all is decided.
 *
 * Each has `model` (a path, or a function that makes the file), `training` (data of a recipe), `test` (samples), `metric`, `batch`
 * and `learn`: options of training that suit it.
 */
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { collect } from "../../dist/data/dataset.js";
import { openData } from "../../dist/data/node/open-data.js";
import * as nn from "../../dist/nn/index.js";
import { saveModel } from "../../dist/node/save.js";
import { runRecipe } from "../../dist/recipe/node/run-recipe.js";
import { Rng } from "../../dist/util/rng.js";
import { articleNetwork } from "../../examples/article/networks.mjs";
import { spokenDigits, spokenLayers, spokenStep } from "../spoken-digits.mjs";
import { dataSpecs, ocrCharset, openSpec, root } from "../zoo.mjs";

const judgedOn = (spec, keep = () => true) => ({
  test: async (inputs, { shared }) => (await collect(await openSpec(spec, inputs, shared))).filter((_, i) => keep(i)),
});

const cifar = (model) => ({
  model,
  training: {
    ...dataSpecs.cifar,
    path: "cifar10-jpeg/train_x.u8.bin",
    labels: { path: "cifar10-jpeg/train_y.u8.bin", dtype: "uint8" },
  },
  ...judgedOn(dataSpecs.cifar),
  metric: "top-1",
  batch: 50,
  learn: {
    batchSize: 64,
    rate: 0.001,
    optimizer: { name: "adamw", weightDecay: 0.01 },
    schedule: { name: "cosine", warmup: 0.05 },
    augment: { flip: true, crop: 3 },
  },
});

/** Keywords and stories have no training split: the first ones are learned from, without their labels, the rest is judged. */
const keywordsToLearn = 300;
const storiesToLearn = 63;

export const tasks = {
  resnet20: cifar("resnet20_cifar10"),
  resnet56: cifar("resnet56_cifar10"),
  keywords: {
    model: "mlperf_kws_dscnn",
    training: { ...dataSpecs.keywords, take: keywordsToLearn },
    ...judgedOn(dataSpecs.keywords, (i) => i >= keywordsToLearn),
    metric: "top-1",
    batch: 50,
    learn: { batchSize: 30, rate: 0.002 },
  },
  stories: {
    model: "stories260K",
    training: { ...dataSpecs.stories, take: storiesToLearn },
    ...judgedOn(dataSpecs.stories, (i) => i >= storiesToLearn),
    metric: "perplexity",
    batch: 9,
    learn: { batchSize: 7, rate: 0.001 },
  },
  lines: {
    model: "ch_PP-OCRv4_rec_infer",
    training: cropsOfLines,
    ...judgedOn(dataSpecs.lines, isJudged),
    metric: { name: "cer", charset: ocrCharset, space: true },
    batch: 1,
    learn: { batchSize: 8, rate: 0.0002, schedule: { name: "cosine", warmup: 0.1 }, clipNorm: 1 },
  },
  spoken: {
    model: spokenModel,
    training: ({ shared, folder }) => spokenDigits(shared, folder)("training"),
    test: async (inputs, { shared, folder }) =>
      collect(await openData(spokenDigits(shared, folder)("test"), { inputs })),
    metric: "top-1",
    batch: 50,
    learn: { batchSize: 32, rate: 0.002, augment: { noise: 0.2 }, clipNorm: 1 },
  },
  article: {
    model: articleModel,
    training: { path: join(root, "examples/article/train.mjs") },
    test: async (inputs) => collect(await openData({ path: join(root, "examples/article/test.mjs") }, { inputs })),
    metric: "top-1",
    batch: 100,
    learn: { batchSize: 64, rate: 0.002 },
  },
};

/** Hidden units of an LSTM, each way. */
export const SPOKEN_HIDDEN = 64;

/** Every second line of text is judged; those in between are learned from. */
function isJudged(index) {
  return index % 2 === 1;
}

const CROP = { height: 48, width: 320 };

/**
 * The lines that are learned from as crops of one width: at another place and stretched a little differently each time, so that
 * 150 lines go further. Their texts are not used. Gives the data of a recipe; the file lies in `temporary`.
 */
async function cropsOfLines({ shared, folder, seed, samples }) {
  const images = join(shared, "data/ocr-lines/images");
  const names = readdirSync(images)
    .sort()
    .filter((_, i) => !isJudged(i));
  const rng = new Rng(seed, "crops");
  const count = Math.min(samples ?? CROPS, CROPS);
  const area = CROP.height * CROP.width;
  const bytes = new Uint8Array(count * 3 * area);
  for (let i = 0; i < count; i++) {
    const file = join(images, names[i % names.length]);
    const { width } = await sharp(file).metadata();
    const stretched = Math.max(1, Math.round(width * (0.8 + 0.5 * rng.uniform())));
    const size = { width: stretched, height: CROP.height, fit: "fill" };
    const pixels = await sharp(file).resize(size).greyscale().raw().toBuffer();
    const left = Math.floor(rng.uniform() * Math.max(1, stretched - CROP.width + 1));
    for (let y = 0; y < CROP.height; y++)
      for (let x = 0; x < CROP.width; x++) {
        const value = pixels[y * stretched + Math.min(stretched - 1, left + x)];
        for (let c = 0; c < 3; c++) bytes[(i * 3 + c) * area + y * CROP.width + x] = value;
      }
  }
  const path = join(folder, "crops.u8.bin");
  writeFileSync(path, bytes);
  return { path, dtype: "uint8", dims: [3, CROP.height, CROP.width], scale: 1 / 255, mean: 0.5, std: 0.5 };
}

/** Eight crops of each line. */
const CROPS = 1200;

/** The article's network after three epochs. */
function articleModel(settings) {
  const { training: data, learn } = tasks.article;
  return fromNothing(articleNetwork(settings.seed), { ...learn, data, epochs: 3, validation: 0 }, settings);
}

/** A network that hears spoken digits: the one of bench/trained.mjs. */
function spokenModel(settings) {
  const layers = spokenLayers(nn.lstm(SPOKEN_HIDDEN, { bidirectional: true }));
  const model = nn.build(layers, { input: [64, 40], seed: settings.seed, name: "spoken-digits" });
  return fromNothing(model, spokenStep(spokenDigits(settings.shared, settings.folder)), settings);
}

/** Saves a network, trains it, and gives the file. */
async function fromNothing(network, step, { folder, threads, seed, samples, epochs }) {
  const [untrained, trained] = ["untrained.onnx", "trained.onnx"].map((name) => join(folder, name));
  await saveModel(network, untrained);
  const finetune = { ...step, threads, ...(samples && { samples }), ...(epochs && { epochs }) };
  await runRecipe({ model: untrained, output: trained, seed, steps: [{ finetune }] });
  return trained;
}
