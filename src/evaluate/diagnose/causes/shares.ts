/** @file How much of a layer's noise comes from where: sums over input channels, weighted by how much each channel reaches the output. */
import type { Activation, LayerEvidence } from "../evidence.ts";

/** Noise-to-signal ratios of a layer's output. */
export interface Shares {
  /** Rounding of what it reads, values beyond the codes' range left out. */
  readonly rounding: number;
  /** Values beyond the codes' range. */
  readonly clipped: number;
  /** Rounding of its weight. */
  readonly weight: number;
  /** The parts of `rounding` and `weight` that go away where the outlier channels do. */
  readonly outliers: {
    readonly channels: readonly number[];
    readonly ratio: number;
    readonly rounding: number;
    readonly weight: number;
  };
}

/** Times the median of all channels. */
const OUTLIER = 8;
/** Share of channels that may be outliers: more are no exception. */
const FEW = 0.25;

/** undefined where the layer's weight or what it reads is not known by channel. */
export function sharesOf({ stats, reads }: LayerEvidence): Shares | undefined {
  if (!stats || !reads || reads.energy.length === 0) return undefined;
  const { gain, error } = stats;
  const count = reads.energy.length;
  // A value whose channels are not known counts as one channel for all.
  const [gains, errors] = count === gain.length ? [gain, error] : [spread(gain, count), spread(error, count)];
  const signal = sum(count, (c) => at(gains, c) * at(reads.energy, c));
  if (!(signal > 0)) return undefined;
  const rounded = (c: number) => (at(gains, c) * Math.max(0, at(reads.noise, c) - at(reads.clipped, c))) / signal;
  const weighed = (c: number) => (at(errors, c) * at(reads.energy, c)) / signal;
  const { channels, ratio, rest } = outlierChannels(reads);
  const isOutlier = new Set(channels);
  return {
    rounding: sum(count, rounded),
    clipped: sum(count, (c) => at(gains, c) * at(reads.clipped, c)) / signal,
    weight: sum(count, weighed),
    outliers: {
      channels,
      ratio,
      rounding: sum(count, (c) => (isOutlier.has(c) ? 0 : rounded(c))) * (1 - rest ** 2),
      weight: sum(count, (c) => (isOutlier.has(c) ? weighed(c) : 0)),
    },
  };
}

/** Channels that reach far beyond the others; `rest` is the range without them, as a share of the whole. */
export function outlierChannels({ largest }: Activation): { channels: number[]; ratio: number; rest: number } {
  const none = { channels: [], ratio: 1, rest: 1 };
  const alive = [...largest].filter((x) => x > 0).sort((a, b) => a - b);
  const median = alive[alive.length >> 1];
  if (median === undefined || alive.length < 4) return none;
  const channels = [...largest.keys()]
    .filter((c) => at(largest, c) > OUTLIER * median)
    .sort((a, b) => at(largest, b) - at(largest, a));
  if (channels.length === 0 || channels.length > FEW * alive.length) return none;
  const top = at(largest, channels[0] as number);
  const below = alive[alive.length - channels.length - 1] ?? 0;
  return { channels, ratio: top / median, rest: below / top };
}

function spread(list: Float64Array, count: number): Float64Array {
  const total = list.reduce((a, b) => a + b, 0);
  return new Float64Array(count).fill(total / count);
}

export const at = (list: ArrayLike<number>, index: number): number => list[index] ?? 0;

export function sum(count: number, of: (index: number) => number): number {
  let total = 0;
  for (let i = 0; i < count; i++) total += of(i);
  return total;
}

/** Noise over signal of a value by itself, all channels together. */
export function plainNoise({ noise, energy }: Activation): number {
  const signal = sum(energy.length, (c) => at(energy, c));
  return signal > 0 ? sum(noise.length, (c) => at(noise, c)) / signal : 0;
}
