/** @file Criterion: first-order Taylor expansion: how much the loss changes, squared, when a channel's weights become zero. */
import { weightGradients } from "../evidence/gradients/channel-gradients.ts";
import type { Criterion } from "./criterion.ts";

export const taylor: Criterion = {
  name: "taylor",
  paper:
    "Molchanov et al. 2019, Importance Estimation for Neural Network Pruning, https://arxiv.org/abs/1906.10771, over single samples",
  summary: "(Σ g w)² over the weights that make it",
  needs: "gradients",
  measure: (context) =>
    weightGradients(
      context,
      context.objective,
      (op, w, g) => op.Mul(g, w),
      (x) => x * x,
    ),
  score: (slice) => slice.measured(),
};
