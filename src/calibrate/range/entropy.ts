/**
 * @file Range: the one whose codes keep most of the distribution's information, by Kullback-Leibler divergence
 * (Migacz, "8-bit Inference with TensorRT", GTC 2017). Values are cut at ±t; where all have one sign, at t.
 * Deviations: the bin at zero does not count, since zero is exact and would otherwise decide after a Relu; of a range that is cut at one side
 * only, the longer side has as many codes as it will have.
 *
 * Information is counted by how often values occur, not by their size: what is rare and large is cut off. Where a model needs that, as
 * attention and Swish do, accuracy is lost; static quantization says which ranges were cut to a quarter.
 */
import { type Collector, floats, type Range, scalar } from "../collector.ts";
import { BINS, Histogram } from "../histogram.ts";
import { maxProbe, minProbe, sampleProbe } from "../probes.ts";

/** Bins of |x| that the search works on, and the least that a range has. */
const MAGNITUDES = 2048;
/** Every so many bins a threshold is tried. */
const STEP = 8;

/** @param levels number of codes that the range is meant for */
export function entropy(levels = 256): Collector<Range> {
  const histogram = new Histogram();
  return {
    name: "entropy",
    needs: [minProbe, maxProbe, sampleProbe],
    add: ([min, max, sample]) => histogram.add(floats(sample), { min: scalar(min), max: scalar(max) }),
    result() {
      const { min, max } = histogram;
      const largest = Math.max(Math.abs(min), Math.abs(max));
      if (largest === 0) return { min, max };
      const cutAt = (limit: number) => ({ min: Math.max(min, -limit), max: Math.min(max, limit) });
      const limitOf = (kept: number) => (largest * kept) / MAGNITUDES;
      /** Codes between zero and the limit. */
      const codesOf = (kept: number) => {
        const { min: low, max: high } = cutAt(limitOf(kept));
        return Math.round((levels * limitOf(kept)) / (Math.max(0, high) - Math.min(0, low)));
      };
      return { ...cutAt(limitOf(bestThreshold(magnitudes(histogram, largest), codesOf))), seen: { min, max } };
    },
  };
}

function magnitudes(histogram: Histogram, largest: number): Float64Array {
  const counts = new Float64Array(MAGNITUDES);
  for (let bin = 0; bin < BINS; bin++) {
    const at = Math.min(MAGNITUDES - 1, Math.floor((Math.abs(histogram.centre(bin)) / largest) * MAGNITUDES));
    counts[at] = (counts[at] as number) + (histogram.counts[bin] as number);
  }
  counts[0] = 0;
  return counts;
}

/** The number of bins to keep. */
function bestThreshold(counts: Float64Array, codesOf: (kept: number) => number): number {
  const sums = new Sums(counts);
  let best = MAGNITUDES;
  let least = Number.POSITIVE_INFINITY;
  for (let kept = STEP; kept <= MAGNITUDES; kept += STEP) {
    const levels = codesOf(kept);
    if (kept < levels) continue;
    const divergence = sums.divergence(kept, levels);
    if (divergence < least) {
      least = divergence;
      best = kept;
    }
  }
  return best;
}

/** Sums over all bins below each, so that a code's bins need not be gone through for every threshold. */
class Sums {
  readonly #counts: Float64Array;
  /** Σ c, Σ c ln c, and how many bins hold anything. */
  readonly #below = new Float64Array(MAGNITUDES + 1);
  readonly #logs = new Float64Array(MAGNITUDES + 1);
  readonly #used = new Float64Array(MAGNITUDES + 1);

  constructor(counts: Float64Array) {
    this.#counts = counts;
    counts.forEach((count, i) => {
      this.#below[i + 1] = (this.#below[i] as number) + count;
      this.#logs[i + 1] = (this.#logs[i] as number) + (count > 0 ? count * Math.log(count) : 0);
      this.#used[i + 1] = (this.#used[i] as number) + Number(count > 0);
    });
  }

  /**
   * KL(P || Q): P the first `kept` bins with all beyond in the last one, Q the same bins spread evenly over their codes.
   * With totals T of P and I of Q, a bin of count c in a code of u used bins of sum s adds c / T · (ln c / T − ln s / (u I)).
   */
  divergence(kept: number, levels: number): number {
    const [below, used] = [this.#below, this.#used];
    const inside = below[kept] as number;
    const total = below[MAGNITUDES] as number;
    if (inside === 0) return Number.POSITIVE_INFINITY;
    const last = this.#counts[kept - 1] as number;
    let sum = (this.#logs[kept - 1] as number) - (inside - last) * Math.log(total / inside);
    let lastQ = 1;
    for (let code = 0; code < levels; code++) {
      const [from, to] = [Math.floor((code * kept) / levels), Math.floor(((code + 1) * kept) / levels)];
      const count = (below[to] as number) - (below[from] as number);
      if (count === 0) continue;
      const each = count / ((used[to] as number) - (used[from] as number));
      sum -= (to === kept ? count - last : count) * Math.log(each);
      // What Q can't express (outliers in an empty last bin) costs as if it had one value there.
      if (to === kept && last > 0) lastQ = each;
    }
    const cut = last + total - inside;
    if (cut > 0) sum += cut * Math.log((cut / total) * (inside / lastQ));
    return sum / total;
  }
}
