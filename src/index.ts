/**
 * @file The public API that runs anywhere: browsers, workers, Node. In Node, "tersor" adds what needs files; see node/index.ts.
 *
 * @example A model from the user's disk, in a browser's worker: quantized, and offered as a download.
 * ```ts
 * import { decodeModel, encodeModel, openBlob, quantize, simplify, toBlob } from "tersor";
 *
 * const { model } = await simplify(decodeModel(await openBlob(file)));
 * const small = quantize(model, { dtype: "int8", granularity: "channel" });
 * const blob = toBlob(encodeModel(small.model).model); // computes the weights
 * console.log(small.layers()); // what became of each, with its SQNR
 * ```
 */

export { type GradientOptions, type GradientResult, gradient } from "./autodiff/gradient.ts";
export { type CalibrateOptions, calibrate } from "./calibrate/calibrate.ts";
export { type Batch, type BatchOptions, batches, unbatch } from "./data/batch.ts";
export {
  collect,
  type Dataset,
  datasetOf,
  drop,
  type IndexedDataset,
  indexedDataset,
  type Label,
  type Sample,
  type SkippedSample,
  shuffle,
  skippedSamples,
  split,
  take,
} from "./data/dataset.ts";
export type { InputInfo } from "./data/fit-input.ts";
export { LogMel, type LogMelOptions } from "./data/log-mel.ts";
export { decodeNpy, decodeNpz, encodeNpy, encodeNpz } from "./data/npy.ts";
export { type SeededOptions, seededDataset } from "./data/seeded.ts";
export { decodeWave, encodeWave, resample, type Wave } from "./data/wave.ts";
export { type WordTokenizerOptions, wordTokenizer } from "./data/word-tokenizer.ts";
export {
  type ChosenMetric,
  chooseMetric,
  type MetricFiles,
  type MetricSpec,
  metricForLabel,
  metricFrom,
} from "./evaluate/choose-metric.ts";
export { decodeCtc, editDistance, parseCharset } from "./evaluate/ctc.ts";
export { type Fidelity, FidelityMeter, fidelityOf } from "./evaluate/fidelity.ts";
export {
  type Latency,
  type LatencyOptions,
  type LatencyRatio,
  type LatencyReport,
  measureLatency,
  type TimedRuns,
} from "./evaluate/latency.ts";
export type { Metric, MetricAccumulator } from "./evaluate/metric.ts";
export { metrics } from "./evaluate/metrics.ts";
export type { ProbeFindings, ProbeOptions } from "./evaluate/probe/findings.ts";
export { type ProbeReport, probe } from "./evaluate/probe/probe.ts";
export {
  type Attribute,
  type AttributeReference,
  type AttributeType,
  type AttributeValue,
  attr,
  isReference,
  type SparseTensor,
} from "./ir/attribute.ts";
export { Graph, type NodeSpec, type Position } from "./ir/graph.ts";
export { type FunctionDef, Model, nestedGraphs } from "./ir/model.ts";
export type { Node } from "./ir/node.ts";
export { type DecodeOptions, decodeModel } from "./ir/serde/decode-model.ts";
export { type EncodedData, type EncodedModel, type EncodeOptions, encodeModel } from "./ir/serde/encode-model.ts";
export { hashTensor, type ParseOptions, type PrintOptions, parse, print } from "./ir/text/index.ts";
export { type Dim, type Shape, type TensorType, tensorType, typeToString, type ValueType } from "./ir/types.ts";
export type { Use, Value } from "./ir/value.ts";
export * as nn from "./nn/index.ts";
export { checkModel, type ModelProblem, validateModel } from "./ops/check-model.ts";
export { type Cost, costOf, type ModelCost, modelCost } from "./ops/cost.ts";
export { constantToInitializer } from "./passes/constant-to-initializer.ts";
export { convertOpset } from "./passes/convert-opset/convert-opset.ts";
export { removeDeadCode } from "./passes/dead-code.ts";
export { exposeWeights } from "./passes/expose-weights.ts";
export { type FixedInputs, fixInputs } from "./passes/fix-inputs.ts";
export { foldBatchNorm } from "./passes/fold-batch-norm/fold-batch-norm.ts";
export { type FoldOptions, foldConstants } from "./passes/fold-constants.ts";
export { type InferOptions, type InferShapesResult, inferShapes, inferTypes } from "./passes/infer-shapes.ts";
export { inlineBranches } from "./passes/inline-branches.ts";
export { type CallLeft, callsLeft, inlineFunctions } from "./passes/inline-functions.ts";
export { mergeInitializers } from "./passes/merge-initializers.ts";
export { modernizeIr } from "./passes/modernize-ir.ts";
export { type AsyncPass, type BoundPass, type Pass, type PassResult, runPasses } from "./passes/pass.ts";
export { removeIdentity } from "./passes/remove-identity/remove-identity.ts";
export { type SimplifyOptions, simplify, simplifyWithin } from "./passes/simplify.ts";
export { type SparseConstant, sparseInitializers } from "./passes/sparse-initializers.ts";
export type { EncodedMessage } from "./proto/encode.ts";
export { chunksOfMessage, toBlob, writeTo } from "./proto/write.ts";
export { type BlockReport, type BlockResult, pruneBlocks } from "./prune/blocks/prune-blocks.ts";
export type { Clock, LatencyTable, TimeModels } from "./prune/channels/latency/latency-table.ts";
export { type ChannelResult, pruneChannels } from "./prune/channels/prune-channels.ts";
export type { SensitivityReport } from "./prune/channels/sensitivity.ts";
export type { PruneSurroundings } from "./prune/channels/surroundings.ts";
export { criteria as pruneCriteria } from "./prune/criteria/index.ts";
export type { ChannelData } from "./prune/evidence/channel-data.ts";
export { type PruneOptions, pruneOptions } from "./prune/options.ts";
export { type PrunedTokenizer, pruneTokenizer } from "./prune/vocabulary/prune-tokenizer.ts";
export { pruneVocabulary, type VocabularyResult, vocabularyOf } from "./prune/vocabulary/prune-vocabulary.ts";
export { pruneWeights, type WeightResult } from "./prune/weights/prune-weights.ts";
export { quantizeDynamic } from "./quantize/dynamic/dynamic.ts";
export { type PreparedDynamic, prepareDynamic } from "./quantize/dynamic/on-data.ts";
export { type DynamicOptions, q8Preset } from "./quantize/dynamic/options.ts";
export { equalizeCrossLayer } from "./quantize/equalize/cross-layer.ts";
export { awqOnData, smoothQuantOnData } from "./quantize/equalize/on-data.ts";
export { type Float16Result, toFloat16 } from "./quantize/float16/float16.ts";
export type { Float16Options } from "./quantize/float16/options.ts";
export { collectMethodStats, type MethodStats } from "./quantize/method-stats.ts";
export type { MethodPool, PrecomputeOptions } from "./quantize/pool/method-pool.ts";
export { type Evaluate, freeze } from "./quantize/qat/freeze.ts";
export { type Thawed, type ThawOptions, thaw } from "./quantize/qat/thaw.ts";
export { type LazyQuantizeResult, type QuantizeOptions, type QuantizeResult, quantize } from "./quantize/quantize.ts";
export { roundingMethods } from "./quantize/reconstruct/index.ts";
export {
  type ReconstructEnvironment,
  type ReconstructOptions,
  type ReconstructResult,
  reconstruct,
} from "./quantize/reconstruct/reconstruct.ts";
export type { LayerReport } from "./quantize/report.ts";
export { quantizeSequentially, type SequentialOptions } from "./quantize/sequential/sequential.ts";
export { findLayers, type SkippedNode, type WeightLayer } from "./quantize/sites.ts";
export type { StaticOptions } from "./quantize/static/options.ts";
export { quantizeStatic, type StaticResult } from "./quantize/static/static.ts";
export { type Agreement, type MetricChange, measureAgreement } from "./recipe/compare.ts";
export { type DescribeOptions, describeModel, type ModelDescription } from "./recipe/describe-model.ts";
export { defineConfig, parseRecipe, type Recipe, type RecipeStep, recipeJsonSchema } from "./recipe/recipe.ts";
export { runSteps, type StepRecord } from "./recipe/run-steps.ts";
export type { CompareOptions, CompareReport } from "./recipe/steps/compare.ts";
export { steps } from "./recipe/steps.ts";
export type { Feeds, IoInfo, Outputs } from "./runtime/io.ts";
export { ortWeb } from "./runtime/ort-web.ts";
export type { CallOptions, ModelSource, Runtime, Session, SessionOptions } from "./runtime/runtime.ts";
export type { DataSpec, ModelSize, Progress, Step, StepContext, StepReport, StepResult } from "./step.ts";
export type { Target } from "./targets/target.ts";
export { parseTarget, targetNamed, targets } from "./targets/targets.ts";
export { type DType, type DTypeInfo, dtypeInfo, dtypes, isDType } from "./tensor/dtype.ts";
export { type HostTensor, hostTensor, numbersOf } from "./tensor/host-tensor.ts";
export {
  elementCount,
  float32,
  fromNumbers,
  fromTypedArray,
  int64,
  stringTensor,
  Tensor,
  type TypedArray,
} from "./tensor/tensor.ts";
export {
  type Checkpoint,
  type EpochRecord,
  type FitEnvironment,
  type FitResult,
  fit,
  type StepEvent,
} from "./train/fit.ts";
export { type FreshModel, freshWeights } from "./train/fresh-weights.ts";
export type { TrainOptions } from "./train/options.ts";
export { Teacher, type TeacherOptions } from "./train/teacher.ts";
export { BlobSource, openBlob } from "./util/blob-source.ts";
export { type ByteSink, type ByteSource, MemorySink, MemorySource, readAll } from "./util/bytes.ts";
export { type ErrorCode, TersorError } from "./util/errors.ts";
