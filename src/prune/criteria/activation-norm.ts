/** @file Criterion: mean magnitude of what the next layers read of a channel, over calibration data. */
import type { Criterion } from "./criterion.ts";

export const activationNorm: Criterion = {
  name: "activation-norm",
  paper:
    "after Hu et al. 2016, Network Trimming, https://arxiv.org/abs/1607.03250, with magnitudes in place of counts of zeros",
  needs: "activations",
  score: (slice) => slice.activation(),
};
