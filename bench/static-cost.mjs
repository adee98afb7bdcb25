/**
 * @file What static quantization costs: `tersor quantize --calibrate` against ONNX Runtime's Python tool, as whole processes, in turns.
 *
 * Usage: node bench/static-cost.mjs [--methods min-max,percentile,entropy] [--rounds N] [--images N]
 * Needs `npm run build` and `bench/setup-python.sh`; the peer takes up to 8 GB of memory. A model of ResNet-50's shape, 64 pictures, weights
 * in int8 per channel. Exit code 1 when a bound is missed.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { encodeNpy } from "../dist/data/npy.js";
import { hostTensor } from "../dist/tensor/host-tensor.js";
import { markdown, measure, ratio, resourceTable } from "./measure.mjs";
import { pictures, resnet50 } from "./resnet50.mjs";
import { bytesOf, inFolder, root } from "./zoo.mjs";

const { values: args } = parseArgs({
  options: {
    methods: { type: "string", default: "min-max,percentile,entropy" },
    rounds: { type: "string", default: "1" },
    images: { type: "string", default: "64" },
  },
});
const count = Number(args.images);
const methods = args.methods.split(",");

/** [ours, quantity, at most]: of what the peer needs with the same method. */
const bounds = [
  ["min-max", "cpu", 0.5],
  ["percentile", "cpu", 0.3],
  ["percentile", "peakMiB", 0.15],
  ["entropy", "cpu", 0.3],
  ["entropy", "peakMiB", 0.15],
];

const ours = (method, extra = "") => ({
  name: `tersor ${method}${extra && " without bias correction"}`,
  command: (folder) => (out) => [
    ...[process.execPath, join(root, "dist", "bin", "tersor.js"), "quantize", join(folder, "model.onnx")],
    ...["--calibrate", join(folder, "samples.npy"), "--calibration", method, "--target", "node-x64", "--quiet"],
    ...["-o", join(out, "model.onnx"), ...(extra ? [extra] : [])],
  ],
});
const peer = (method) => ({
  name: `onnxruntime ${method}`,
  command: (folder) => (out) => [
    ...[join(root, ".venv", "bin", "python"), join(root, "bench", "peers", "ort_static.py"), "channel-reduced"],
    ...[method, join(folder, "model.onnx"), folder, join(out, "model.onnx")],
  ],
});

await inFolder(undefined, async (folder) => {
  writeFileSync(join(folder, "model.onnx"), bytesOf(resnet50()));
  const data = pictures(count);
  writeFileSync(join(folder, "samples.npy"), encodeNpy(hostTensor("float32", [count, 3, 224, 224], data)));
  writeFileSync(join(folder, "samples.f32"), data);
  const dims = Array.from({ length: count }, () => [1, 3, 224, 224]);
  writeFileSync(join(folder, "samples.json"), JSON.stringify({ input: "x", dims }));
  const outFolder = join(folder, "out");
  mkdirSync(outFolder);
  const jobs = methods
    .flatMap((method) => [ours(method), ours(method, "--no-correct-bias"), peer(method)])
    .map(({ name, command }) => ({ name, command: command(folder) }));
  const log = (text) => console.error(text);
  const results = await measure(jobs, { rounds: Number(args.rounds), outFolder, log });
  console.log(`${resourceTable(results.values())}\n`);
  const rows = bounds
    .filter(([method]) => methods.includes(method))
    .map(([method, quantity, limit]) => {
      const value = ratio(results.get(`tersor ${method}`), results.get(`onnxruntime ${method}`), quantity);
      const verdict = Number.isNaN(value) ? "not measured" : value <= limit ? "kept" : "MISSED";
      return [method, `${quantity} / onnxruntime`, `≤ ${limit}`, value.toPrecision(2), verdict];
    });
  console.log(markdown(["method", "quantity", "bound", "measured", "verdict"], rows));
  process.exitCode = rows.every((row) => row.at(-1) === "kept") ? 0 : 1;
});
