/**
 * @file Models without labelled data: int8 outputs against fp32. A voice detector with a recurrent state, run over a minute of speech, and
 * three models in static W8A8, beside ONNX Runtime's Python tool.
 *
 * Usage: node bench/unlabelled.mjs [--only silero,static] [--no-peers] [--shared FOLDER]
 * Needs `npm run build`, and for the peers `bench/setup-python.sh`. Exit code 1 when a bound is missed.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { batches } from "../dist/data/batch.js";
import { collect, datasetOf } from "../dist/data/dataset.js";
import { FidelityMeter, fidelityOf } from "../dist/evaluate/fidelity.js";
import { joinModels, measureLayers } from "../dist/evaluate/layer-fidelity.js";
import { loadModel } from "../dist/node/load.js";
import { convertOpset } from "../dist/passes/convert-opset/convert-opset.js";
import { quantizeStatic } from "../dist/quantize/static/static.js";
import { quantize } from "../dist/quantize/weights/quantize-weights.js";
import { hostTensor } from "../dist/tensor/host-tensor.js";
import { markdown, median, runOnce } from "./measure.mjs";
import { bytesOf, defaultShared, inFolder, openSession, root, runAll, simplified, zoo } from "./zoo.mjs";

const { values: args } = parseArgs({
  options: {
    only: { type: "string", default: "silero,static" },
    "no-peers": { type: "boolean", default: false },
    shared: { type: "string", default: defaultShared },
  },
});
const python = join(root, ".venv", "bin", "python");
const models = new Map(zoo(args.shared).map((each) => [each.name, each]));
let missed = false;

const CONTEXT = 64;
const CHUNK = 512;

/** Probabilities and states of every chunk, each state fed to the next run. */
async function listen(model, wave) {
  const session = await openSession(model);
  const outputs = [];
  let state = hostTensor("float32", [2, 1, 128], new Float32Array(256));
  let context = new Float32Array(CONTEXT);
  for (let at = 0; at + CHUNK <= wave.length; at += CHUNK) {
    const input = new Float32Array(CONTEXT + CHUNK);
    input.set(context);
    input.set(wave.subarray(at, at + CHUNK), CONTEXT);
    context = input.slice(-CONTEXT);
    const result = await session.run({ input: hostTensor("float32", [1, CONTEXT + CHUNK], input), state });
    state = result.stateN;
    outputs.push({ speech: result.output.data[0], state: state.data });
  }
  await session.release();
  return outputs;
}

async function silero(folder) {
  const { path } = models.get("silero_vad_half");
  const bytes = readFileSync(join(args.shared, "data", "models", "silero_vad_test_16k.wav")).subarray(44);
  const wave = Float32Array.from({ length: bytes.length >> 1 }, (_, i) => bytes.readInt16LE(2 * i) / 32768);
  const model = await simplified(loadModel(path));
  const files = [
    ["tersor int8 per channel", bytesOf(quantize(model, { dtype: "int8", granularity: "channel" }).model), 99.5],
    ["tersor int8 per tensor", bytesOf(quantize(model, { dtype: "int8", granularity: "tensor" }).model)],
    ["tersor int4 group 32", bytesOf(quantize(model, { dtype: "int4", granularity: "group:32" }).model)],
  ];
  if (!args["no-peers"])
    for (const job of ["int8", "int8-channel"]) {
      const target = join(folder, `${job}.onnx`);
      const script = join(root, "bench", "peers", "ort_quantize.py");
      const { code, stderr } = await runOnce([python, script, job, path, target]);
      files.push([`onnxruntime dynamic ${job}`, code === 0 ? readFileSync(target) : stderr.trim().split("\n").at(-1)]);
    }
  const wanted = await listen(path, wave);
  const rows = [];
  for (const [name, file, least] of files) {
    const row = [name, typeof file === "string" ? "" : (file.length / 1000).toFixed(0)];
    const given = typeof file === "string" ? undefined : await listen(file, wave).catch(({ message }) => message);
    if (!Array.isArray(given)) {
      rows.push([...row, `fails: ${(given ?? file).slice(0, 80)}`, "", "", "", ""]);
      continue;
    }
    const same = wanted.filter(({ speech }, i) => speech > 0.5 === given[i].speech > 0.5).length;
    const agreement = (100 * same) / wanted.length;
    const largest = Math.max(...wanted.map(({ speech }, i) => Math.abs(speech - given[i].speech)));
    // Drift shows as a state that is further off the longer the model listens.
    const states = [0, 1, 2, 3].map((quarter) => {
      const range = [(wanted.length * quarter) >> 2, (wanted.length * (quarter + 1)) >> 2];
      const all = (list) => list.slice(...range).flatMap(({ state }) => [...state]);
      return fidelityOf(all(wanted), all(given)).sqnr;
    });
    const isBad = least !== undefined && (agreement < least || states[3] < states[0] - 6);
    missed ||= isBad;
    const verdict = least === undefined ? "" : isBad ? "MISSED" : "kept";
    rows.push([
      ...row,
      agreement.toFixed(2),
      largest.toFixed(3),
      states.map((db) => db.toFixed(1)).join(" "),
      least === undefined ? "" : `≥ ${least} %, last quarter within 6 dB of the first`,
      verdict,
    ]);
  }
  const header = ["weights", "KB", "agreement, %", "largest difference", "SQNR of the state by quarters, dB"];
  console.log(`### Silero VAD, ${wanted.length} chunks one after another, the state fed back\n`);
  console.log(`${markdown([...header, "bound", "verdict"], rows)}\n`);
}

async function peerStatic(model, samples, folder) {
  const [name] = Object.keys(samples[0].inputs);
  const tensors = samples.map(({ inputs }) => inputs[name]);
  writeFileSync(join(folder, "samples.json"), JSON.stringify({ input: name, dims: tensors.map(({ dims }) => dims) }));
  const bytes = tensors.map(({ data }) => Buffer.from(data.buffer, data.byteOffset, data.byteLength));
  writeFileSync(join(folder, "samples.f32"), Buffer.concat(bytes));
  const [source, target] = [join(folder, "fp32.onnx"), join(folder, "peer.onnx")];
  writeFileSync(source, bytesOf(model));
  const script = join(root, "bench", "peers", "ort_static.py");
  const { code, stderr } = await runOnce([python, script, "channel-reduced", "min-max", source, folder, target]);
  return code === 0 ? readFileSync(target) : { error: stderr.trim().split("\n").at(-1) };
}

/** Median over outputs of the SQNR of all test samples. */
function judge(wanted, given) {
  const meter = new FidelityMeter();
  wanted.forEach((outputs, i) => void meter.add(outputs, given[i]));
  return median(Object.values(meter.result()).map(({ sqnr }) => sqnr));
}

/** The layers that lose most by themselves. */
async function worstLayers(model, changed, samples) {
  const joined = joinModels(model, changed);
  const session = await openSession(joined.model, { optimization: "disabled" });
  try {
    const layers = await measureLayers(joined, session, batches(datasetOf("test", samples), { size: 1 }));
    return [...layers].sort((a, b) => a.own - b.own).slice(0, 3);
  } finally {
    await session.release();
  }
}

async function fixedModels(folder) {
  const rows = [];
  for (const name of ["ultraface_rfb320", "mlperf_vww_mobilenet_v1_025", "mlperf_ad_autoencoder"]) {
    const { path, samples: samplesFor, data } = models.get(name);
    const session = await openSession(path);
    const samples = await collect(await samplesFor(session.inputs, 192));
    await session.release();
    const [calibration, test] = [samples.slice(0, 64), samples.slice(64)];
    const model = convertOpset(await simplified(loadModel(path)), 13).model;
    const wanted = await runAll(path, test);
    const row = [name, data];
    for (const target of ["any", "node-x64"]) {
      const open = (probed) => openSession(probed);
      const result = await quantizeStatic(model, datasetOf(name, calibration), { target }, { open });
      const sqnr = judge(wanted, await runAll(result.model, test));
      row.push(sqnr.toFixed(1));
      if (target !== "any") continue;
      missed ||= sqnr < 20;
      const worst = await worstLayers(model, result.model, test.slice(0, 16));
      row.push(worst.map((layer) => `${layer.name} ${layer.own.toFixed(1)}`).join(", "));
    }
    if (!args["no-peers"]) {
      const own = join(folder, name);
      mkdirSync(own);
      const peer = await peerStatic(model, calibration, own);
      row.push(peer.error ? `fails: ${peer.error}` : judge(wanted, await runAll(peer, test)).toFixed(1));
    }
    rows.push(row);
  }
  const header = [
    "model",
    "inputs",
    "any: SQNR, dB",
    "layers that lose most by themselves, dB",
    "node-x64",
    "onnxruntime",
  ];
  console.log(
    "### Static W8A8, median SQNR of the outputs on 128 samples that were not calibrated on (bound: 20 dB)\n",
  );
  console.log(markdown(header.slice(0, args["no-peers"] ? 5 : 6), rows));
}

await inFolder(undefined, async (folder) => {
  if (args.only.includes("silero")) await silero(folder);
  if (args.only.includes("static")) await fixedModels(folder);
});
process.exitCode = missed ? 1 : 0;
