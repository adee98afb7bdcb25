/** @file Range: what a share of the values lies in, the rest cut off at both ends alike (at the far end only where all have one sign). */
import { type Collector, floats, type Range, scalar } from "../collector.ts";
import { Histogram } from "../histogram.ts";
import { maxProbe, minProbe, sampleProbe } from "../probes.ts";

/** @param percent share of the values within the range, in (50, 100] */
export function percentile(percent = 99.99): Collector<Range> {
  const histogram = new Histogram();
  return {
    name: `percentile ${percent}`,
    needs: [minProbe, maxProbe, sampleProbe],
    add: ([min, max, sample]) => histogram.add(floats(sample), { min: scalar(min), max: scalar(max) }),
    result() {
      const { min, max, total } = histogram;
      const outside = (1 - percent / 100) * total;
      const seen = { min, max };
      if (min >= 0) return { min, max: histogram.valueAt(total - outside), seen };
      if (max <= 0) return { min: histogram.valueAt(outside), max, seen };
      return { min: histogram.valueAt(outside / 2), max: histogram.valueAt(total - outside / 2), seen };
    },
  };
}
