/** @file The passes that every compression starts with, in the order that suits them. */
import type { Model } from "../ir/model.ts";
import { removeDeadCode } from "./dead-code.ts";
import { exposeWeights } from "./expose-weights.ts";
import { type FoldBatchNormOptions, type FoldLevel, foldBatchNorm } from "./fold-batch-norm/fold-batch-norm.ts";
import { type FoldOptions, foldConstants } from "./fold-constants.ts";
import { inlineBranches } from "./inline-branches.ts";
import { joinEqualNodes } from "./join-equal-nodes.ts";
import { mergeInitializers } from "./merge-initializers.ts";
import { type ModernizeOptions, modernizeIr } from "./modernize-ir.ts";
import { type BoundPass, type PassResult, runPasses } from "./pass.ts";
import { removeIdentity } from "./remove-identity/remove-identity.ts";

export interface SimplifyOptions extends FoldOptions, ModernizeOptions, FoldBatchNormOptions {}

/** Functions are inlined, constants made visible and folded first, since the other passes ask for them; what that leaves unused goes last. */
function standardPasses(options: SimplifyOptions = {}): readonly BoundPass[] {
  return [
    (model) => modernizeIr(model, options),
    exposeWeights,
    joinEqualNodes,
    (model) => foldConstants(model, options),
    inlineBranches,
    removeIdentity,
    (model) => foldBatchNorm(model, options),
    removeDeadCode,
  ];
}

/**
 * Runs the standard passes until nothing changes: the model computes the same, to rounding, with fewer nodes. Constants are
 * merged at the end, since a shared one can't take in a batch norm.
 */
export function simplify(model: Model, options: SimplifyOptions = {}): Promise<PassResult> {
  return runPasses(model, standardPasses(options), [mergeInitializers]);
}

/**
 * {@link simplify} with as much folded as `agrees` allows: everything, only shifts, or nothing. `agrees` compares the
 * candidate with `model` by running both; it is not asked where nothing was folded.
 */
export async function simplifyWithin(
  model: Model,
  options: Omit<SimplifyOptions, "fold">,
  agrees: (candidate: Model) => Promise<boolean>,
): Promise<PassResult & { readonly fold: FoldLevel }> {
  const least = await simplify(model, { ...options, fold: "none" });
  for (const fold of ["all", "shifts"] as const) {
    const result = await simplify(model, { ...options, fold });
    if (countNodes(result.model) === countNodes(least.model) || (await agrees(result.model)))
      return { ...result, fold };
  }
  return { ...least, fold: "none" };
}

const countNodes = (model: Model) => model.graphs().reduce((sum, graph) => sum + graph.nodes.length, 0);
