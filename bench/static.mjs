/**
 * @file What static quantization does to accuracy and speed: three tasks, Tersor's targets beside ONNX Runtime's Python tool.
 *
 * Usage: node bench/static.mjs [--only keywords,resnet20,resnet56,ocr] [--settings TEXT] [--peers TEXT | --no-peers] [--no-speed]
 *   [--test N] [--keep FOLDER] [--shared FOLDER]
 * Needs `npm run build`, and for the peers `bench/setup-python.sh`. Ranges come from calibration samples that are not judged:
 * the first 200 of 1,000 keywords, 256 training images, every third line of text. Both tools are given the simplified
 * fp32 model. Every file is judged with graph optimizations on and off; the two differ where int8 sums saturate. Speed: median
 * over rounds of the ratio to fp32 of the same round, one thread, in turns. --settings and --peers take the rows whose name contains
 * TEXT; --test judges by the first N samples. Exit code 1 when a bound is missed.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { batches, unbatch } from "../dist/data/batch.js";
import { collect, datasetOf, take } from "../dist/data/dataset.js";
import { chooseMetric } from "../dist/evaluate/choose-metric.js";
import { loadModel } from "../dist/node/load.js";
import { convertOpset } from "../dist/passes/convert-opset/convert-opset.js";
import { quantizeStatic } from "../dist/quantize/static/static.js";
import { markdown, median, runOnce } from "./measure.mjs";
import {
  bytesOf,
  dataSpecs,
  defaultShared,
  inFolder,
  ocrCharset,
  openSession,
  openSpec,
  root,
  simplified,
  zoo,
} from "./zoo.mjs";

const { values: args } = parseArgs({
  options: {
    only: { type: "string" },
    settings: { type: "string", default: "" },
    peers: { type: "string", default: "" },
    "no-peers": { type: "boolean", default: false },
    "no-speed": { type: "boolean", default: false },
    test: { type: "string" },
    keep: { type: "string" },
    shared: { type: "string", default: defaultShared },
  },
});

const cifarTrain = {
  ...dataSpecs.cifar,
  path: "cifar10-jpeg/train_x.u8.bin",
  labels: { path: "cifar10-jpeg/train_y.u8.bin", dtype: "uint8" },
};

/** Calibration and test samples without one in common. */
const splits = {
  first: (count) => async (open) => {
    const samples = await collect(await open());
    return { calibration: samples.slice(0, count), test: samples.slice(count) };
  },
  everyThird: async (open) => {
    const samples = await collect(await open());
    return { calibration: samples.filter((_, i) => i % 3 === 0), test: samples.filter((_, i) => i % 3 !== 0) };
  },
  trainImages: (count) => async (open) => ({
    calibration: await collect(take(await open(cifarTrain), count)),
    test: await collect(await open()),
  }),
};

const top1 = (model, least) => ({
  model,
  data: dataSpecs.cifar,
  split: splits.trainImages(256),
  metric: "top-1",
  batch: 50,
  calibrationBatch: 8,
  bound: { text: `at least ${least} % both ways`, holds: (value) => value >= least },
});

const tasks = [
  {
    name: "keywords",
    title: "DS-CNN keyword spotting, top-1 in % of the 800 samples that were not calibrated on",
    model: "mlperf_kws_dscnn",
    data: dataSpecs.keywords,
    split: splits.first(200),
    metric: "top-1",
    batch: 50,
    calibrationBatch: 8,
    bound: { text: "at least 91.2 % both ways", holds: (value) => value >= 91.2 },
  },
  { name: "resnet20", title: "ResNet-20 on CIFAR-10, top-1 in %", ...top1("resnet20_cifar10", 80.8) },
  {
    name: "resnet56",
    title: "ResNet-56 on CIFAR-10, top-1 in %",
    ...top1("resnet56_cifar10", 82.2),
    int4Bound: { text: "4-bit weights within 3 points of fp32", holds: (value, fp32) => value >= fp32 - 3 },
  },
  {
    name: "ocr",
    title:
      "PP-OCRv4 recognizer, character error rate in % of the 200 lines that were not calibrated on (lower is better)",
    model: "ch_PP-OCRv4_rec_infer",
    data: dataSpecs.lines,
    split: splits.everyThird,
    metric: { name: "cer", charset: ocrCharset, space: true },
    batch: 1,
    calibrationBatch: 1,
    bound: { text: "at most 0.5 points above fp32", holds: (value, fp32) => value <= fp32 + 0.5 },
  },
];

/** `judged`: the bound holds for it. */
const settings = [
  { name: "any", options: { target: "any" }, judged: true },
  { name: "node-x64", options: { target: "node-x64" }, judged: true },
  { name: "node-x64 uint8 weights", options: { target: "node-x64", dtype: "uint8" }, judged: true },
  { name: "web-wasm", options: { target: "web-wasm" } },
  { name: "node-x64 min-max", options: { target: "node-x64", ranges: "min-max" } },
  { name: "node-x64 moving-average", options: { target: "node-x64", ranges: "moving-average" } },
  { name: "node-x64 percentile", options: { target: "node-x64", ranges: "percentile" } },
  { name: "node-x64 entropy", options: { target: "node-x64", ranges: "entropy" } },
  { name: "node-x64 int8 activations", options: { target: "node-x64", activations: "int8" } },
  { name: "node-x64 4-bit weights", options: { target: "node-x64", dtype: "int4" }, isInt4: true },
  {
    name: "node-x64 4-bit weights gptq",
    options: { target: "node-x64", dtype: "int4", method: "gptq" },
    isInt4: true,
  },
];

const peers = [
  ...["tensor", "channel", "channel-reduced", "channel-u8u8"].map((variant) => ({ variant, method: "min-max" })),
  { variant: "channel-reduced", method: "entropy" },
].map(({ variant, method }) => ({
  name: `onnxruntime.quantization ${variant}${method === "min-max" ? "" : ` ${method}`}`,
  variant,
  method,
}));

const python = join(root, ".venv", "bin", "python");

async function judge(task, bytes, samples, options) {
  const metric = task.chosen.create();
  const session = await openSession(bytes, options);
  try {
    for await (const batch of batches(datasetOf(task.name, samples), { size: task.batch, pad: "split" })) {
      const outputs = unbatch(await session.run(batch.inputs), batch.samples.length);
      for (const [i, sample] of batch.samples.entries()) metric.add(outputs[i], sample);
    }
  } finally {
    await session.release();
  }
  return metric.value();
}

async function loadTask(task) {
  const { path } = zoo(args.shared).find(({ name }) => name === task.model);
  const session = await openSession(path);
  const { inputs } = session;
  await session.release();
  const { calibration, test } = await task.split((spec = task.data) => openSpec(spec, inputs, args.shared));
  const chosen = await chooseMetric(task.metric, { readText: (file) => readFile(file, "utf8") });
  const simple = await simplified(loadModel(path));
  const model = convertOpset(simple, 13).model;
  return { ...task, calibration, test: test.slice(0, args.test ? Number(args.test) : undefined), chosen, model };
}

async function byTersor(task, { options }) {
  const start = process.cpuUsage();
  const open = (probed) => openSession(probed);
  const data = datasetOf(task.name, task.calibration);
  const result = await quantizeStatic(task.model, data, options, { open, batchSize: task.calibrationBatch });
  const bytes = bytesOf(result.model);
  const { user, system } = process.cpuUsage(start);
  return { bytes, cpu: (user + system) / 1e6 };
}

function writeSamples(task, folder) {
  const [name] = Object.keys(task.calibration[0].inputs);
  const tensors = task.calibration.map(({ inputs }) => inputs[name]);
  writeFileSync(join(folder, "samples.json"), JSON.stringify({ input: name, dims: tensors.map(({ dims }) => dims) }));
  writeFileSync(
    join(folder, "samples.f32"),
    Buffer.concat(tensors.map(({ data }) => Buffer.from(data.buffer, data.byteOffset, data.byteLength))),
  );
}

async function byPeer({ variant, method }, source, folder) {
  const target = join(folder, `peer-${variant}-${method}.onnx`);
  const command = [python, join(root, "bench", "peers", "ort_static.py"), variant, method, source, folder, target];
  const { code, cpu, stderr } = await runOnce(command);
  if (code !== 0) return { error: stderr.trim().split("\n").at(-1) };
  return { bytes: await readFile(target), cpu };
}

/** Ratio to fp32, the first of `files`, in turns on the first test sample. */
async function ratios(files, feeds, runtime) {
  const sessions = [];
  for (const file of files) sessions.push(await openSession(file, { runtime }));
  const times = sessions.map(() => []);
  for (let round = -1; round < 7; round++)
    for (const [i, session] of sessions.entries()) {
      const best = Math.min(...(await session.time(feeds, 5)));
      if (round >= 0) times[i].push(best);
    }
  for (const session of sessions) await session.release();
  return times.map((own) => median(own.map((ms, round) => ms / times[0][round])));
}

async function bench(task, folder) {
  mkdirSync(folder, { recursive: true });
  const fp32Bytes = bytesOf(task.model);
  const source = join(folder, "fp32.onnx");
  writeFileSync(source, fp32Bytes);
  const fp32 = await judge(task, fp32Bytes, task.test);
  const rows = [{ name: "fp32", bytes: fp32Bytes, on: fp32, off: fp32 }];
  let missed = false;
  for (const setting of settings.filter(({ name }) => name.includes(args.settings))) {
    const bound = setting.judged ? task.bound : setting.isInt4 ? task.int4Bound : undefined;
    rows.push({ name: setting.name, bound, ...(await byTersor(task, setting)) });
  }
  if (!args["no-peers"]) {
    writeSamples(task, folder);
    for (const peer of peers.filter(({ name }) => name.includes(args.peers)))
      rows.push({ name: peer.name, ...(await byPeer(peer, source, folder)) });
  }
  for (const row of rows.slice(1)) {
    if (row.error) continue;
    row.on = await judge(task, row.bytes, task.test);
    row.off = await judge(task, row.bytes, task.test, { optimization: "disabled" });
    row.missed = !args.test && row.bound && ![row.on, row.off].every((value) => row.bound.holds(value, fp32));
    missed ||= row.missed;
    writeFileSync(join(folder, `${row.name.replaceAll(/[^\w-]+/g, "-")}.onnx`), row.bytes);
    console.error(
      `${task.name} ${row.name}: ${row.on.toFixed(2)} / ${row.off.toFixed(2)}${row.missed ? " MISSED" : ""}`,
    );
  }
  const good = rows.filter(({ error }) => !error);
  if (!args["no-speed"])
    for (const runtime of ["ort-node", "ort-web"]) {
      const values = await ratios(
        good.map(({ bytes }) => bytes),
        task.test[0].inputs,
        runtime,
      );
      for (const [i, row] of good.entries()) row[runtime] = values[i];
    }
  report(task, rows);
  return missed;
}

function report(task, rows) {
  const header = ["", "optimized", "not optimized", "KB", "time / fp32, node", "time / fp32, wasm", "CPU s to make"];
  const number = (value, digits) => (value === undefined ? "" : value.toFixed(digits));
  const cells = rows.map((row) =>
    row.error
      ? [row.name, `failed: ${row.error}`, "", "", "", "", ""]
      : [
          row.name,
          `${number(row.on, 2)}${row.missed ? " MISSED" : ""}`,
          number(row.off, 2),
          number(row.bytes.length / 1000, 1),
          number(row["ort-node"], 2),
          number(row["ort-web"], 2),
          number(row.cpu, 1),
        ],
  );
  const bounds = [task.bound, task.int4Bound].filter(Boolean).map(({ text }) => text);
  console.log(`\n### ${task.title}\n\nBounds: ${bounds.join("; ")}.\n`);
  console.log(markdown(header, cells));
}

const only = args.only?.split(",");
let missed = false;
await inFolder(args.keep, async (folder) => {
  for (const task of tasks.filter(({ name }) => only?.includes(name) ?? true))
    missed = (await bench(await loadTask(task), join(folder, task.name))) || missed;
});
process.exitCode = missed ? 1 : 0;
