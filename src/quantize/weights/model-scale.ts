/** @file Global quantization: one step Δ for all parameters at once. */
import { kernels, type Pointer } from "../../kernels/index.ts";
import { fromNumbers, type Tensor } from "../../tensor/tensor.ts";
import { largestOf, leastOf } from "../../util/append.ts";
import { piecesOf } from "../grid/pieces.ts";
import {
  clipTo,
  findRanges,
  paramsOf,
  type Ranges,
  roundToType,
  type ScaleParams,
  searchRatios,
} from "../grid/scales.ts";
import { type Slices, slicesOf } from "../grid/slices.ts";
import { codeRange, type QuantSpec } from "../grid/spec.ts";
import { claim, readFloats } from "../grid/workspace.ts";
import { codeTensor } from "../lazy/rtn.ts";

export interface ModelWeight {
  readonly name: string;
  readonly weight: Tensor;
  readonly spec: QuantSpec;
}

interface WholeWeight extends ModelWeight {
  readonly slices: Slices;
}

/** Scale and zero point for all these weights, which share a spec. Reads every weight, a piece at a time. */
export function modelScale(weights: readonly ModelWeight[]): { scale: Tensor; zeroPoint: Tensor; params: ScaleParams } {
  const { spec, weight } = weights[0] as ModelWeight;
  const whole = weights.map((entry) => {
    const slices = slicesOf(entry.weight.dims, { channel: 0, group: 0 }, { per: "tensor" }, entry.name);
    return { ...entry, slices };
  });
  claim(whole);
  let ranges = join(whole.map((entry) => findRanges(entry)));
  if (spec.scale.by === "percentile") {
    const count = whole.reduce((sum, entry) => sum + entry.weight.size, 0);
    const rank = Math.min(count - 1, Math.max(0, Math.ceil((spec.scale.percent / 100) * count) - 1));
    const limit = kernels().selectAbsAcross((visit) => eachPiece(whole, visit), rank).value;
    ranges = clipTo(ranges, [limit]);
  }
  let params = paramsOf(ranges, spec);
  if (spec.scale.by === "mse") params = searchScale(whole, params, spec);
  params = roundToType(params, weight.dtype);
  return {
    params,
    scale: fromNumbers(weight.dtype, [], params.scales),
    zeroPoint: codeTensor(spec, [], params.zeroPoints),
  };
}

/** Every weight as float32 in kernel memory, piece by piece. */
function eachPiece(weights: readonly WholeWeight[], visit: (x: Pointer, n: number) => void): void {
  const { memory } = kernels();
  for (const { weight, slices } of weights)
    for (const { start, length } of piecesOf(slices))
      memory.scope(() => {
        const x = memory.alloc32(length);
        readFloats(weight, start, length, x);
        visit(x, length);
      });
}

/** The candidate scale with the least squared error over all weights together; the first of equals wins. */
function searchScale(weights: readonly WholeWeight[], params: ScaleParams, spec: QuantSpec): ScaleParams {
  const ratios = searchRatios(spec);
  const scale = params.scales[0] as number;
  const base = { scale, zeroPoint: params.zeroPoints[0] as number };
  const total = new Float64Array(ratios.length);
  eachPiece(weights, (x, n) => {
    kernels()
      .squaredErrors(x, n, base, codeRange(spec), ratios)
      .forEach((error, i) => {
        total[i] = (total[i] as number) + error;
      });
  });
  const best = total.indexOf(leastOf(total));
  return { ...params, scales: Float32Array.of(scale * Math.fround(ratios[best] as number)) };
}

function join(ranges: readonly Ranges[]): Ranges {
  const all = (pick: (range: Ranges) => Float32Array) => ranges.map((range) => pick(range)[0] as number);
  const max = Float32Array.of(largestOf(all((range) => range.max)));
  const magnitudeOnly = ranges.every((range) => range.min === range.max);
  return { min: magnitudeOnly ? max : Float32Array.of(leastOf(all((range) => range.min))), max };
}
