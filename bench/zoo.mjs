/** @file The models of the benches: where they lie, inputs that suit them (real ones where there are any), and how to run them. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { collect, datasetOf, take } from "../dist/data/dataset.js";
import { openData } from "../dist/data/node/open-data.js";
import { seededDataset } from "../dist/data/seeded.js";
import { runConstants } from "../dist/evaluate/run-constants.js";
import { encodeModel } from "../dist/ir/serde/encode-model.js";
import { simplify } from "../dist/passes/simplify.js";
import { writeTo } from "../dist/proto/write.js";
import { inProcessRuntime } from "../dist/runtime/in-process.js";
import { hostTensor } from "../dist/tensor/host-tensor.js";
import { MemorySink } from "../dist/util/bytes.js";

/** Folder of the repository. */
export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Where the shared models and data are when a bench is not told. */
export const defaultShared = join(root, "..", "shared");

const ocrAssets = join(root, "node_modules", "@gutenye", "ocr-models", "assets");
const vadAssets = join(root, "node_modules", "@ricky0123", "vad-web", "dist");

/** The characters that the OCR recognizer knows, a line each. */
export const ocrCharset = join(ocrAssets, "ppocr_keys_v1.txt");

const cifarLabels = { path: "cifar10-jpeg/test_y.u8.bin", dtype: "uint8" };
const cifar = {
  path: "cifar10-jpeg/test_x.u8.bin",
  dtype: "uint8",
  dims: [32, 32, 3],
  stored: "nhwc",
  labels: cifarLabels,
};
const imageNet = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };

/** Data in the shared folder, as openData takes them; paths are relative to its `data`. */
export const dataSpecs = {
  cifar: { ...cifar, scale: 1 / 255, ...imageNet },
  cifarBytes: cifar,
  keywords: {
    path: "mlperf-kws/test_x.i8.bin",
    dtype: "int8",
    dims: [1, 49, 10],
    zeroPoint: 83,
    scale: 0.5847089289276733,
    labels: { path: "mlperf-kws/test_y.u8.bin", dtype: "uint8" },
  },
  stories: { path: "stories260k/tokens.i16.bin", dtype: "int16", dims: [257], nextToken: { padding: -1 } },
  lines: { path: "ocr-lines", colour: "grey", mean: 0.5, std: 0.5 },
  linesForDetector: { path: "ocr-lines", resize: [640, 64], ...imageNet },
  linesForClassifier: { path: "ocr-lines", resize: [192, 48], mean: 0.5, std: 0.5 },
};

/** Opens data for the inputs of a model. */
export function openSpec(spec, inputs, shared) {
  return openData(spec, { inputs, folder: join(shared, "data") });
}

const shared =
  (spec) =>
  async ({ inputs, folder, count }) =>
    collect(take(await openSpec(spec, inputs, folder), count));

/** Pictures of CIFAR-10, magnified without smoothing to the model's size; (x − mean) / std. */
const magnified =
  ({ mean, std, order = [0, 1, 2] }) =>
  async ({ inputs: [input], folder, count }) => {
    const [, channels, height, width] = input.dims;
    const bytes = readFileSync(join(folder, "data", cifar.path));
    return Array.from({ length: count }, (_, index) => {
      const pixels = Float32Array.from({ length: channels * height * width }, (__, at) => {
        const [c, y, x] = [Math.floor(at / (height * width)), Math.floor(at / width) % height, at % width];
        const pixel = index * 1024 + Math.floor((y * 32) / height) * 32 + Math.floor((x * 32) / width);
        return (bytes[pixel * 3 + order[c]] - mean[c]) / std;
      });
      return { id: `#${index}`, inputs: { [input.name]: hostTensor("float32", [1, channels, height, width], pixels) } };
    });
  };

/** Two pieces of speech at a time, `length` samples at 16 kHz; states are made up. */
const speech =
  (length, states) =>
  async ({ folder, count }) => {
    const wave = readFileSync(join(folder, "data", "models", "silero_vad_test_16k.wav")).subarray(44);
    const rows = 2;
    const made = Object.entries(states).map(([name, dims]) => ({ name, dtype: "float32", dims }));
    const samples = await collect(seededDataset(made, { count }));
    return samples.map(({ id, inputs }, index) => {
      const first = (index + 1) * 100_000;
      const pcm = Float32Array.from({ length: rows * length }, (_, i) => wave.readInt16LE(2 * (first + i)) / 32768);
      return { id, inputs: { ...inputs, input: hostTensor("float32", [rows, length], pcm) } };
    });
  };

const withRate = (make) => async (request) => {
  const sr = { dtype: "int64", dims: [], data: BigInt64Array.of(16_000n) };
  return (await make(request)).map(({ id, inputs }) => ({ id, inputs: { ...inputs, sr } }));
};

const seeded =
  () =>
  async ({ inputs, count }) =>
    collect(seededDataset(inputs, { count }));

const rows = [
  { file: "mlperf_ad_autoencoder.onnx", data: "made-up frames", make: seeded() },
  { file: "mlperf_kws_dscnn.onnx", data: "mlperf-kws", make: shared(dataSpecs.keywords) },
  { file: "mlperf_resnet8_cifar10.onnx", data: "cifar10-jpeg", make: shared(dataSpecs.cifarBytes) },
  {
    file: "mlperf_vww_mobilenet_v1_025.onnx",
    data: "cifar10-jpeg, magnified",
    make: magnified({ mean: [0, 0, 0], std: 255 }),
  },
  { file: "resnet20_cifar10.onnx", data: "cifar10-jpeg", make: shared(dataSpecs.cifar) },
  { file: "resnet56_cifar10.onnx", data: "cifar10-jpeg", make: shared(dataSpecs.cifar) },
  {
    file: "squeezenet1_0_dc.onnx",
    data: "cifar10-jpeg, magnified",
    make: magnified({ mean: [104, 117, 123], std: 1, order: [2, 1, 0] }),
  },
  {
    file: "ultraface_rfb320.onnx",
    data: "cifar10-jpeg, magnified",
    make: magnified({ mean: [127, 127, 127], std: 128 }),
  },
  { file: "silero_vad_half.onnx", data: "speech", make: speech(576, { state: [2, 2, 128] }) },
  { folder: ocrAssets, file: "ch_PP-OCRv4_rec_infer.onnx", data: "ocr-lines", make: shared(dataSpecs.lines) },
  {
    folder: ocrAssets,
    file: "ch_PP-OCRv4_det_infer.onnx",
    data: "ocr-lines",
    make: shared(dataSpecs.linesForDetector),
  },
  {
    folder: ocrAssets,
    file: "ch_ppocr_mobile_v2.0_cls_infer.onnx",
    data: "ocr-lines",
    make: shared(dataSpecs.linesForClassifier),
  },
  {
    folder: vadAssets,
    file: "silero_vad_legacy.onnx",
    data: "speech",
    make: withRate(speech(1536, { h: [2, 2, 64], c: [2, 2, 64] })),
  },
  {
    folder: vadAssets,
    file: "silero_vad_v5.onnx",
    data: "speech",
    make: withRate(speech(512, { state: [2, 2, 128] })),
  },
  {
    folder: vadAssets,
    file: "silero_vad_v6.onnx",
    data: "speech",
    make: withRate(speech(512, { state: [2, 2, 128] })),
  },
  { sub: "stories260k", file: "stories260K.onnx", data: "stories260k", make: shared(dataSpecs.stories) },
];

/**
 * Every model, with `samples(inputs, count)` for inputs that suit it.
 *
 * @param {string} sharedFolder the folder that holds `data`
 */
export function zoo(sharedFolder) {
  return rows.map(({ folder, sub = "models", file, data, make }) => ({
    name: file.replace(/\.onnx$/, ""),
    path: join(folder ?? join(sharedFolder, "data", sub), file),
    data,
    samples: async (inputs, count) => datasetOf(data, await make({ inputs, folder: sharedFolder, count })),
  }));
}

/** A model's file in memory. */
export function bytesOf(model) {
  const sink = new MemorySink();
  writeTo(encodeModel(model, { external: "never" }).model, sink);
  return sink.bytes();
}

/**
 * Runs a model on samples: the outputs of each, in order. `model` is a path, bytes, or a Model.
 *
 * @param {{runtime?: string, optimization?: string}} options
 */
export async function runAll(model, samples, { runtime = "ort-node", optimization = "all" } = {}) {
  const session = await openSession(model, { runtime, optimization });
  try {
    const outputs = [];
    for await (const { inputs } of samples) outputs.push(await session.run(inputs));
    return outputs;
  } finally {
    await session.release();
  }
}

/** A session on one thread, so that sums are always split alike. */
export function openSession(model, { runtime = "ort-node", optimization = "all" } = {}) {
  const source = typeof model === "string" ? { path: model } : model instanceof Uint8Array ? model : bytesOf(model);
  return inProcessRuntime(runtime).create(source, { threads: 1, optimization });
}

/** How the command line simplifies before it quantizes. */
export const simplifyOptions = {
  evaluate: (constants) => runConstants(constants, inProcessRuntime("ort-node")),
  fixDefaults: true,
};

/** The model as the command line simplifies it before it quantizes. */
export const simplified = async (model) => (await simplify(model, simplifyOptions)).model;

/** Calls `use` with the folder to write files to: `kept`, or one that is removed afterwards. */
export async function inFolder(kept, use) {
  const folder = kept ?? mkdtempSync(join(tmpdir(), "tersor-bench-"));
  mkdirSync(folder, { recursive: true });
  try {
    return await use(folder);
  } finally {
    if (!kept) rmSync(folder, { recursive: true, force: true });
  }
}
