/** @file Criterion: Euclidean norm. */
import { type Criterion, perRow } from "./criterion.ts";

export const l2: Criterion = {
  name: "l2",
  paper: "He et al. 2018, Soft Filter Pruning, https://arxiv.org/abs/1808.06866",
  summary: "Euclidean norm of its weights",
  needs: "weights",
  score: (slice) => perRow(slice, (sum, x) => sum + x * x).map(Math.sqrt),
};
