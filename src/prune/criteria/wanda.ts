/** @file Criterion: weights that read a channel, times the norm of what they read. */
import { energiesOf } from "../calibration.ts";
import { addByAtom, byAtom } from "../per-atom.ts";
import { readersOf } from "../readers.ts";
import { channelsFirst } from "../scores.ts";
import type { Criterion } from "./criterion.ts";

export const wanda: Criterion = {
  name: "wanda",
  paper:
    "Sun et al. 2023, https://arxiv.org/abs/2306.11695, summed over the weights that read a channel as in An et al. 2023, FLAP, https://arxiv.org/abs/2312.11983",
  summary: "Σ |w| over the weights that read it, times the norm of what they read",
  needs: "activations",
  async measure({ analysis, data }) {
    const readers = readersOf(analysis);
    const energies = await energiesOf(analysis, data.data, data, readers);
    const sums = new Map<number, number>();
    for (const { node, port, weight, inAxis } of readers) {
      const energy = energies.get(node);
      if (!weight.tensor || !energy) continue;
      const values = channelsFirst(weight.tensor, inAxis);
      const inner = values.length / port.size;
      const scores = Float64Array.from({ length: port.size }, (_, channel) => {
        let sum = 0;
        for (let i = channel * inner; i < (channel + 1) * inner; i++) sum += Math.abs(values[i] as number);
        return sum * Math.sqrt(energy[channel] as number);
      });
      addByAtom(analysis, port, scores, sums);
    }
    return { of: (port) => byAtom(analysis, port, sums) };
  },
  score: (slice) => slice.measured(),
};
