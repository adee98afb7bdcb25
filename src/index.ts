/**
 * @file The library, on any platform: the steps of recipes as functions, and namespaces for what they are made of. In Node, "tersor" adds
 * files; see node/index.ts.
 *
 * @example A model from the user's disk, in a browser's worker: quantized, and offered as a download.
 * ```ts
 * import { quantize, simplify, toBytes } from "tersor";
 *
 * const { model } = await simplify(file); // a File, Blob, ArrayBuffer or Uint8Array
 * const small = await quantize(model, { dtype: "int8" });
 * const blob = new Blob([toBytes(small.model)]);
 * console.log(small.report.layers); // what became of each, with its SQNR
 * ```
 */
export type { Dataset, Sample } from "./data/dataset.ts";
export type { SampleLike, Samples } from "./data/samples.ts";
export { Model } from "./ir/model.ts";
export type { Env, ProgressEvent } from "./library/env.ts";
export * as autodiff from "./library/namespaces/autodiff.ts";
export * as data from "./library/namespaces/data.ts";
export * as evaluate from "./library/namespaces/evaluate.ts";
export * as ir from "./library/namespaces/ir.ts";
export * as passes from "./library/namespaces/passes.ts";
export * as pruning from "./library/namespaces/pruning.ts";
export * as quantization from "./library/namespaces/quantization.ts";
export * as recipes from "./library/namespaces/recipes.ts";
export * as runtime from "./library/namespaces/runtime.ts";
export * as training from "./library/namespaces/training.ts";
export {
  compare,
  distill,
  finetune,
  inspect,
  prune,
  quantize,
  type Result,
  run,
  type Steps,
  simplify,
} from "./library/steps.ts";
export * as nn from "./nn/index.ts";
export { type ModelLike, toBytes } from "./recipe/model-like.ts";
export { defineConfig, type Recipe, type RecipeStep } from "./recipe/recipe.ts";
export { type ErrorCode, TersorError } from "./util/errors.ts";
