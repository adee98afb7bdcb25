/** @file Shape rules: reductions, normalization, losses and what else works along axes. */
import type { Shape } from "../../ir/types.ts";
import { dtypeOfCode } from "../../tensor/dtype.ts";
import { addDims, floorDivideDims, multiplyDims, subtractDims } from "../symbolic/dim.ts";
import { type Call, type ShapeRule, type ShapeRules, unknownShape, withDim } from "./call.ts";
import { likeFirst } from "./elementwise.ts";

/** Axes reduced to 1, or taken out. */
export function reduced(shape: Shape, axes: readonly number[], keep: boolean): Shape {
  const gone = new Set(axes);
  return keep ? shape.map((dim, i) => (gone.has(i) ? 1 : dim)) : shape.filter((_, i) => !gone.has(i));
}

/** The axes that a reduction takes, undefined when they are not known. */
export function reducedAxes(call: Call, rank: number): readonly number[] | undefined {
  const axes = call.numbersFrom("axes", 1);
  const all = Array.from({ length: rank }, (_, i) => i);
  if (axes === undefined) return undefined;
  // An empty list means all axes, like none given, unless the node says that it means none.
  if (axes === "absent" || axes.length === 0) return call.flag("noop_with_empty_axes") ? [] : all;
  return axes.map((axis) => call.axis(axis, rank));
}

/** An axes input of unknown content: with keepdims the rank stays. */
export const reduce: ShapeRule = (call) => {
  const shape = call.shape(0);
  const keep = call.flag("keepdims", true);
  if (!shape) return [call.out(undefined)];
  const axes = reducedAxes(call, shape.length);
  if (!axes) return [call.out(keep ? unknownShape(shape.length) : undefined)];
  return [call.out(reduced(shape, axes, keep))];
};

const argExtremum: ShapeRule = (call) => {
  const shape = call.shape(0);
  if (!shape) return [call.out(undefined)];
  const axis = call.axis(call.int("axis", 0), shape.length);
  return [call.out(reduced(shape, [axis], call.flag("keepdims", true)))];
};

const topK: ShapeRule = (call) => {
  const shape = call.shape(0);
  if (!shape) return [call.out(undefined, call.dtype(0)), call.out(undefined, "int64")];
  const axis = call.axis(call.int("axis", -1), shape.length);
  const k = call.has(1) ? call.scalar(1) : call.int("k", 0);
  const dims = withDim(shape, axis, k);
  return [call.out(dims, call.dtype(0)), call.out(dims, "int64")];
};

/** Mean and inverse deviation keep the dims before the axis; the others become 1. */
const layerNorm: ShapeRule = (call) => {
  const shape = call.shape(0);
  const axis = shape && call.axis(call.int("axis", -1), shape.length);
  const statistics = shape?.map((dim, i) => (i < (axis ?? 0) ? dim : 1));
  const stash = dtypeOfCode(call.int("stash_type", 1), `${call.node}`);
  return [call.types[0], call.out(statistics, stash), call.out(statistics, stash)];
};

/** Y, then per-channel statistics: two when training; from 1 to 8 also the saved ones. */
const batchNorm: ShapeRule = (call) => {
  const channels: Shape = [call.shape(0)?.[1] ?? call.shape(1)?.[0] ?? null];
  const statistics = call.node.outputs.slice(1).map((_, i) => call.out(channels, call.outputDtype(i + 1)));
  return [call.types[0], ...statistics];
};

/** logits [n, c, …], labels [n, …]: one number, or one per label. */
const loss: ShapeRule = (call) => {
  const labels = call.shape(1);
  const each = call.node.string("reduction", "mean") === "none";
  const dtype = call.dtype(0);
  return [call.out(each ? labels : [], dtype), call.types[0]];
};

/** n elements windowed: [batch, n, 1 or 2] → [batch, frames, bins, 2]. */
const stft: ShapeRule = (call) => {
  const signal = call.shape(0);
  const step = call.scalar(1);
  const length = call.has(3) ? call.scalar(3) : (call.shape(2)?.[0] ?? null);
  const frames =
    typeof step === "number" && step > 0 && signal ? framesOf(subtractDims(signal[1] ?? null, length), step) : null;
  const bins = call.flag("onesided", true) ? halfPlusOne(length) : length;
  return [call.out([signal?.[0] ?? null, frames, bins, 2])];
};

const framesOf = (span: Shape[number], step: number) => addDims(floorDivideDims(span, step), 1);
const halfPlusOne = (length: Shape[number]) => addDims(floorDivideDims(length, 2), 1);

/** The transformed axis gets the length asked for; the last dim is real (1) or complex (2). */
const dft: ShapeRule = (call) => {
  const shape = call.shape(0);
  if (!shape) return [call.out(undefined)];
  const given = call.opset < 20 ? call.int("axis", 1) : call.has(2) ? call.scalar(2) : -2;
  if (typeof given !== "number") return [call.out(unknownShape(shape.length))];
  const axis = call.axis(given, shape.length);
  const onesided = call.flag("onesided");
  const inverse = call.flag("inverse");
  const bins = shape[axis] ?? null;
  const length = call.has(1) ? call.scalar(1) : onesided && inverse ? multiplyDims(2, subtractDims(bins, 1)) : bins;
  const last = onesided && inverse ? 1 : 2;
  const dims = withDim(shape, axis, onesided && !inverse ? halfPlusOne(length) : length);
  return [call.out(withDim(dims, shape.length - 1, last))];
};

const reductions = `ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
  ReduceSumSquare`.split(/\s+/);
const normalizations = `GroupNormalization Hardmax InstanceNormalization LRN LogSoftmax LpNormalization
  MeanVarianceNormalization RMSNormalization Softmax`.split(/\s+/);

export const reduces: ShapeRules = {
  ...Object.fromEntries(reductions.map((name) => [name, reduce])),
  ...Object.fromEntries(normalizations.map((name) => [name, likeFirst])),
  ArgMax: argExtremum,
  ArgMin: argExtremum,
  TopK: topK,
  LayerNormalization: layerNorm,
  SimplifiedLayerNormalization: layerNorm,
  BatchNormalization: batchNorm,
  NegativeLogLikelihoodLoss: (call) => loss(call).slice(0, 1),
  SoftmaxCrossEntropyLoss: loss,
  STFT: stft,
  DFT: dft,
};
