/** @file Constants as float16: what fits, what has to be cut, and the conversion, which happens when the bytes are read. */
import { floatToHalf, halfToFloat } from "../../tensor/half.ts";
import { fromNumbers, type Tensor, viewAs } from "../../tensor/tensor.ts";
import { chunksOf } from "../../util/bytes.ts";
import { type HalfTensor, halfTensor } from "../write/cast.ts";

/** The largest float16. */
export const LARGEST = 65504;
/** Magnitudes from here on stand for infinity: masks and bounds are filled with −1e9 or the largest float32. */
const STANDS_FOR_INFINITY = 1e9;
/** What a small positive constant becomes that would round to zero: an epsilon that keeps a division from failing. */
const LEAST = 1e-7;
/** Constants with more elements are converted piece by piece and are not cut. */
const SMALL = 1 << 20;

export interface ConstantRange {
  /** Largest finite magnitude. */
  readonly largest: number;
  /** Smallest finite magnitude beyond float16; infinite when there is none. */
  readonly leastBeyond: number;
  /** Whether it is one nonzero number that rounds to zero. */
  readonly vanishes: boolean;
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
  const vanishes = tensor.size === 1 && largest > 0 && floatToHalf(largest) === 0;
  return { largest, leastBeyond, vanishes };
}

/** Whether a constant beyond float16 only stands for infinity, so that the largest float16 does as well. */
export function standsForInfinity(tensor: Tensor, { leastBeyond }: ConstantRange): boolean {
  return leastBeyond >= STANDS_FOR_INFINITY && tensor.size <= SMALL;
}

/** @param clamp cut what is beyond float16, and raise a single number that would vanish */
export function halfConstant(name: string, tensor: Tensor, options: { clamp: boolean; measure: boolean }): HalfTensor {
  const { clamp, measure } = options;
  if (!clamp) return halfTensor(name, tensor, "float16", measure);
  const cut = (x: number) => (Number.isFinite(x) ? Math.min(LARGEST, Math.max(-LARGEST, x)) : x);
  const numbers = tensor.toFloat32().map(cut);
  const [x = 0] = numbers;
  if (numbers.length === 1 && x !== 0 && halfToFloat(floatToHalf(x)) === 0) numbers[0] = Math.sign(x) * LEAST;
  return { tensor: fromNumbers("float16", tensor.dims, numbers), sqnr: () => undefined };
}
