/**
 * @file Bias correction: quantized weights shift the mean of a layer's outputs; the bias takes the shift back
 * (Nagel et al. 2019, https://arxiv.org/abs/1906.04721, section 4.2). The shift is measured (empirical), or follows from the weights'
 * errors and the means of the inputs (analytic), which a batch normalization in front of the layer tells without data.
 */
import type { Model } from "../../ir/model.ts";
import type { Node } from "../../ir/node.ts";
import type { Value } from "../../ir/value.ts";
import { fixedNumbers, fixedTensor, unlistInitializers } from "../../passes/constants.ts";
import { perChannel } from "../../passes/fold-batch-norm/affine.ts";
import { usedOnce } from "../../passes/fold-batch-norm/layers.ts";
import { edit, type PassResult } from "../../passes/pass.ts";
import { fromNumbers, type Tensor } from "../../tensor/tensor.ts";
import { TersorError } from "../../util/errors.ts";
import { own } from "../../util/own.ts";
import { inputLayer } from "./input-layers.ts";
import type { ChannelStats } from "./smoothquant.ts";

export interface BiasCorrectionResult extends PassResult {
  /** Layers whose bias changed. */
  readonly corrected: readonly string[];
}

/** Layers and how many axes stand behind their output channels. */
const channelAxes: Readonly<Record<string, (node: Node) => number | undefined>> = {
  Conv: (node) => rankBehind(node.inputs[1]),
  ConvTranspose: (node) => rankBehind(node.inputs[1]),
  Gemm: () => 1,
  MatMul: () => 1,
  "com.microsoft.MatMulNBits": () => 1,
};

function rankBehind(weight: Value | undefined): number | undefined {
  const type = weight?.type;
  return type?.kind === "tensor" && type.shape ? type.shape.length - 1 : undefined;
}

/**
 * The correction that was measured: mean output of the float model less that of the quantized one, per channel.
 * @param float, quantized means per output channel by layer, see {@link correctBias}
 */
export function empiricalCorrection(float: ChannelStats, quantized: ChannelStats): Map<string, Float32Array> {
  const corrections = new Map<string, Float32Array>();
  for (const [layer, means] of float) {
    const other = quantized.get(layer);
    if (!other) continue;
    if (other.length !== means.length)
      throw new TersorError(
        "bad-data",
        `layer "${layer}": its means differ in length: expected ${means.length} channels, got ${other.length}. Measure the same layer of both models.`,
      );
    corrections.set(
      layer,
      means.map((mean, i) => mean - (other[i] as number)),
    );
  }
  return corrections;
}

/**
 * The correction that follows from the weights' errors: sum over inputs of (w - w') E[x] per output channel, for every Conv, Gemm and
 * MatMul of `float` whose input's means are known. The border of padded convolutions is taken as the inside.
 * @param quantizedWeights what the weights became, by name of the weight
 * @param inputMeans mean per input channel by name of the layer's input
 */
export function analyticCorrection(
  float: Model,
  quantizedWeights: ReadonlyMap<string, Tensor>,
  inputMeans: ChannelStats,
): Map<string, Float32Array> {
  const corrections = new Map<string, Float32Array>();
  for (const node of float.graphs().flatMap((graph) => graph.nodes)) {
    const input = node.inputs[0];
    const means = input && inputMeans.get(input.name);
    const layer = means && inputLayer(node, input);
    const after = layer && quantizedWeights.get(layer.weight.name);
    if (!layer || !after) continue;
    const { tensor, channels, channelOf } = layer;
    if (means.length !== channels)
      throw new TersorError(
        "bad-data",
        `value "${input.name}": wrong number of means: expected ${channels} channels, got ${means.length}. Measure this model's own values.`,
      );
    const [before, quantized] = [tensor.toFloat32(), after.toFloat32()];
    const outputOf = outputIndex(node, tensor.dims);
    const sum = new Float64Array(outputOf.count);
    for (let i = 0; i < before.length; i++) {
      const output = outputOf.at(i);
      const delta = (before[i] as number) - (quantized[i] as number);
      sum[output] = (sum[output] as number) + delta * (means[channelOf(i)] as number);
    }
    corrections.set(layerName(node), Float32Array.from(sum));
  }
  return corrections;
}

/** The output channel of each weight. */
function outputIndex(node: Node, dims: readonly number[]): { count: number; at(index: number): number } {
  const first = node.opType === "Conv" || (node.opType === "Gemm" && node.int("transB", 0) !== 0);
  const count = (first ? dims[0] : dims[1]) as number;
  const inner = dims.slice(1).reduce((a, b) => a * b, 1);
  return { count, at: (index) => (first ? Math.floor(index / inner) : index % count) };
}

/**
 * Means per channel of what follows a BatchNormalization, directly or through a ReLU: its output is taken as normal with the mean B
 * and the deviation |scale|. By name of the value; take them from the model before its batch normalizations are folded.
 */
export function batchNormMeans(model: Model): Map<string, Float32Array> {
  const means = new Map<string, Float32Array>();
  for (const node of model.graphs().flatMap((graph) => graph.nodes)) {
    if (node.opType !== "BatchNormalization" || node.domain !== "") continue;
    const [scale, shift] = [fixedNumbers(node.inputs[1]), fixedNumbers(node.inputs[2])];
    if (!scale || !shift) continue;
    const output = node.output();
    means.set(output.name, Float32Array.from(shift));
    const relu = shift.map((mean, i) => reluMean(mean, Math.abs(scale[i] as number)));
    for (const user of output.users())
      if (user.opType === "Relu" && user.domain === "") means.set(user.output().name, Float32Array.from(relu));
  }
  return means;
}

/** E[max(0, x)] of x ~ N(mean, deviation^2). */
export function reluMean(mean: number, deviation: number): number {
  if (deviation === 0) return Math.max(0, mean);
  const z = mean / deviation;
  const density = Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI);
  return deviation * density + mean * normalShare(z);
}

/** P(x < z) of a standard normal x, to 1e-7 (Abramowitz and Stegun 7.1.26). */
function normalShare(z: number): number {
  const x = Math.abs(z) / Math.SQRT2;
  const t = 1 / (1 + 0.3275911 * x);
  const terms = [1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592];
  const erf = 1 - terms.reduce((sum, term) => (sum + term) * t, 0) * Math.exp(-x * x);
  return z < 0 ? (1 - erf) / 2 : (1 + erf) / 2;
}

/**
 * Adds a correction to the bias of layers, where it is a constant; elsewhere an Add is put behind the layer.
 * @param corrections numbers to add per output channel, by the layer: its node's name or, without one, that of its output
 */
export function correctBias(model: Model, corrections: ChannelStats): BiasCorrectionResult {
  const corrected: string[] = [];
  const result = edit(model, (copy) => {
    unlistInitializers(copy);
    for (const node of copy.graphs().flatMap((graph) => graph.nodes)) {
      const key = node.domain ? `${node.domain}.${node.opType}` : node.opType;
      const name = layerName(node);
      const correction = corrections.get(name);
      const fromEnd = correction && own(channelAxes, key)?.(node);
      if (!correction || fromEnd === undefined || correction.every((value) => value === 0)) continue;
      if (!addToBias(node, correction)) addBehind(node, correction, fromEnd);
      corrected.push(name);
    }
    return corrected.length > 0;
  });
  return { ...result, corrected };
}

/** A layer's own bias, or that of the Add behind a MatMul. */
function addToBias(node: Node, correction: Float32Array): boolean {
  const own = node.opType !== "MatMul" && node.opType !== "MatMulNBits";
  const add = own ? undefined : followingAdd(node);
  const holder = own ? node : add?.node;
  const index = own ? 2 : (add?.index ?? 0);
  const value = holder?.inputs[index];
  const tensor = fixedTensor(value);
  const bias = perChannel(value, { channels: correction.length, rank: undefined, fromEnd: 1 });
  if (!holder || !value || !tensor || !bias || (node.opType === "Gemm" && node.float("beta", 1) !== 1)) return false;
  const sum = bias.map((b, i) => b + (correction[i] as number));
  const changed = fromNumbers(tensor.dtype, [correction.length], sum);
  if (usedOnce(value)) value.tensor = changed;
  else holder.setInput(index, value.graph.addInitializer(value.name, changed));
  return true;
}

function followingAdd(node: Node): { node: Node; index: number } | undefined {
  const output = node.output();
  const [user] = output.users();
  if (!usedOnce(output) || user?.opType !== "Add" || user.domain !== "") return undefined;
  return { node: user, index: user.inputs[0] === output ? 1 : 0 };
}

function addBehind(node: Node, correction: Float32Array, fromEnd: number): void {
  const { graph } = node;
  const output = node.output();
  const type = output.type?.kind === "tensor" ? output.type.dtype : "float32";
  const dims = [correction.length, ...Array.from({ length: fromEnd - 1 }, () => 1)];
  const constant = graph.addInitializer(`${output.name}_correction`, fromNumbers(type, dims, correction));
  const uses = [...output.uses];
  const add = graph.addNode(
    { opType: "Add", inputs: [output, constant], outputs: [`${output.name}_corrected`] },
    { after: node },
  );
  for (const use of uses) use.node.setInput(use.index, add.output());
  if (output.isOutput) swapOutput(output, add.output());
}

/** Makes the corrected value the graph's output under the name of the uncorrected one. */
function swapOutput(from: Value, to: Value): void {
  const { graph } = from;
  const { name, type } = from;
  graph.rename(from, graph.uniqueName(`${name}_uncorrected`));
  graph.rename(to, name);
  to.type = type;
  graph.outputs.forEach((output, i) => {
    if (output === from) graph.setOutput(i, to);
  });
}

function layerName(node: Node): string {
  return node.name || node.output().name;
}
