/** @file Criterion: factor of the batch norm behind a layer. */
import type { Criterion } from "./criterion.ts";

export const bnGamma: Criterion = {
  name: "bn-gamma",
  paper:
    "Liu et al. 2017, Learning Efficient Convolutional Networks through Network Slimming, https://arxiv.org/abs/1708.06519",
  summary: "magnitude of the factor of its batch norm",
  needs: "gamma",
  score(slice) {
    const gamma = slice.gamma();
    return gamma && Float64Array.from(gamma, Math.abs);
  },
};
