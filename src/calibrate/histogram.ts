/** @file A histogram of fixed size whose range grows as values come: neighbouring bins merge, nothing is counted twice. */

/** Bins; after the range has grown at least half of them lie within what was seen. */
export const BINS = 4096;

/** Counts in bins of equal width from `low` on. */
export class Histogram {
  readonly counts = new Float64Array(BINS);
  low = 0;
  /** Width of a bin; 0 while nothing was seen. */
  width = 0;
  min = Number.POSITIVE_INFINITY;
  max = Number.NEGATIVE_INFINITY;
  total = 0;

  /** Adds finite values; `seen` are the ends of what they are a sample of. */
  add(values: Float32Array, seen: { readonly min: number; readonly max: number }): void {
    if (values.length === 0) return;
    const min = Math.min(this.min, seen.min);
    const max = Math.max(this.max, seen.max);
    this.min = min;
    this.max = max;
    this.#cover(min, max);
    const { counts, low } = this;
    const perUnit = 1 / this.width;
    for (let i = 0; i < values.length; i++) {
      const at = (((values[i] as number) - low) * perUnit) | 0;
      // Rounding may put the largest value one past the end.
      const bin = at < BINS ? at : BINS - 1;
      counts[bin] = (counts[bin] as number) + 1;
    }
    this.total += values.length;
  }

  /** The middle of a bin. */
  centre(bin: number): number {
    return this.low + (bin + 0.5) * this.width;
  }

  /** The value below which `count` of the values lie, to within a bin; never outside what was seen. */
  valueAt(count: number): number {
    let sum = 0;
    for (let bin = 0; bin < BINS; bin++) {
      const next = sum + (this.counts[bin] as number);
      if (next >= count && next > sum) {
        const value = this.low + (bin + (count - sum) / (next - sum)) * this.width;
        return Math.min(this.max, Math.max(this.min, value));
      }
      sum = next;
    }
    return this.max;
  }

  #cover(min: number, max: number): void {
    if (this.width === 0) {
      // A constant still gets bins of a width that its magnitude can tell apart.
      const span = Math.max(max - min, Math.abs(max) * 1e-3, Number.MIN_VALUE * 2 ** 60);
      this.low = min;
      this.width = span / BINS;
    }
    while (min < this.low) this.#double(BINS / 2);
    while (max > this.low + BINS * this.width) this.#double(0);
  }

  /** Merges pairs of bins; those there were begin at bin `first` afterwards. */
  #double(first: number): void {
    const { counts } = this;
    const merged = new Float64Array(BINS);
    for (let bin = 0; bin < BINS; bin++) {
      const to = first + (bin >> 1);
      merged[to] = (merged[to] as number) + (counts[bin] as number);
    }
    counts.set(merged);
    this.width *= 2;
    this.low -= first * this.width;
  }
}
