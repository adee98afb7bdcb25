/** @file Rewrites that keep what a model computes. */
export { constantToInitializer } from "../../passes/constant-to-initializer.ts";
export { convertOpset } from "../../passes/convert-opset/convert-opset.ts";
export { removeDeadCode } from "../../passes/dead-code.ts";
export { exposeWeights } from "../../passes/expose-weights.ts";
export { type FixedInputs, fixInputs } from "../../passes/fix-inputs.ts";
export { foldBatchNorm } from "../../passes/fold-batch-norm/fold-batch-norm.ts";
export { type FoldOptions, foldConstants } from "../../passes/fold-constants.ts";
export { type InferOptions, type InferShapesResult, inferShapes, inferTypes } from "../../passes/infer-shapes.ts";
export { inlineBranches } from "../../passes/inline-branches.ts";
export { type CallLeft, callsLeft, inlineFunctions } from "../../passes/inline-functions.ts";
export { mergeInitializers } from "../../passes/merge-initializers.ts";
export { modernizeIr } from "../../passes/modernize-ir.ts";
export { type AsyncPass, type BoundPass, type Pass, type PassResult, runPasses } from "../../passes/pass.ts";
export { removeIdentity } from "../../passes/remove-identity/remove-identity.ts";
export { type SimplifyOptions, simplify, simplifyWithin } from "../../passes/simplify.ts";
export { type SparseConstant, sparseInitializers } from "../../passes/sparse-initializers.ts";
