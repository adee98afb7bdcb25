/** @file Range: exponential moving averages of the smallest and largest value of each batch (Jacob et al. 2018, https://arxiv.org/abs/1712.05877). */
import { type Collector, type Range, scalar } from "../collector.ts";
import { maxProbe, minProbe } from "../probes.ts";

/** @param momentum weight of what was seen before, in [0, 1); the averages begin with the first batch, without bias to zero */
export function movingAverage(momentum = 0.9): Collector<Range> {
  let min = 0;
  let max = 0;
  let weight = 0;
  return {
    name: "moving-average",
    needs: [minProbe, maxProbe],
    add([low, high]) {
      // Adam's correction, kept running: the average of n equal values is that value, for every n.
      weight = momentum * weight + 1;
      min += (scalar(low) - min) / weight;
      max += (scalar(high) - max) / weight;
    },
    result: () => ({ min, max }),
  };
}
