/** @file Criterion: mean magnitude of what the next layers read of a channel, over calibration data. */
import { channelStats } from "../evidence/calibration.ts";
import { byAtom } from "../graph/per-atom.ts";
import { summedReads } from "../graph/reads.ts";
import type { Criterion } from "./criterion.ts";

export const activationNorm: Criterion = {
  name: "activation-norm",
  paper:
    "after Hu et al. 2016, Network Trimming, https://arxiv.org/abs/1607.03250, with magnitudes in place of counts of zeros",
  summary: "mean magnitude of what the next layers read of it",
  needs: "activations",
  async measure({ analysis, data }) {
    const ports = summedReads(analysis).map(({ port }) => port);
    const means = await channelStats(analysis, data.data, data, ports, "absmean");
    const numbers = new Map<number, number>();
    ports.forEach((port, at) => {
      for (let i = 0; i < port.size; i++) {
        const atom = analysis.atomOf(port.base + i);
        numbers.set(atom, Math.max(numbers.get(atom) ?? 0, means[at]?.[i] as number));
      }
    });
    return { of: (port) => byAtom(analysis, port, numbers) };
  },
  score: (slice) => slice.measured(),
};
