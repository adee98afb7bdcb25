/**
 * @file AWQ's clipping: every group's scale is shrunk as far as it lowers the error at the layer's output, then weights are rounded to
 * nearest (Lin et al. 2023, https://arxiv.org/abs/2306.00978, section 3.2 and the authors' auto_clip). The activation-aware scaling
 * of input channels, which needs the layer before, is equalize/awq.ts.
 *
 * Deviation: the error is that of the layer's second moments, sum of d^T H d over a group's weight errors d, instead of the error on a
 * sample of tokens: the same mean without the sample's noise. Groups beyond 128 inputs count correlations within 128 inputs only.
 */
import * as z from "zod";
import { kernels, type Pointer } from "../../kernels/index.ts";
import { dtypeInfo } from "../../tensor/dtype.ts";
import { roundToType, type ScaleParams } from "../grid/scales.ts";
import type { QuantSpec } from "../grid/spec.ts";
import { hessianOf, matrixParams, nearestCodes, place, rangeOf, spread } from "./matrix.ts";
import type { QuantMethod, WeightMatrix } from "./method.ts";

const options = z.strictObject({
  smallest: z.number().gt(0).max(1).default(0.5).describe("least share of a scale that is tried"),
  steps: z.int().min(1).max(100).default(10).describe("shares between 1 and the least one"),
});

export type AwqOptions = z.output<typeof options>;

/** Inputs whose correlations count together. */
const BLOCK = 128;

export const awq: QuantMethod<AwqOptions> = {
  name: "awq",
  paper: "Lin et al. 2023, https://arxiv.org/abs/2306.00978",
  summary: "shrinks each scale as far as it lowers the error at the output",
  options,
  needs: "hessian",

  quantize(matrix, spec, stats, { smallest, steps }) {
    const { memory, linalg } = kernels();
    const { k } = matrix;
    const hessian = hessianOf(matrix, stats, "awq");
    return memory.scope(() => {
      const x = place(matrix);
      const params = matrixParams(matrix, spec, x);
      if (matrix.fixed) return nearestCodes(matrix, spec, x, params);
      const h = memory.alloc32(k * k);
      memory.f32(h, k * k).set(hessian);
      linalg.mirrorUpper(k, h);
      const ratios = Array.from({ length: steps + 1 }, (_, i) => 1 - ((1 - smallest) * i) / steps);
      const clipped = clip(matrix, spec, x, h, params, ratios);
      return nearestCodes(matrix, spec, x, clipped);
    });
  },
};

/** The scales with, for each, the ratio of least error; the first of equals wins. */
function clip(
  matrix: WeightMatrix,
  spec: QuantSpec,
  x: Pointer,
  h: Pointer,
  params: ScaleParams,
  ratios: readonly number[],
): ScaleParams {
  const { k, n, groupSize, fold, dtype } = matrix;
  const perGroup = n / fold;
  const least = new Float64Array(params.scales.length).fill(Number.POSITIVE_INFINITY);
  const scales = params.scales.slice();
  for (const ratio of ratios) {
    const shrunk = roundToType({ ...params, scales: params.scales.map((scale) => scale * ratio) }, dtype);
    const errors = new Float64Array(params.scales.length);
    for (let row = 0; row < k; ) {
      const group = Math.floor(row / groupSize);
      const rows = Math.min(BLOCK, (group + 1) * groupSize - row, k - row);
      const block = outputErrors(matrix, spec, { x, h, row, rows, group }, shrunk);
      block.forEach((error, j) => {
        const slice = group * perGroup + Math.floor(j / fold);
        errors[slice] = (errors[slice] as number) + error;
      });
      row += rows;
    }
    errors.forEach((error, slice) => {
      if (error >= (least[slice] as number)) return;
      least[slice] = error;
      scales[slice] = shrunk.scales[slice] as number;
    });
  }
  return { scales, zeroPoints: params.zeroPoints };
}

interface RowBlock {
  readonly x: Pointer;
  readonly h: Pointer;
  readonly row: number;
  readonly rows: number;
  readonly group: number;
}

/** d^T H d of the rounding errors d of some rows, one per column. */
function outputErrors(
  matrix: WeightMatrix,
  spec: QuantSpec,
  { x, h, row, rows, group }: RowBlock,
  params: ScaleParams,
): Float64Array {
  const shared = kernels();
  const { memory } = shared;
  const { k, n, fold } = matrix;
  const signed = dtypeInfo(spec.dtype).kind === "int";
  return memory.scope(() => {
    const at = { scales: memory.alloc32(n), zeroPoints: memory.alloc32(n) };
    spread(params.scales, group, n, fold, memory.f32(at.scales, n));
    spread(params.zeroPoints, group, n, fold, memory.i32(at.zeroPoints, n));
    const [codes, delta, product] = [memory.alloc(rows * n), memory.alloc32(rows * n), memory.alloc32(rows * n)];
    const from = x + row * n * 4;
    shared.quantizeColumns(from, { rows, n }, at, rangeOf(matrix, spec), codes);
    shared.dequantizeColumns(codes, signed, { rows, n }, at, delta);
    const [w, d] = [memory.f32(from, rows * n), memory.f32(delta, rows * n)];
    for (let i = 0; i < d.length; i++) d[i] = (w[i] as number) - (d[i] as number);
    memory.f32(product, rows * n).fill(0);
    shared.linalg.gemmTn({
      m: rows,
      n,
      k: rows,
      a: { at: h + (row * k + row) * 4, stride: k },
      b: { at: delta, stride: n },
      c: { at: product, stride: n },
    });
    const [left, right] = [memory.f32(delta, rows * n), memory.f32(product, rows * n)];
    const errors = new Float64Array(n);
    for (let i = 0; i < left.length; i++) {
      const j = i % n;
      errors[j] = (errors[j] as number) + (left[i] as number) * (right[i] as number);
    }
    return errors;
  });
}
