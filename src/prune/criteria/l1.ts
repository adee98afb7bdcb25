/** @file Criterion: sum of magnitudes. */
import { type Criterion, perRow } from "./criterion.ts";

export const l1: Criterion = {
  name: "l1",
  paper: "Li et al. 2017, Pruning Filters for Efficient ConvNets, https://arxiv.org/abs/1608.08710",
  summary: "sum of the magnitudes of its weights",
  needs: "weights",
  score: (slice) => perRow(slice, (sum, x) => sum + Math.abs(x)),
};
