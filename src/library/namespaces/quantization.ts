/** @file Quantization piece by piece. */
export { quantizeDynamic } from "../../quantize/dynamic/dynamic.ts";
export { type PreparedDynamic, prepareDynamic } from "../../quantize/dynamic/on-data.ts";
export { type DynamicOptions, q8Preset } from "../../quantize/dynamic/options.ts";
export { equalizeCrossLayer } from "../../quantize/equalize/cross-layer.ts";
export { awqOnData, smoothQuantOnData } from "../../quantize/equalize/on-data.ts";
export { type Float16Result, toFloat16 } from "../../quantize/float16/float16.ts";
export type { Float16Options } from "../../quantize/float16/options.ts";
export { collectMethodStats, type MethodStats } from "../../quantize/method-stats.ts";
export type { MethodPool, PrecomputeOptions } from "../../quantize/pool/method-pool.ts";
export { type Evaluate, freeze } from "../../quantize/qat/freeze.ts";
export { type Thawed, type ThawOptions, thaw } from "../../quantize/qat/thaw.ts";
export {
  type LazyQuantizeResult,
  type QuantizeOptions as WeightOptions,
  type QuantizeResult,
  quantize as quantizeWeights,
} from "../../quantize/quantize.ts";
export { roundingMethods } from "../../quantize/reconstruct/index.ts";
export {
  type ReconstructEnvironment,
  type ReconstructOptions,
  type ReconstructResult,
  reconstruct,
} from "../../quantize/reconstruct/reconstruct.ts";
export type { LayerReport } from "../../quantize/report.ts";
export { quantizeSequentially, type SequentialOptions } from "../../quantize/sequential/sequential.ts";
export { findLayers, type SkippedNode, type WeightLayer } from "../../quantize/sites.ts";
export type { StaticOptions } from "../../quantize/static/options.ts";
export { quantizeStatic, type StaticResult } from "../../quantize/static/static.ts";
