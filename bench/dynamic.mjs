/**
 * @file Dynamic quantization of a language model: perplexity beside ONNX Runtime's Python tool.
 *
 * Usage: node bench/dynamic.mjs [--no-peers] [--shared FOLDER]
 * Needs `npm run build`, and for the peers `bench/setup-python.sh`. Every third story is for calibration, and for the accuracy bound to search
 * on; the others judge all rows. Exit code 1 when the bound is missed.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { batches, unbatch } from "../dist/data/batch.js";
import { collect, datasetOf } from "../dist/data/dataset.js";
import { metricForLabel } from "../dist/evaluate/choose-metric.js";
import { loadModel } from "../dist/node/load.js";
import { quantizeDynamic } from "../dist/quantize/dynamic/dynamic.js";
import { prepareDynamic } from "../dist/quantize/dynamic/on-data.js";
import { markdown, runOnce } from "./measure.mjs";
import { bytesOf, dataSpecs, defaultShared, inFolder, openSession, openSpec, root, simplified, zoo } from "./zoo.mjs";

const { values: args } = parseArgs({
  options: { "no-peers": { type: "boolean", default: false }, shared: { type: "string", default: defaultShared } },
});
/** On all stories; fp32 has 4.882 there. */
const LEAST = 4.9 / 4.882;

const { path } = zoo(args.shared).find(({ name }) => name === "stories260K");

async function perplexity(model, samples) {
  const metric = metricForLabel(samples[0]).create();
  const session = await openSession(model);
  for await (const batch of batches(datasetOf("stories", samples), { size: 8, pad: "split" })) {
    const outputs = unbatch(await session.run(batch.inputs), batch.samples.length);
    for (const [i, sample] of batch.samples.entries()) metric.add(outputs[i], sample);
  }
  await session.release();
  return metric.value();
}

await inFolder(undefined, async (folder) => {
  const session = await openSession(path);
  const all = await collect(await openSpec(dataSpecs.stories, session.inputs, args.shared));
  await session.release();
  const judged = all.filter((_, i) => i % 3 !== 0);
  const model = await simplified(loadModel(path));
  const seen = datasetOf(
    "seen",
    all.filter((_, i) => i % 3 === 0),
  );
  const calibrated = async (minSqnr) => {
    const running = { open: (each) => openSession(each), batchSize: 8 };
    const { model: smooth, weightsOnly } = await prepareDynamic(model, seen, { minSqnr }, running);
    return bytesOf(quantizeDynamic(smooth, {}, [], weightsOnly).model);
  };
  const ours = (options) => bytesOf(quantizeDynamic(model, options).model);
  const rows = [
    ["fp32", bytesOf(model)],
    ["tersor --dynamic", ours({})],
    ["tersor --dynamic --calibrate", await calibrated(32)],
    ["tersor --dynamic --calibrate --min-activation-sqnr 0", await calibrated(0)],
    ["tersor --dynamic --layers *,*down*@keep", ours({ layers: "*,*down*@keep" })],
    ["tersor --dynamic --dtype int8 (7 bits on this target)", ours({ dtype: "int8" })],
  ];
  const bounded = join(folder, "bounded.onnx");
  const command = [
    process.execPath,
    join(root, "dist", "bin", "tersor.js"),
    "quantize",
    path,
    "--dynamic",
    "-o",
    bounded,
  ];
  const search = { ...dataSpecs.stories, path: join(args.shared, "data", dataSpecs.stories.path) };
  const { code, stderr } = await runOnce([
    ...command,
    "--max-drop",
    "0.3%",
    "--data",
    JSON.stringify(search),
    "--samples",
    "64",
  ]);
  rows.push(["tersor --dynamic --max-drop 0.3%", code < 2 ? readFileSync(bounded) : stderr]);
  if (!args["no-peers"])
    for (const job of ["int8", "int8-channel"]) {
      const target = join(folder, `${job}.onnx`);
      const script = join(root, "bench", "peers", "ort_quantize.py");
      const peer = await runOnce([join(root, ".venv", "bin", "python"), script, job, path, target]);
      rows.push([`onnxruntime dynamic ${job}`, peer.code === 0 ? readFileSync(target) : peer.stderr]);
    }
  const cells = [];
  for (const [name, file] of rows)
    cells.push(
      typeof file === "string"
        ? [name, "", `fails: ${file.trim().split("\n").at(-1)}`]
        : [name, (file.length / 1000).toFixed(0), (await perplexity(file, judged)).toFixed(3)],
    );
  console.log(markdown(["stories260K", "KB", `perplexity on ${judged.length} stories`], cells));
  const [fp32, plain, own] = cells.map((row) => Number(row[2]));
  const verdict = (value) => (value <= fp32 * LEAST ? "kept" : "MISSED");
  console.log(
    `\nBound: at most ${(fp32 * LEAST).toFixed(3)} (4.90 on all stories). --dynamic with samples: ${verdict(own)}; without: ${verdict(plain)}.`,
  );
  process.exitCode = verdict(own) === "kept" ? 0 : 1;
});
