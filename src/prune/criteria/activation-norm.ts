/** @file Criterion: mean magnitude of what the next layers read of a channel, over calibration data. */
import { activationsOf } from "../calibration.ts";
import { byAtom } from "../per-atom.ts";
import type { Criterion } from "./criterion.ts";

export const activationNorm: Criterion = {
  name: "activation-norm",
  paper:
    "after Hu et al. 2016, Network Trimming, https://arxiv.org/abs/1607.03250, with magnitudes in place of counts of zeros",
  summary: "mean magnitude of what the next layers read of it",
  needs: "activations",
  async measure({ analysis, data }) {
    const numbers = await activationsOf(analysis, data.data, data);
    return { of: (port) => byAtom(analysis, port, numbers) };
  },
  score: (slice) => slice.measured(),
};
