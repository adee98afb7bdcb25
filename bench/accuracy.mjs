/**
 * @file What weight quantization does to accuracy and size: four tasks × granularity, rounding, bits and choice of scale.
 *
 * Usage: node bench/accuracy.mjs [--only ocr,stories,resnet20,keywords] [--settings TEXT] [--samples N] [--all]
 *   [--keep FOLDER] [--shared FOLDER]
 * Needs `npm run build`. --settings takes the rows whose name contains TEXT; --samples judges by the first N samples
 * (which judges no bound); --all judges every row by every sample, where otherwise some may take a part;
 * --keep leaves the files in FOLDER, for bench/check-written.mjs. Exit code 1 when a bound is missed.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { batches, unbatch } from "../dist/data/batch.js";
import { collect, datasetOf } from "../dist/data/dataset.js";
import { chooseMetric } from "../dist/evaluate/choose-metric.js";
import { loadModel } from "../dist/node/load.js";
import { saveModel } from "../dist/node/save.js";
import { measureSize } from "../dist/node/size.js";
import { quantize } from "../dist/quantize/weights/quantize-weights.js";
import { markdown } from "./measure.mjs";
import { dataSpecs, defaultShared, inFolder, ocrCharset, openSession, openSpec, simplified, zoo } from "./zoo.mjs";

/** One quality for all files of a table. Level 11 takes minutes for the larger ones and gains little. */
const brotliQuality = 9;
const seeds = [1, 2, 3];

const { values: args } = parseArgs({
  options: {
    only: { type: "string" },
    settings: { type: "string", default: "" },
    samples: { type: "string" },
    all: { type: "boolean", default: false },
    keep: { type: "string" },
    shared: { type: "string", default: defaultShared },
  },
});

/**
 * `part`: samples for rows of 4 and 2 bits, of other roundings and choices of scale, where all take too long. `giveUp`: a row
 * this bad after so many samples is judged by those. `bound`: of int8 per channel, given fp32.
 */
const tasks = [
  {
    name: "ocr",
    title: "PP-OCRv4 recognizer, character error rate in % (lower is better)",
    model: "ch_PP-OCRv4_rec_infer",
    data: dataSpecs.lines,
    metric: { name: "cer", charset: ocrCharset, space: true },
    batch: 1,
    part: 60,
    giveUp: { after: 20, when: (value) => value >= 90 },
    digits: 2,
    bound: { text: "at most 0.3 points above fp32", holds: (value, fp32) => value <= fp32 + 0.3 },
  },
  {
    name: "stories",
    title: "stories260K, perplexity (lower is better)",
    model: "stories260K",
    data: dataSpecs.stories,
    metric: "perplexity",
    batch: 9,
    part: 63,
    digits: 3,
    bound: { text: "at most 4.90", holds: (value) => value <= 4.9 },
  },
  {
    name: "resnet20",
    title: "ResNet-20 on CIFAR-10, top-1 in % (higher is better)",
    model: "resnet20_cifar10",
    data: dataSpecs.cifar,
    metric: "top-1",
    batch: 50,
    part: 1000,
    digits: 2,
    bound: { text: "at most 0.3 points below fp32", holds: (value, fp32) => value >= fp32 - 0.3 },
  },
  {
    name: "keywords",
    title: "DS-CNN keyword spotting, top-1 in % (higher is better)",
    model: "mlperf_kws_dscnn",
    data: dataSpecs.keywords,
    metric: "top-1",
    batch: 50,
    digits: 2,
    bound: { text: "at most 0.5 points below fp32", holds: (value, fp32) => value >= fp32 - 0.5 },
  },
];

const bounded = "int8 channel";
const granularities = ["model", "tensor", "channel", "group:32"];

/** Every row, by the options of quantize. Stochastic rows run once for each seed. */
const settings = [
  { dtype: "float16" },
  { dtype: "bfloat16" },
  ...["int8", "int4", "int2"].flatMap((dtype) =>
    granularities.flatMap((granularity) => [
      { dtype, granularity },
      ...(dtype === "int8" ? [{ dtype, granularity, rounding: "half-up" }] : []),
      { dtype, granularity, rounding: "stochastic" },
      { dtype, granularity, scale: "mse" },
    ]),
  ),
  { dtype: "uint8", granularity: "channel" },
  { dtype: "uint4", granularity: "group:32" },
  { dtype: "uint4", granularity: "group:32", scale: "mse" },
  { dtype: "uint2", granularity: "group:32" },
].map((options) => ({
  name: Object.values(options).join(" "),
  options,
  isPartial: "rounding" in options || "scale" in options || /int[24]/.test(options.dtype),
}));

/** The metric over the first `count` samples, or fewer where the task gives up. */
async function judge({ name, samples, metricOf, batch: size, giveUp }, path, count) {
  const metric = metricOf();
  const session = await openSession(path);
  let judged = 0;
  try {
    for await (const batch of batches(datasetOf(name, samples.slice(0, count)), { size })) {
      const outputs = unbatch(await session.run(batch.inputs), batch.samples.length);
      for (const [i, sample] of batch.samples.entries()) metric.add(outputs[i], sample);
      judged += batch.samples.length;
      if (judged === giveUp?.after && giveUp.when(metric.value())) break;
    }
  } finally {
    await session.release();
  }
  return { value: metric.value(), judged };
}

async function loadTask(task) {
  const { path } = zoo(args.shared).find(({ name }) => name === task.model);
  const session = await openSession(path);
  const data = await openSpec(task.data, session.inputs, args.shared);
  await session.release();
  const metric = await chooseMetric(task.metric, { readText: (file) => readFile(file, "utf8") });
  const samples = (await collect(data)).slice(0, args.samples ? Number(args.samples) : undefined);
  const simple = await simplified(loadModel(path));
  return { ...task, path, simple, metricOf: () => metric.create(), samples };
}

/** One row: the simplified model is quantized as the command line does it, written, weighed, and judged. */
async function measureSetting(task, { name, options }, { folder, count }) {
  const runs = [];
  let size;
  for (const seed of options.rounding === "stochastic" ? seeds : [0]) {
    const label = `${task.name}-${name}${seed ? `-seed${seed}` : ""}`.replaceAll(/[^\w-]+/g, "-");
    const path = join(folder, `${label}.onnx`);
    const result = quantize(task.simple, { ...options, seed });
    await saveModel(result.model, path);
    size ??= { ...(await measureSize([path], { brotliQuality })), layers: result.layers() };
    runs.push(await judge(task, path, count));
  }
  return { runs, ...size };
}

/** "19", or "17 + 2" when 2 of them are not as asked. */
function layersText(layers) {
  const quantized = layers.filter(({ status }) => status === "quantized");
  const changed = quantized.filter(({ reason }) => reason);
  return changed.length === 0 ? `${quantized.length}` : `${quantized.length - changed.length} + ${changed.length}`;
}

async function bench(task, folder) {
  const { digits, samples, part = samples.length, bound } = task;
  const fp32Size = await measureSize([task.path], { brotliQuality });
  const fp32 = new Map();
  const fp32At = async (count) => {
    if (!fp32.has(count)) fp32.set(count, (await judge({ ...task, giveUp: undefined }, task.path, count)).value);
    return fp32.get(count);
  };
  const all = await fp32At(samples.length);
  const rows = [["fp32", samples.length, all.toFixed(digits), "", ...sizeCells(fp32Size), ""]];
  let missed = false;
  for (const setting of settings.filter(({ name }) => name.includes(args.settings))) {
    const start = performance.now();
    const count = setting.isPartial && !args.all ? Math.min(part, samples.length) : samples.length;
    const { runs, layers, ...size } = await measureSetting(task, setting, { folder, count });
    const values = runs.map(({ value }) => value);
    const mean = values.reduce((sum, value) => sum + value, 0) / runs.length;
    const judged = Math.max(...runs.map((run) => run.judged));
    const base = await fp32At(judged);
    const broken = setting.name === bounded && !args.samples && !bound.holds(mean, base);
    missed ||= broken;
    const [least, most] = [Math.min(...values), Math.max(...values)].map((value) => numberText(value, digits));
    const value = numberText(mean, digits) + (runs.length > 1 ? ` (${least}–${most})` : "");
    const difference = (mean >= base ? "+" : "−") + numberText(Math.abs(mean - base), digits);
    const cells = [judged, value, difference + (broken ? " MISSED" : ""), ...sizeCells(size), layersText(layers)];
    rows.push([setting.name, ...cells]);
    console.error(`${task.name} ${setting.name}: ${value} (${((performance.now() - start) / 1000).toFixed(1)} s)`);
  }
  const header = ["weights", "samples", task.metricName, "against fp32", "KB", "brotli KB", "layers"];
  const judgement = args.samples ? " (not judged)" : "";
  console.log(`\n### ${task.title}\n\nBound: ${bounded} ${bound.text}${judgement}.\n\n${markdown(header, rows)}`);
  return missed;
}

/** Perplexities of broken models run into billions. */
const numberText = (value, digits) => (value >= 1e5 ? value.toExponential(1) : value.toFixed(digits));
const sizeCells = ({ bytes, brotli }) => [bytes, brotli].map((count) => (count / 1000).toFixed(1));

const only = args.only?.split(",");
let missed = false;
await inFolder(args.keep, async (folder) => {
  for (const task of tasks.filter(({ name }) => only?.includes(name) ?? true)) {
    const loaded = await loadTask(task);
    missed = (await bench({ ...loaded, metricName: task.metric.name ?? task.metric }, folder)) || missed;
  }
});
process.exitCode = missed ? 1 : 0;
