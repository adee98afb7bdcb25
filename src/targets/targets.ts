/** @file The targets that Tersor knows, one row each. Measured with ONNX Runtime 1.30 unless the evidence says otherwise. */
import { TersorError } from "../util/errors.ts";
import { nearestNames } from "../util/nearest.ts";
import { parseOptions } from "../util/options.ts";
import { avx2, avx512Vnni, wasmSimd } from "./costs.ts";
import { type KernelFact, type KernelName, type Target, type TargetOptions, targetSchema } from "./target.ts";

type Kernels = Partial<Record<KernelName, KernelFact>>;

/** What the CPU kernels of ONNX Runtime have on every machine. Speeds: one thread, AVX2 without VNNI. */
const cpuKernels: Kernels = {
  Conv: { runs: "integer", speed: 1.9, note: "3x3, 64 channels, 56x56: 1.5 ms, float32 2.9 ms" },
  "Conv depthwise": {
    runs: "integer",
    note: "alone 0.34 ms, float32 0.22 ms; but between integer layers leaving it float costs more: PP-OCRv4 0.79 of float32's time, 0.57 with it",
  },
  MatMul: { runs: "integer", speed: 2.4, note: "128x1024x1024: 1.6 ms, float32 3.9 ms" },
  Gemm: { runs: "integer", speed: 2.4 },
  Add: { runs: "integer" },
  Mul: { runs: "integer" },
  Concat: { runs: "integer" },
  Sigmoid: { runs: "integer" },
  LeakyRelu: { runs: "integer" },
  AveragePool: { runs: "integer" },
  GlobalAveragePool: { runs: "integer" },
  MatMulInteger: { runs: "integer", speed: 2.4 },
  ConvInteger: {
    runs: "integer",
    speed: 1.1,
    note: "3x3, 64 channels, 28x28, uint8 weights: 0.64 ms, float32 0.69 ms; int8 weights 2.45 ms",
  },
  DynamicQuantizeLSTM: { runs: "integer" },
  MatMulNBits: {
    runs: "integer",
    speed: 1.2,
    note: "4 bits at accuracy_level 4; level 0 is slower than float32 for one row",
  },
  GatherBlockQuantized: { runs: "integer" },
  float16: { runs: "float", note: "Cast to float32 is inserted" },
};

const wasmKernels: Kernels = {
  ...cpuKernels,
  Conv: { runs: "integer", speed: 1.9, note: "3x3, 64 channels, 56x56: 7.6 ms, float32 14.6 ms" },
  "Conv depthwise": {
    runs: "integer",
    speed: 0.22,
    note: "3.4 ms, float32 0.74 ms; PP-OCRv4 takes 1.36 of float32's time with it, 0.74 without",
  },
  MatMul: { runs: "integer", speed: 2, note: "128 rows: 5.7 ms, float32 11.6 ms; one row is slower than float32" },
  Gemm: { runs: "integer", speed: 2 },
  MatMulInteger: { runs: "integer", speed: 2 },
  ConvInteger: {
    runs: "integer",
    speed: 2.2,
    note: "3x3, 64 channels, 28x28, uint8 weights: 1.3 ms, float32 2.9 ms; int8 weights 16.5 ms",
  },
  MatMulNBits: { runs: "float", speed: 0.8, note: "one row: 3.0 ms, float32 0.1 ms; smaller, not faster" },
};

const floatOnGpu = "the GPU computes it in float, QuantizeLinear runs on the CPU with copies";
const onCpu = "no GPU kernel: falls back to wasm";
const gpuKernels: Kernels = {
  ...(Object.fromEntries(
    Object.keys(cpuKernels).map((name) => [name, { runs: "float", note: floatOnGpu }]),
  ) as Kernels),
  MatMulInteger: { runs: "fallback", note: onCpu },
  ConvInteger: { runs: "fallback", note: onCpu },
  DynamicQuantizeLSTM: { runs: "fallback", note: onCpu },
  MatMulNBits: {
    runs: "integer",
    note: "2, 4 and 8 bits; the older JSEP bundle has 4 bits right only for blocks of 16 and 32",
  },
  GatherBlockQuantized: { runs: "integer", note: "uint8 data with bits = 4 and explicit zero points" },
  float16: {
    runs: "integer",
    note: "needs shader-f16: without it the native provider refuses the model, and JSEP gives wrong results",
  },
};

const saturation =
  "AVX2 and AVX-512 without VNNI sum pairs of 8-bit products in 16 bits (VPMADDUBSW): int8 weights per channel were off by 1 to 10 % of the output, weights within ±64 and uint8 weights by less than 3e-7";
const blocked = {
  depthwise: 16,
  note: "grouped convolutions whose channels are no multiple of the block (8 with AVX2, 16 with AVX-512) leave the blocked layout. With AVX-512, 30 % of the MACs cut: DS-CNN 4.1 times as slow as whole with any width, 0.83 in multiples of 16; inverted residuals 2.8 and 0.75",
};
const protobufLimit = 2 ** 31 - 1;

const rows: readonly TargetOptions[] = [
  {
    name: "node-x64",
    summary: "onnxruntime-node on x86-64, AVX2 without VNNI assumed.",
    runtime: "ort-node",
    saturates: true,
    weights: { dtype: "int8", bits: 7, perChannel: true },
    accuracyLevel: 4,
    sparseInitializers: true,
    costs: [avx2],
    kernels: cpuKernels,
    widths: blocked,
    limits: { modelBytes: protobufLimit },
    evidence: [saturation, 'the session option x64quantprecision = "1" makes int8 weights exact, but slower'],
  },
  {
    name: "node-x64-vnni",
    summary: "onnxruntime-node on x86-64 with VNNI: exact with all 8 bits.",
    runtime: "ort-node",
    saturates: false,
    weights: { dtype: "int8", bits: 8, perChannel: true },
    accuracyLevel: 4,
    sparseInitializers: true,
    costs: [avx512Vnni],
    kernels: cpuKernels,
    widths: blocked,
    limits: { modelBytes: protobufLimit },
    evidence: ["VPDPBUSD sums in 32 bits (ONNX Runtime's quantization guide); speeds are those of AVX2"],
  },
  {
    name: "node-arm64",
    summary: "onnxruntime-node on 64-bit Arm: exact, dot product instructions.",
    runtime: "ort-node",
    saturates: false,
    weights: { dtype: "int8", bits: 8, perChannel: true },
    accuracyLevel: 4,
    sparseInitializers: true,
    kernels: cpuKernels,
    limits: { modelBytes: protobufLimit },
    evidence: ["no saturation on Arm (ONNX Runtime's quantization guide); speeds were not measured there"],
  },
  {
    name: "web-wasm",
    summary: "onnxruntime-web in WebAssembly with SIMD: exact; depthwise convolutions stay float.",
    runtime: "ort-web",
    executionProvider: "wasm",
    saturates: false,
    weights: { dtype: "int8", bits: 8, perChannel: true },
    accuracyLevel: 4,
    costs: [wasmSimd],
    kernels: wasmKernels,
    limits: { modelBytes: protobufLimit, memoryBytes: 4 * 2 ** 30 },
    evidence: [
      "wasm multiplies in 16 and sums in 32 bits: exact in every case tried",
      "one ArrayBuffer holds about 2 GB in Chrome; Safari on iOS ends tabs well before 4 GB",
      "the wasm inside onnxruntime-web/webgpu has no GatherBlockQuantized and no float8, and refuses sparse initializers, which the plain build loads",
    ],
  },
  {
    name: "web-webgpu",
    summary: "onnxruntime-web on WebGPU: weight-only formats and float16; no integer activations.",
    runtime: "ort-web",
    executionProvider: "webgpu",
    saturates: false,
    weights: { dtype: "int8", bits: 8, perChannel: true },
    accuracyLevel: 4,
    kernels: gpuKernels,
    limits: { modelBytes: protobufLimit, tensorBytes: 128 * 2 ** 20, memoryBytes: 4 * 2 ** 30 },
    evidence: [
      "the JSEP bundle computes QDQ models wrongly; the native WebGPU provider computes them in float",
      "the default limit of a storage buffer is 128 to 256 MiB",
    ],
  },
  {
    name: "any",
    summary: "Safe everywhere: exact on every CPU and in wasm, whatever the machine turns out to be.",
    runtime: "ort-node",
    saturates: true,
    weights: { dtype: "int8", bits: 7, perChannel: true },
    accuracyLevel: 4,
    costs: [avx512Vnni, avx2, wasmSimd],
    kernels: { ...cpuKernels, "Conv depthwise": wasmKernels["Conv depthwise"] as KernelFact },
    widths: blocked,
    limits: { modelBytes: protobufLimit, tensorBytes: 128 * 2 ** 20 },
    evidence: [saturation, "depthwise convolutions stay float as on web-wasm"],
  },
];

/** Every target, in the order in which lists show them. */
export const targets: readonly Target[] = rows.map((row) => targetSchema.parse(row));

/** The target of a name. @throws bad-recipe that names the nearest ones. */
export function targetNamed(name: string): Target {
  const found = targets.find((target) => target.name === name);
  if (found) return found;
  const names = targets.map((target) => target.name);
  const near = nearestNames(name, names);
  throw new TersorError(
    "bad-recipe",
    `target "${name}": there is no such target: expected ${names.join(", ")}, or the path of a JSON file.${near.length > 0 ? ` Nearest: ${near.join(", ")}.` : ""}`,
  );
}

/** A target from the contents of a JSON file; `subject` (its path) opens messages. @throws bad-recipe for unknown keys and wrong values. */
export function parseTarget(value: unknown, subject: string): Target {
  return parseOptions(targetSchema, value, `${subject}: is no target`);
}
