/** @file Range: the smallest and largest value seen. */
import { type Collector, type Range, scalar } from "../collector.ts";
import { maxProbe, minProbe } from "../probes.ts";

export function minMax(): Collector<Range> {
  let min = Number.POSITIVE_INFINITY;
  let max = Number.NEGATIVE_INFINITY;
  return {
    name: "min-max",
    needs: [minProbe, maxProbe],
    add([low, high]) {
      min = Math.min(min, scalar(low));
      max = Math.max(max, scalar(high));
    },
    result: () => ({ min, max }),
  };
}
