/** @file Criterion: Fisher information of a channel's gate, which all layers that read it share. */
import { gateGradients } from "../evidence/gradients/channel-gradients.ts";
import type { Criterion } from "./criterion.ts";

export const fisher: Criterion = {
  name: "fisher",
  paper:
    "Theis et al. 2018, https://arxiv.org/abs/1801.05787; coupled channels: Liu et al. 2021, Group Fisher Pruning, https://arxiv.org/abs/2108.00708",
  summary: "squared gradient of a factor on it, in front of everything that reads it",
  needs: "gradients",
  measure: gateGradients,
  score: (slice) => slice.measured(),
};
