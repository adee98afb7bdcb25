/**
 * @file The library in Node: everything of index.ts, with files, ONNX Runtime in a worker, and recipes.
 *
 * @example
 * ```ts
 * import { loadModel, quantize, runRecipe, saveModel, simplify } from "tersor";
 *
 * // Step by step:
 * const { model } = await simplify("model.onnx");
 * const small = await quantize(model, { mode: "static", calibrate: samples });
 * await saveModel(small.model, "small.onnx");
 *
 * // Or as a recipe, with a manifest and measured numbers:
 * const { manifest } = await runRecipe({
 *   model: "model.onnx",
 *   output: "small.onnx",
 *   data: { path: "images", layout: "nchw", scale: 1 / 255 },
 *   steps: [{ simplify: {} }, { quantize: { dtype: "int8" } }, { compare: { metric: "top-1" } }],
 * });
 * ```
 */
import "./platform.ts";

export * from "../index.ts";
export {
  type Manifest,
  type ModelRecord,
  type RecipeResult,
  type RunOptions,
  runRecipe,
} from "../recipe/node/run-recipe.ts";
export { loadModel } from "./load.ts";
export * as data from "./namespaces/data.ts";
export * as files from "./namespaces/files.ts";
export * as runtime from "./namespaces/runtime.ts";
export { type SavedFiles, type SaveOptions, saveModel } from "./save.ts";
