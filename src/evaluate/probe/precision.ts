/** @file What MatMulNBits rounds activations to at each accuracy_level, and what a runtime makes of float16. */
import type { Model } from "../../ir/model.ts";
import { parse } from "../../ir/text/index.ts";
import type { Runtime, SessionOptions } from "../../runtime/runtime.ts";
import { type HostTensor, hostTensor, numbersOf } from "../../tensor/host-tensor.ts";
import { fromNumbers } from "../../tensor/tensor.ts";
import { Rng } from "../../util/rng.ts";
import { openModel } from "../open-model.ts";
import { integers } from "./models.ts";
import { isRefusal, unlessRefused } from "./refusal.ts";

/** MatMulNBits with one setting, against the same sums in double precision. */
export interface NBitsResult {
  readonly bits: 4 | 8;
  readonly accuracyLevel: number;
  /** What the activations of a group become before they are multiplied; "refused" when the model does not run. */
  readonly activations: "float32" | "rounded" | "refused";
  /** Root mean square of the error over that of the result. */
  readonly error?: number;
  readonly reason?: string;
}

export interface Float16Result {
  /** Which operator. */
  readonly operator: "Conv" | "MatMul";
  /** float16: what an operator hands on is a float16; float32: converted around the operators, or refused. */
  readonly computes: "float16" | "float32" | "refused";
  /** Sums within the operator hold values beyond 65,504 on the way. */
  readonly widerSums?: boolean;
  readonly reason?: string;
}

const [DEPTH, COLUMNS, GROUP] = [128, 16, 32];
const levels = [0, 1, 2, 3, 4] as const;
/** Float32 sums differ by about 1e-7, float16 by 3e-4 (half of that for what is rounded once), int8 by 3e-3. */
const ROUNDED_FROM = 2e-5;

/** @throws aborted */
export async function measureNBits(runtime: Runtime, options: SessionOptions): Promise<NBitsResult[]> {
  const results: NBitsResult[] = [];
  for (const bits of [4, 8] as const)
    for (const accuracyLevel of levels) {
      const about = { bits, accuracyLevel };
      const result = await unlessRefused(() => nbitsError(bits, accuracyLevel, runtime, options));
      if (isRefusal(result)) results.push({ ...about, ...result, activations: "refused" });
      else results.push({ ...about, ...result, activations: result.error < ROUNDED_FROM ? "float32" : "rounded" });
    }
  return results;
}

async function nbitsError(bits: 4 | 8, level: number, runtime: Runtime, options: SessionOptions) {
  const groups = DEPTH / GROUP;
  const bytes = integers("uint8", [COLUMNS, groups, (GROUP * bits) / 8], 0, 255);
  const rng = new Rng(4, "probe nbits");
  const scales = Float64Array.from({ length: COLUMNS * groups }, () => Math.fround(0.01 + 0.01 * rng.uniform()));
  const x = hostTensor(
    "float32",
    [4, DEPTH],
    Float64Array.from({ length: 4 * DEPTH }, () => rng.normal()),
  );
  const model = parse`(float[4,${DEPTH}] x) => (y)
    <uint8[${COLUMNS},${groups},${(GROUP * bits) / 8}] w = ${bytes}, float[${scales.length}] s = ${fromNumbers("float32", [scales.length], scales)}>
    { y = com.microsoft.MatMulNBits <K = ${DEPTH}, N = ${COLUMNS}, bits = ${bits}, block_size = ${GROUP}, accuracy_level = ${level}> (x, w, s) }`;
  const y = await outputOf(model, x, runtime, options);
  const codes = bytes.toNumbers();
  const code = (n: number, k: number) => {
    const at = n * DEPTH + k;
    return bits === 8 ? (codes[at] as number) : ((codes[at >> 1] as number) >> (at % 2 === 0 ? 0 : 4)) & 15;
  };
  let [errors, power] = [0, 0];
  for (let i = 0; i < y.length; i++) {
    const [m, n] = [Math.floor(i / COLUMNS), i % COLUMNS];
    let sum = 0;
    for (let k = 0; k < DEPTH; k++) {
      const weight = (code(n, k) - 2 ** (bits - 1)) * (scales[n * groups + Math.floor(k / GROUP)] as number);
      sum += Number(x.data[m * DEPTH + k]) * weight;
    }
    errors += ((y[i] as number) - sum) ** 2;
    power += sum ** 2;
  }
  return { error: Math.sqrt(errors / power) };
}

interface Float16Case {
  readonly operator: Float16Result["operator"];
  readonly dims: readonly number[];
  readonly weightDims: readonly number[];
}

const float16Cases: readonly Float16Case[] = [
  { operator: "Conv", dims: [1, 4, 1, 1], weightDims: [4, 4, 1, 1] },
  { operator: "MatMul", dims: [1, 4], weightDims: [4, 4] },
];

/** @throws aborted */
export async function measureFloat16(runtime: Runtime, options: SessionOptions): Promise<Float16Result[]> {
  const results: Float16Result[] = [];
  for (const { operator, dims, weightDims } of float16Cases) {
    const model = (first: readonly number[]): Model => {
      const filled = (row: readonly number[]) =>
        fromNumbers(
          "float16",
          weightDims,
          Array.from({ length: 16 }, (_, i) => row[operator === "Conv" ? i % 4 : i >> 2] as number),
        );
      return parse`(float[${dims.join()}] x) => (y)
        <float16[${weightDims.join()}] w = ${filled(first)}, float16[${weightDims.join()}] v = ${filled([0.001, 0, 0, 0])}>
        { h = Cast <to = 10> (x) a = ${operator} (h, w) b = ${operator} (a, v) y = Cast <to = 1> (b) }`;
    };
    const x = hostTensor("float32", dims, [1000, 1000, 1000, 1000]);
    const result = await unlessRefused(async () => {
      // 100,000 is handed on to the second layer, then made small; or 60,000 twice within a sum that ends at 0.
      const [handed] = Array.from(await outputOf(model([100, 0, 0, 0]), x, runtime, options));
      const [summed] = Array.from(await outputOf(model([60, 60, -60, -60]), x, runtime, options));
      return { handed: Number(handed), summed: Number(summed) };
    });
    if (isRefusal(result)) results.push({ operator, ...result, computes: "refused" });
    else {
      const computes = Number.isFinite(result.handed) ? "float32" : "float16";
      results.push({ operator, computes, widerSums: Number.isFinite(result.summed) });
    }
  }
  return results;
}

async function outputOf(model: Model, x: HostTensor, runtime: Runtime, options: SessionOptions) {
  const session = await openModel(model, runtime, options);
  try {
    const { y } = await session.run({ x }, ["y"], options);
    return y ? numbersOf(y, "probe") : [];
  } finally {
    await session.release();
  }
}
