/** @file Noise to signal of outputs against others, summed up by output. */
import { eachReal, hasPositions, type Padding, paddingOf } from "../../data/padding.ts";
import type { Feeds, Outputs } from "../../runtime/io.ts";
import { type HostTensor, numbersOf } from "../../tensor/host-tensor.ts";

export interface NoiseSums {
  signal: number;
  noise: number;
}

/** Adds the squares of one output; what an attention mask marks as padding does not count. */
export function addNoise(
  sums: NoiseSums,
  dims: readonly number[],
  [wanted, given]: readonly [ArrayLike<number>, ArrayLike<number>],
  padding: Padding | undefined,
): void {
  const count = (from: number, to: number) => {
    for (let i = from; i < to; i++) {
      sums.signal += (wanted[i] as number) ** 2;
      sums.noise += ((wanted[i] as number) - (given[i] as number)) ** 2;
    }
  };
  if (padding && hasPositions(dims, padding)) eachReal(dims, padding, count);
  else count(0, wanted.length);
}

export class NoiseMeter {
  readonly #sums = new Map<string, NoiseSums>();

  /** @param inputs of both runs, among which there may be a mask */
  add(wanted: Outputs, given: Outputs, inputs: Feeds): void {
    const padding = paddingOf(inputs);
    for (const [name, tensor] of Object.entries(wanted)) {
      if (!tensor.dtype.startsWith("float")) continue;
      const [y, other] = [numbersOf(tensor, name), numbersOf(given[name] as HostTensor, name)];
      const sums = this.#sums.get(name) ?? { signal: 0, noise: 0 };
      this.#sums.set(name, sums);
      addNoise(sums, tensor.dims, [y, other], padding);
    }
  }

  /** Σ (y − y')² / Σ y², the mean over outputs. */
  value(): number {
    const ratios = [...this.#sums.values()].map(({ signal, noise }) => (noise === 0 ? 0 : noise / signal));
    return ratios.reduce((sum, x) => sum + x, 0) / Math.max(1, ratios.length);
  }
}

/** The same in dB; infinite where nothing changes. */
export function decibelsOf(noise: number): number {
  return -10 * Math.log10(noise);
}
