/** @file How fast a runtime's quantized kernels are, each against float32 in turns. */
import type { Model } from "../../ir/model.ts";
import { parse } from "../../ir/text/index.ts";
import type { Runtime, Session, SessionOptions } from "../../runtime/runtime.ts";
import type { KernelName } from "../../targets/target.ts";
import { type HostTensor, hostTensor } from "../../tensor/host-tensor.ts";
import { elementCount, fromNumbers } from "../../tensor/tensor.ts";
import { invariant } from "../../util/errors.ts";
import { measureLatency, type TimedRuns } from "../latency.ts";
import { openModel } from "../open-model.ts";
import { type ChainLayer, floatChain, integers, normal, quantizedChain, type WeightCodes } from "./models.ts";
import { unlessRefused } from "./refusal.ts";

/** Times of a kernel: milliseconds, and how many times faster than float32 (median of rounds, and their middle half). */
export interface KernelTime {
  readonly ms: number;
  readonly speed: number;
  readonly low: number;
  readonly high: number;
}

export interface SpeedResult {
  readonly kernel: KernelName;
  /** What was timed, such as "two of 64x512x512". */
  readonly about: string;
  /** Of MatMulNBits. */
  readonly accuracyLevel?: 0 | 4;
  /** Milliseconds of float32, or of what `about` says it is measured against. */
  readonly baseMs?: number;
  readonly time?: KernelTime;
  /** The runtime's words, when it refused a model. */
  readonly reason?: string;
}

interface Comparison {
  readonly kernel: KernelName;
  readonly about: string;
  readonly accuracyLevel?: 0 | 4;
  /** Shape of the input x. */
  readonly dims: readonly number[];
  /** The two models: of float32, and of the kernel. */
  models(weights: WeightCodes): readonly [base: Model, candidate: Model];
}

const image = [1, 64, 28, 28];
const conv: ChainLayer = { text: "Conv <pads = [1,1,1,1]>", dims: [64, 64, 3, 3], axis: 0 };
const pointwise: ChainLayer = { text: "Conv", dims: [64, 64, 1, 1], axis: 0 };
const depthwise: ChainLayer = { text: "Conv <pads = [1,1,1,1], group = 64>", dims: [64, 1, 3, 3], axis: 0 };
const rows = [64, 512];
const matmul: ChainLayer = { text: "MatMul", dims: [512, 512], axis: 1 };
const gemm: ChainLayer = { text: "Gemm <transB = 1>", dims: [512, 512], axis: 0 };

const chain =
  (dims: readonly number[], layer: ChainLayer): Comparison["models"] =>
  (weights) => [floatChain(dims, [layer, layer], "float"), quantizedChain(dims, [layer, layer], weights)];

/** Fastest where the kernel is well fed: the sizes are those of small networks, not of benchmarks. */
const comparisons: readonly Comparison[] = [
  { kernel: "Conv", about: "two of 3x3, 64 channels, 28x28", dims: image, models: chain(image, conv) },
  {
    kernel: "Conv depthwise",
    about: "3x3, 64 channels, 28x28, between two integer 1x1, against the same with float32 in the middle",
    dims: image,
    models: (weights) => [
      quantizedChain(image, [pointwise, { ...depthwise, isFloat: true }, pointwise], weights),
      quantizedChain(image, [pointwise, depthwise, pointwise], weights),
    ],
  },
  { kernel: "MatMul", about: "two of 64x512x512", dims: rows, models: chain(rows, matmul) },
  { kernel: "Gemm", about: "two of 64x512x512", dims: rows, models: chain(rows, gemm) },
  {
    kernel: "MatMulInteger",
    about: "64x512x512 with DynamicQuantizeLinear",
    dims: rows,
    models: (weights) => [floatChain(rows, [matmul], "float"), dynamic(rows, matmul.dims, "MatMulInteger", weights)],
  },
  {
    kernel: "ConvInteger",
    about: "3x3, 64 channels, 28x28 with DynamicQuantizeLinear, uint8 weights",
    dims: image,
    // As dynamic quantization writes it: ConvInteger is slow with int8 weights.
    models: () => [
      floatChain(image, [conv], "float"),
      dynamic(image, conv.dims, "ConvInteger <pads = [1,1,1,1]>", { dtype: "uint8", bits: 8 }),
    ],
  },
  {
    kernel: "DynamicQuantizeLSTM",
    about: "128 units, 16 steps",
    dims: [16, 1, 128],
    models: (weights) => [lstm(), quantizedLstm(weights)],
  },
  ...([4, 0] as const).map(
    (level): Comparison => ({
      kernel: "MatMulNBits",
      about: `4 bits in groups of 32, accuracy_level ${level}, one row of 1024x1024`,
      accuracyLevel: level,
      dims: [1, 1024],
      models: () => [floatChain([1, 1024], [{ ...matmul, dims: [1024, 1024] }], "float"), nbits(level)],
    }),
  ),
  {
    kernel: "float16",
    about: "two Conv of 3x3, 64 channels, 28x28",
    dims: image,
    models: () => [floatChain(image, [conv, conv], "float"), floatChain(image, [conv, conv], "float16")],
  },
];

export const comparisonCount = comparisons.length;

function dynamic(dims: readonly number[], size: readonly number[], op: string, { dtype, bits }: WeightCodes): Model {
  const zero = dtype === "uint8" ? 128 : 0;
  const limit = bits === 8 ? 127 : 63;
  return parse`(float[${dims.join()}] x) => (y)
    <${dtype}[${size.join()}] w = ${integers(dtype, size, zero - limit, zero + limit)}, ${dtype} wz = {${zero}}, float ws = {0.001}>
    { q, s, z = DynamicQuantizeLinear(x) i = ${op} (q, w, z, wz) f = Cast <to = 1> (i) t = Mul(s, ws) y = Mul(f, t) }`;
}

const lstmDims = { w: [1, 512, 128], packed: [1, 128, 512], bias: [1, 1024] };

function lstm(): Model {
  const { w, bias } = lstmDims;
  return parse`(float[16,1,128] x) => (y) <float[${w.join()}] w = ${normal(w)}, float[${w.join()}] r = ${normal(w)}, float[${bias.join()}] b = ${normal(bias)}>
    { y = LSTM <hidden_size = 128> (x, w, r, b) }`;
}

function quantizedLstm({ dtype, bits }: WeightCodes): Model {
  const { packed, bias } = lstmDims;
  const zero = dtype === "uint8" ? 128 : 0;
  const limit = bits === 8 ? 127 : 63;
  const codes = integers(dtype, packed, zero - limit, zero + limit);
  return parse`(float[16,1,128] x) => (y)
    <${dtype}[${packed.join()}] w = ${codes}, ${dtype}[${packed.join()}] r = ${codes}, float[${bias.join()}] b = ${normal(bias)}, float[1] s = {0.001}, ${dtype}[1] z = {${zero}}>
    { y = com.microsoft.DynamicQuantizeLSTM <hidden_size = 128> (x, w, r, b, , , , , s, z, s, z) }`;
}

function nbits(level: number): Model {
  const scales = fromNumbers("float32", [1024 * 32], new Float64Array(1024 * 32).fill(0.01));
  return parse`(float[1,1024] x) => (y) <uint8[1024,32,16] w = ${integers("uint8", [1024, 32, 16], 0, 255)}, float[${1024 * 32}] s = ${scales}>
    { y = com.microsoft.MatMulNBits <K = 1024, N = 1024, bits = 4, block_size = 32, accuracy_level = ${level}> (x, w, s) }`;
}

export interface SpeedOptions extends SessionOptions {
  /** Milliseconds that one comparison may take, warm-up apart, a little more in the end. 1000 when absent. */
  readonly budgetMs?: number;
  /** Milliseconds that each model is run for before anything counts. 0 when absent, which is 3 runs. */
  readonly warmUpMs?: number;
  /** After each comparison. */
  readonly onComparison?: (done: number) => void;
}

/**
 * Times every kernel against float32, in turns.
 * @param weights codes of integer layers, as the target will have them
 * @throws aborted
 */
export async function measureSpeeds(
  runtime: Runtime,
  weights: WeightCodes,
  { budgetMs = 1000, warmUpMs = 0, onComparison = () => {}, ...session }: SpeedOptions = {},
): Promise<SpeedResult[]> {
  const results: SpeedResult[] = [];
  for (const comparison of comparisons) {
    results.push(await compare(comparison, runtime, weights, { budgetMs, warmUpMs }, session));
    onComparison(results.length);
  }
  return results;
}

async function compare(
  { kernel, about, accuracyLevel, dims, models }: Comparison,
  runtime: Runtime,
  weights: WeightCodes,
  { budgetMs, warmUpMs }: Required<Pick<SpeedOptions, "budgetMs" | "warmUpMs">>,
  options: SessionOptions,
): Promise<SpeedResult> {
  const sessions: Session[] = [];
  const values = new Float64Array(elementCount(dims)).map((_, i) => ((i * 37) % 64) / 32 - 1);
  const x: HostTensor = hostTensor("float32", dims, values);
  const result = await unlessRefused(async () => {
    for (const model of models(weights)) sessions.push(await openModel(model, runtime, options));
    const [base, candidate] = sessions.map((session) => (runs: number) => session.time({ x }, runs, options));
    invariant(base && candidate, "a comparison has two models");
    for (const time of [base, candidate]) await warmUp(time, warmUpMs);
    const { signal } = options;
    const counts = { warmup: 0, rounds: 25, runs: 3 };
    const report = await measureLatency({ base, candidate }, { ...counts, budgetMs, ...(signal && { signal }) });
    const { ratio = 1, low = 1, high = 1 } = report.ratios.candidate ?? {};
    return {
      baseMs: report.models.base?.p50 ?? Number.NaN,
      time: { ms: report.models.candidate?.p50 ?? Number.NaN, speed: 1 / ratio, low: 1 / high, high: 1 / low },
    };
  }).finally(() => Promise.all(sessions.map((session) => session.release())));
  return { kernel, about, ...(accuracyLevel !== undefined && { accuracyLevel }), ...result };
}

/** Runs a model for a time, three times at least. */
async function warmUp(time: TimedRuns, ms: number): Promise<void> {
  const end = performance.now() + ms;
  do await time(3);
  while (performance.now() < end);
}
