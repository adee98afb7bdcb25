/** @file Statistics per channel: largest and mean magnitude, mean, mean square and sum of squares, reduced inside the graph. */
import { type Collector, floats } from "./collector.ts";
import { type ChannelKind, channelProbe, energyProbe } from "./probes.ts";

type Kind = ChannelKind | "energy";

const runningMean = (old: number, seen: number, runs: number) => old + (seen - old) / runs;

/** How what a run gave joins what was there; means are of runs of equal weight. */
const joins: Readonly<Record<Kind, (old: number, seen: number, runs: number) => number>> = {
  absmax: (old, seen) => Math.max(old, seen),
  absmean: runningMean,
  mean: runningMean,
  "mean-square": runningMean,
  energy: (old, seen) => old + seen,
};

/**
 * A number per index of `axis` (negative: from the end), [channels]. The value's rank must be known. Means weigh every
 * run alike, whatever its size.
 */
export function perChannel(kind: Kind, axis: number): Collector<Float32Array> {
  let sums = new Float64Array(0);
  let runs = 0;
  const join = joins[kind];
  return {
    name: `${kind} per channel`,
    needs: [kind === "energy" ? energyProbe(axis) : channelProbe(kind, axis)],
    add([seen]) {
      const numbers = floats(seen);
      if (runs++ === 0) sums = new Float64Array(numbers.length);
      for (let i = 0; i < numbers.length; i++) sums[i] = join(sums[i] as number, numbers[i] as number, runs);
    },
    result: () => Float32Array.from(sums),
  };
}
