/** @file Range: the one whose codes have the least mean squared error over the histogram (Sung et al. 2015, https://arxiv.org/abs/1511.06488). */
import { type Collector, floats, type Range, scalar } from "../collector.ts";
import { BINS, Histogram } from "../histogram.ts";
import { maxProbe, minProbe, sampleProbe } from "../probes.ts";

/** Shares of an end that are tried, and how often the two ends are tried in turn. */
const SHARES = Array.from({ length: 64 }, (_, i) => 1 - i / 80);
const ROUNDS = 2;

/** @param levels number of codes that the range is meant for */
export function mse(levels = 256): Collector<Range> {
  const histogram = new Histogram();
  return {
    name: "mse",
    needs: [minProbe, maxProbe, sampleProbe],
    add: ([min, max, sample]) => histogram.add(floats(sample), { min: scalar(min), max: scalar(max) }),
    result: () => bestRange(histogram, levels),
  };
}

/** First both ends are cut alike, then each alone. */
function bestRange(histogram: Histogram, levels: number): Range {
  const full = { min: Math.min(0, histogram.min), max: Math.max(0, histogram.max) };
  const bins = compact(histogram);
  const errorOf = (range: Range) => quantizationError(bins, range, levels);
  let best: Range = full;
  let least = errorOf(full);
  const attempt = (range: Range) => {
    const error = errorOf(range);
    if (error >= least) return;
    least = error;
    best = range;
  };
  for (const share of SHARES) attempt({ min: full.min * share, max: full.max * share });
  for (let round = 0; round < ROUNDS; round++) {
    const { min, max } = best;
    for (const share of SHARES) if (full.min < 0) attempt({ min: full.min * share, max });
    const low = best.min;
    for (const share of SHARES) if (full.max > 0) attempt({ min: low, max: full.max * share });
    if (best.min === min && best.max === max) break;
  }
  return best;
}

interface Bins {
  readonly centres: Float64Array;
  readonly counts: Float64Array;
}

/** The bins that hold anything. */
function compact(histogram: Histogram): Bins {
  const used = Array.from({ length: BINS }, (_, bin) => bin).filter((bin) => histogram.counts[bin]);
  const centre = (bin: number) => Math.min(histogram.max, Math.max(histogram.min, histogram.centre(bin)));
  return {
    centres: Float64Array.from(used, centre),
    counts: Float64Array.from(used, (bin) => histogram.counts[bin] as number),
  };
}

/** Sum of squared differences between the bins' centres and what they are rounded and cut to. */
export function quantizationError({ centres, counts }: Bins, { min, max }: Range, levels: number): number {
  const scale = (max - min) / (levels - 1);
  if (scale === 0) return Number.POSITIVE_INFINITY;
  const perUnit = 1 / scale;
  const zeroPoint = Math.round(-min * perUnit);
  const [low, high] = [-zeroPoint, levels - 1 - zeroPoint];
  let sum = 0;
  for (let i = 0; i < centres.length; i++) {
    const x = centres[i] as number;
    const code = Math.min(high, Math.max(low, Math.round(x * perUnit)));
    const error = x - code * scale;
    sum += (counts[i] as number) * error * error;
  }
  return sum;
}
