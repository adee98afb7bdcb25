/** @file Quantization piece by piece. */
export { quantizeDynamic } from "../../quantize/dynamic/dynamic.ts";
export { type PreparedDynamic, prepareDynamic } from "../../quantize/dynamic/on-data.ts";
export { type DynamicOptions, q8Preset } from "../../quantize/dynamic/options.ts";
export { equalizeCrossLayer } from "../../quantize/equalize/cross-layer.ts";
export { awqOnData, smoothQuantOnData } from "../../quantize/equalize/on-data.ts";
export { type Float16Result, toFloat16 } from "../../quantize/float16/float16.ts";
export type { Float16Options } from "../../quantize/float16/options.ts";
export type { LayerReport } from "../../quantize/layers/report.ts";
export { findLayers, type SkippedNode, type WeightLayer } from "../../quantize/layers/sites.ts";
export type { MethodPool, PrecomputeOptions } from "../../quantize/lazy/pool/method-pool.ts";
export { type Evaluate, freeze } from "../../quantize/learned/qat/freeze.ts";
export { type Thawed, type ThawOptions, thaw } from "../../quantize/learned/qat/thaw.ts";
export { roundingMethods } from "../../quantize/learned/reconstruct/index.ts";
export {
  type ReconstructEnvironment,
  type ReconstructOptions,
  type ReconstructResult,
  reconstruct,
} from "../../quantize/learned/reconstruct/reconstruct.ts";
export { quantizeSequentially, type SequentialOptions } from "../../quantize/sequential/sequential.ts";
export type { StaticOptions } from "../../quantize/static/options.ts";
export { quantizeStatic, type StaticResult } from "../../quantize/static/static.ts";
export { collectMethodStats, type MethodStats } from "../../quantize/weights/method-stats.ts";
export {
  type LazyQuantizeResult,
  type QuantizeOptions as WeightOptions,
  type QuantizeResult,
  quantize as quantizeWeights,
} from "../../quantize/weights/quantize-weights.ts";
