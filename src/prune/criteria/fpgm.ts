/** @file Criterion: distance to the layer's other channels: what lies in their middle can be replaced by them. */
import type { Criterion } from "./criterion.ts";

export const fpgm: Criterion = {
  name: "fpgm",
  paper: "He et al. 2019, Filter Pruning via Geometric Median, https://arxiv.org/abs/1811.00250",
  summary: "distance to the layer's other channels",
  needs: "weights",
  score(slice) {
    const { values, elements } = slice.weight();
    const { channels } = slice;
    const score = new Float64Array(channels);
    for (let a = 0; a < channels; a++)
      for (let b = a + 1; b < channels; b++) {
        let sum = 0;
        for (let i = 0; i < elements; i++) {
          const difference = (values[a * elements + i] as number) - (values[b * elements + i] as number);
          sum += difference * difference;
        }
        const distance = Math.sqrt(sum);
        score[a] = (score[a] as number) + distance;
        score[b] = (score[b] as number) + distance;
      }
    return score;
  },
};
