/**
 * @file HQQ: zero points and scales that minimise an l_p norm of the weights' error, p < 1, by half-quadratic splitting; needs no
 * data (Badri and Shaji 2023, https://mobiusml.github.io/hqq_blog/).
 *
 * Deviations: errors are measured in steps, so that beta means the same for weights of any size (the authors' default beta hardly
 * ever shrinks an error of small weights); zero points are integers, as every runtime takes them: once the real-valued zero is
 * found and rounded, the scale is refined by the same splitting with the zero fixed; symmetric codes refine the scale alone. The
 * splitting finds the nearest minimum, so it can also be started from smaller scales (which lowers the norm, but raises the squared
 * error where weights have outliers). The best end is taken, or the start itself; a slice stops when it gains less than 0.2 %.
 */
import * as z from "zod";
import { type HqqSpec, kernels, type Pointer } from "../../kernels/index.ts";
import { roundToType, type ScaleParams } from "../grid/scales.ts";
import { matrixParams, nearestCodes, place, rangeOf } from "./matrix.ts";
import type { QuantMethod, WeightMatrix } from "./method.ts";

const options = z.strictObject({
  p: z.number().gt(0).max(1).default(0.7).describe("exponent of the norm: smaller cares less about outliers"),
  beta: z.number().positive().default(10).describe("weight of the quadratic coupling; larger splits more finely"),
  kappa: z.number().min(1).default(1.01).describe("growth of beta per iteration"),
  starts: z
    .int()
    .min(1)
    .max(4)
    .default(1)
    .describe("scales to start from: the spec's, and 0.85, 0.7, 0.55 of it; more clip outliers harder"),
  iterations: z.int().min(1).max(1000).default(20).describe("most iterations of each refinement"),
});

export type HqqOptions = z.output<typeof options>;

export const hqq: QuantMethod<HqqOptions> = {
  name: "hqq",
  paper: "Badri and Shaji 2023, https://mobiusml.github.io/hqq_blog/",
  summary: "fits zero points and scales to an outlier-proof norm of the error; needs no data",
  options,
  needs: "nothing",

  quantize(matrix, spec, _stats, settings) {
    return kernels().memory.scope(() => {
      const x = place(matrix);
      const start = matrixParams(matrix, spec, x);
      if (matrix.fixed) return nearestCodes(matrix, spec, x, start);
      const params = { scales: start.scales.slice(), zeroPoints: start.zeroPoints.slice() };
      const range = rangeOf(matrix, spec);
      const { starts, ...base } = { range, ...settings };
      for (let row = 0, group = 0; row < matrix.k; row += matrix.groupSize, group++) {
        refineGroup(matrix, x, row, group, params, {
          ...base,
          symmetric: spec.symmetric,
          factors: FACTORS.slice(0, starts),
        });
      }
      return nearestCodes(matrix, spec, x, { ...params, scales: roundToType(params, matrix.dtype).scales });
    });
  },
};

const FACTORS = [1, 0.85, 0.7, 0.55];

interface Refinement extends Omit<HqqSpec, "refine"> {
  readonly symmetric: boolean;
  readonly factors: readonly number[];
}

/** Refines the parameters of one group of rows in place. */
function refineGroup(
  matrix: WeightMatrix,
  x: Pointer,
  row: number,
  group: number,
  params: ScaleParams,
  { symmetric, factors, ...base }: Refinement,
): void {
  const { memory, linalg } = kernels();
  const { k, n, groupSize, fold } = matrix;
  const rows = Math.min(groupSize, k - row);
  const runs = { runLength: rows * fold, count: n / fold };
  memory.scope(() => {
    const turned = memory.alloc32(rows * n);
    kernels().transpose32(x + row * n * 4, { rows, n }, turned);
    const [scales, zeros, errors] = [0, 1, 2].map(() => memory.alloc32(runs.count)) as [number, number, number];
    const first = group * runs.count;
    const view = () => ({
      scales: memory.f32(scales, runs.count),
      zeros: memory.f32(zeros, runs.count),
      errors: memory.f32(errors, runs.count),
    });
    const own = (values: Float32Array | Int32Array) => values.subarray(first, first + runs.count);
    const refine = (what: HqqSpec["refine"], iterations = base.iterations) =>
      linalg.hqqRuns(turned, runs, scales, zeros, errors, { ...base, refine: what, iterations });
    const { qmin, qmax } = base.range;
    const start = { scales: own(params.scales).slice(), zeroPoints: own(params.zeroPoints).slice() };
    view().scales.set(start.scales);
    view().zeros.set(start.zeroPoints);
    // One iteration changes nothing and measures the start.
    refine("scale", 1);
    const best = view().errors.slice();
    for (const factor of factors) {
      view().scales.set(start.scales.map((scale) => scale * factor));
      view().zeros.set(start.zeroPoints);
      if (!symmetric) {
        refine("zero");
        const found = view().zeros;
        found.set(found.map((zero) => Math.min(qmax, Math.max(qmin, Math.round(zero)))));
      }
      refine("scale");
      const end = view();
      for (let i = 0; i < runs.count; i++) {
        if (!((end.errors[i] as number) < (best[i] as number))) continue;
        best[i] = end.errors[i] as number;
        params.scales[first + i] = end.scales[i] as number;
        params.zeroPoints[first + i] = end.zeros[i] as number;
      }
    }
  });
}
