/**
 * @file AWQ's scaling: input channels with large activations get finer weights, by a factor that the layer before divides out
 * (Lin et al. 2023, https://arxiv.org/abs/2306.00978). Factors are mean |x|^alpha; alpha is searched.
 *
 * Deviation: the error of a candidate is that of the second moments, d^T H d summed over outputs, instead of the error on a sample of
 * tokens; of many outputs it is summed over evenly spaced ones.
 */
import * as z from "zod";
import { kernels } from "../../kernels/index.ts";
import { largestOf, leastOf } from "../../util/append.ts";
import { TersorError } from "../../util/errors.ts";
import { parseOptions } from "../../util/options.ts";
import type { QuantSpec } from "../grid/spec.ts";
import { dequantizeMatrix, hessianOf, matrixParams, nearestCodes, place } from "../methods/matrix.ts";
import type { LayerStats, WeightMatrix } from "../methods/method.ts";

export const awqScaleOptions = z.strictObject({
  steps: z.int().min(1).max(100).default(20).describe("values of alpha between 0 and 1"),
  outputs: z.int().min(1).default(128).describe("outputs of each layer that candidates are judged by"),
});

export interface InputScale {
  /** Factor on each input's weights, [k]; the input is divided by it. */
  readonly inputScale: Float32Array;
  readonly alpha: number;
  /** Error at the output over that of alpha 0: at most 1. */
  readonly ratio: number;
}

/**
 * The factors of least error for layers that read the same input (such as q, k and v), their weights quantized by `spec`.
 * @throws bad-data when a statistic is missing or of the wrong length
 */
export function searchInputScale(
  matrices: readonly WeightMatrix[],
  spec: QuantSpec,
  stats: LayerStats,
  options: z.input<typeof awqScaleOptions> = {},
): InputScale {
  const { steps, outputs } = parseOptions(awqScaleOptions, options, "awq");
  const samples = matrices.map((matrix) => someOutputs(matrix, outputs));
  const [first] = samples;
  if (!first) throw new TersorError("internal", "a scale search without layers.");
  const hessian = hessianOf(first, stats, "awq");
  const meanAbs = meanAbsOf(first, stats);
  const { memory, linalg } = kernels();
  return memory.scope(() => {
    const h = memory.alloc32(first.k ** 2);
    memory.f32(h, first.k ** 2).set(hessian);
    linalg.mirrorUpper(first.k, h);
    let best: InputScale = { inputScale: new Float32Array(first.k).fill(1), alpha: 0, ratio: 1 };
    let start = 0;
    for (let step = 0; step < steps; step++) {
      const alpha = step / steps;
      const inputScale = factors(meanAbs, alpha);
      const error = samples.reduce((sum, matrix) => sum + scaledError(matrix, spec, h, inputScale), 0);
      if (step === 0) start = error;
      else if (error < best.ratio * start) best = { inputScale, alpha, ratio: error / start };
    }
    return best;
  });
}

function meanAbsOf({ name, k }: WeightMatrix, { meanAbs }: LayerStats): Float32Array {
  if (meanAbs?.length === k) return meanAbs;
  throw new TersorError(
    "bad-data",
    `awq: weight "${name}": wrong statistics of its input: expected mean |x| [${k}], got ${meanAbs ? `${meanAbs.length} numbers` : "none"}. Give calibration data.`,
  );
}

/** Evenly spaced columns of a matrix; all where they share scales. */
function someOutputs(matrix: WeightMatrix, outputs: number): WeightMatrix {
  const { k, n, data, fold } = matrix;
  if (n <= outputs || fold > 1) return matrix;
  const columns = Array.from({ length: outputs }, (_, i) => Math.floor((i * n) / outputs));
  const sample = Float32Array.from({ length: k * outputs }, (_, i) => {
    const row = Math.floor(i / outputs);
    return data[row * n + (columns[i % outputs] as number)] as number;
  });
  return { ...matrix, n: outputs, data: sample, fixed: undefined };
}

/** mean |x|^alpha over the geometric middle of its range, so that weights keep their size. */
function factors(meanAbs: Float32Array, alpha: number): Float32Array {
  const raw = Float64Array.from(meanAbs, (mean) => Math.max(mean ** alpha, 1e-4));
  const middle = Math.sqrt(largestOf(raw) * leastOf(raw));
  return Float32Array.from(raw, (value) => value / middle);
}

/** Sum over outputs of d^T H d, d the error of the weights quantized under the factors. */
function scaledError(matrix: WeightMatrix, spec: QuantSpec, h: number, inputScale: Float32Array): number {
  const { memory, linalg } = kernels();
  const { k, n } = matrix;
  const scaled = { ...matrix, data: matrix.data.map((w, i) => w * (inputScale[Math.floor(i / n)] as number)) };
  return memory.scope(() => {
    const x = place(scaled);
    const values = dequantizeMatrix(scaled, spec, nearestCodes(scaled, spec, x, matrixParams(scaled, spec, x)));
    const delta = memory.alloc32(k * n);
    const product = memory.alloc32(k * n);
    memory
      .f32(delta, k * n)
      .set(values.map((v, i) => ((scaled.data[i] as number) - v) / (inputScale[Math.floor(i / n)] as number)));
    memory.f32(product, k * n).fill(0);
    const b = { at: delta, stride: n };
    linalg.gemmTn({ m: k, n, k, a: { at: h, stride: k }, b, c: { at: product, stride: n } });
    const [left, right] = [memory.f32(delta, k * n), memory.f32(product, k * n)];
    let error = 0;
    for (let i = 0; i < left.length; i++) error += (left[i] as number) * (right[i] as number);
    return error;
  });
}
