/**
 * @file The public API in Node: everything of index.ts, files, data sources, workers and recipes.
 *
 * @example
 * ```ts
 * import { loadModel, quantize, runRecipe, saveModel, simplify } from "tersor";
 *
 * // Step by step:
 * const { model } = await simplify(loadModel("model.onnx"));
 * const small = quantize(model, { dtype: "int4", granularity: "group:32", layers: "*,head@keep" });
 * await saveModel(small.model, "small.onnx"); // computes and streams the weights
 * for (const layer of small.layers()) console.log(layer.name, layer.spec ?? layer.reason, layer.sqnr);
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
export { type OpenOptions, openData } from "../data/node/open-data.ts";
export * from "../index.ts";
export { type FileRecord, modelFiles } from "../recipe/node/files.ts";
export { methodPool, type NodeMethodPool } from "../recipe/node/method-pool.ts";
export {
  type Manifest,
  type ModelRecord,
  type RecipeResult,
  type RunOptions,
  runRecipe,
} from "../recipe/node/run-recipe.ts";
export { inProcessRuntime, type RuntimeName, runtimeNames } from "../runtime/in-process.ts";
export { ortNode } from "../runtime/ort-node.ts";
export { type WorkerRuntime, workerRuntime } from "../runtime/worker-runtime.ts";
export { FileSource } from "./file-source.ts";
export { loadModel } from "./load.ts";
export { isSameFile, type SavedFiles, type SaveOptions, saveModel } from "./save.ts";
export { type FileSize, measureSize, type SizeOptions } from "./size.ts";
