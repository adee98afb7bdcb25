/** @file Weight SQNR of values that are at hand. */
import { sqnrOf } from "../lazy/rtn.ts";

/** Signal-to-quantization-noise ratio in dB of weights against what each became. */
export function sqnrOfValues(weights: Float32Array, valueAt: (index: number) => number): number {
  let signal = 0;
  let noise = 0;
  for (let i = 0; i < weights.length; i++) {
    const w = weights[i] as number;
    signal += w * w;
    noise += (w - valueAt(i)) ** 2;
  }
  return sqnrOf(signal, noise);
}
