/** @file Criterion: weights that read a channel, times the norm of what they read. */
import { channelStats } from "../evidence/calibration.ts";
import { addByAtom, byAtom } from "../graph/per-atom.ts";
import { channelSums, summedReads } from "../graph/reads.ts";
import type { Criterion } from "./criterion.ts";

export const wanda: Criterion = {
  name: "wanda",
  paper:
    "Sun et al. 2023, https://arxiv.org/abs/2306.11695, summed over the weights that read a channel as in An et al. 2023, FLAP, https://arxiv.org/abs/2312.11983",
  summary: "Σ |w| over the weights that read it, times the norm of what they read",
  needs: "activations",
  async measure({ analysis, data }) {
    const reads = summedReads(analysis);
    const ports = reads.map(({ port }) => port);
    const energies = await channelStats(analysis, data.data, data, ports, "energy");
    const sums = new Map<number, number>();
    reads.forEach((read, i) => {
      const energy = energies[i] as Float32Array;
      const scores = channelSums(read).map((sum, channel) => sum * Math.sqrt(energy[channel] as number));
      addByAtom(analysis, read.port, scores, sums);
    });
    return { of: (port) => byAtom(analysis, port, sums) };
  },
  score: (slice) => slice.measured(),
};
