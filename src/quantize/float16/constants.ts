/** @file Constants as float16: their range, what has to be cut, and the conversion, which happens when the bytes are read. */
import { fromNumbers, type Tensor, viewAs } from "../../tensor/tensor.ts";
import { chunksOf } from "../../util/bytes.ts";
import { type HalfTensor, halfTensor } from "../formats/cast.ts";

/** The largest float16. */
export const LARGEST = 65504;
/** Magnitudes from here on stand for infinity: masks and bounds are filled with −1e9 or the largest float32. */
const STANDS_FOR_INFINITY = 1e9;
/** Constants with more elements are converted piece by piece and are not cut. */
const SMALL = 1 << 20;

export interface ConstantRange {
  /** Largest finite magnitude. */
  readonly largest: number;
  /** Smallest finite magnitude beyond float16; infinite when there is none. */
  readonly leastBeyond: number;
}

/** Reads a float32 tensor once. */
export function constantRange(tensor: Tensor): ConstantRange {
  let largest = 0;
  let leastBeyond = Number.POSITIVE_INFINITY;
  for (const chunk of chunksOf(tensor.bytes))
    for (const x of viewAs("float32", chunk) as Float32Array) {
      const magnitude = Math.abs(x);
      if (magnitude > largest && magnitude < Number.POSITIVE_INFINITY) largest = magnitude;
      if (magnitude >= LARGEST + 16 && magnitude < leastBeyond) leastBeyond = magnitude;
    }
  return { largest, leastBeyond };
}

/** Whether a constant beyond float16 only stands for infinity, so that the largest float16 does as well. */
export function standsForInfinity(tensor: Tensor, { leastBeyond }: ConstantRange): boolean {
  return leastBeyond >= STANDS_FOR_INFINITY && tensor.size <= SMALL;
}

/** @param clamp cut what is beyond float16 */
export function halfConstant(name: string, tensor: Tensor, options: { clamp: boolean; measure: boolean }): HalfTensor {
  const { clamp, measure } = options;
  if (!clamp) return halfTensor(name, tensor, "float16", measure);
  const cut = (x: number) => (Number.isFinite(x) ? Math.min(LARGEST, Math.max(-LARGEST, x)) : x);
  return { tensor: fromNumbers("float16", tensor.dims, tensor.toFloat32().map(cut)), sqnr: () => undefined };
}
