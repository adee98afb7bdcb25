/** @file Noise to signal of outputs against others, summed up by output. */
import type { Outputs } from "../runtime/runtime.ts";
import { type HostTensor, numbersOf } from "../tensor/host-tensor.ts";

export class NoiseMeter {
  readonly #sums = new Map<string, { signal: number; noise: number }>();

  add(wanted: Outputs, given: Outputs): void {
    for (const [name, tensor] of Object.entries(wanted)) {
      if (!tensor.dtype.startsWith("float")) continue;
      const [y, other] = [numbersOf(tensor, name), numbersOf(given[name] as HostTensor, name)];
      const sums = this.#sums.get(name) ?? { signal: 0, noise: 0 };
      this.#sums.set(name, sums);
      for (let i = 0; i < y.length; i++) {
        sums.signal += (y[i] as number) ** 2;
        sums.noise += ((y[i] as number) - (other[i] as number)) ** 2;
      }
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
