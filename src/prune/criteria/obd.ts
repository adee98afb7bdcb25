/** @file Criterion: diagonal of the Hessian, by the Gauss-Newton matrix, whose diagonal random signs estimate. */
import { weightGradients } from "../evidence/gradients/channel-gradients.ts";
import type { Criterion } from "./criterion.ts";

export const obd: Criterion = {
  name: "obd",
  paper:
    "LeCun, Denker, Solla 1990, Optimal Brain Damage, https://papers.nips.cc/paper/250-optimal-brain-damage, with the Gauss-Newton matrix for the Hessian",
  summary: "Σ h w² / 2 over the weights that make it, h the diagonal of the Gauss-Newton matrix",
  needs: "gradients",
  measure: (context) =>
    weightGradients(
      context,
      context.objective === "outputs" ? "outputs" : "curvature",
      (op, w, g) => {
        const change = op.Mul(g, w);
        return op.Mul(change, change);
      },
      (x) => x / 2,
    ),
  score: (slice) => slice.measured(),
};
