/** @file Which inputs of which operators are weights: one row per operator. */
import type { Graph } from "../ir/graph.ts";
import { type Model, nestedGraphs } from "../ir/model.ts";
import type { Node } from "../ir/node.ts";
import type { Value } from "../ir/value.ts";
import { callsLeft } from "../passes/inline-functions.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { WeightAxes } from "./slices.ts";

interface WeightRule {
  /** Inputs that may be weights. */
  readonly inputs: readonly number[];
  /** Axes of the weight at `input`; undefined when this form of the operator can't be quantized, with the reason. */
  axes(node: Node, input: number, dims: readonly number[]): WeightAxes | string;
}

const lastTwo = (rank: number, channelFirst: boolean): WeightAxes | string => {
  if (rank < 2) return "a vector: there are no channels";
  return channelFirst ? { channel: rank - 2, group: rank - 1 } : { channel: rank - 1, group: rank - 2 };
};

/** Weight [out, in / groups, kernel…]: groups of weights run over in and kernel together. */
const conv: WeightRule = { inputs: [1], axes: () => ({ channel: 0, group: 1 }) };
/** Weight [in, out / groups, kernel…]. */
const convTranspose: WeightRule = { inputs: [1], axes: () => ({ channel: 1, group: 0 }) };
const matMul: WeightRule = { inputs: [0, 1], axes: (_, input, dims) => lastTwo(dims.length, input === 0) };
const gemm: WeightRule = {
  inputs: [0, 1],
  axes: (node, input, dims) =>
    lastTwo(dims.length, (input === 0) !== (node.int(input === 0 ? "transA" : "transB", 0) === 1)),
};
/** Weights W and R [directions, gates · hidden, in]. */
const recurrent: WeightRule = { inputs: [1, 2], axes: () => ({ channel: 1, group: 2 }) };
/** Table [rows, width]. */
const gather: WeightRule = {
  inputs: [0],
  axes: (node, _, dims) =>
    dims.length === 2 && node.int("axis", 0) === 0 ? { channel: 0, group: 1 } : "not a lookup of rows in a table",
};
/** Packed projection [in, out]. */
const projection: WeightRule = { inputs: [1], axes: (_, __, dims) => lastTwo(dims.length, false) };

const rules: Readonly<Record<string, WeightRule>> = {
  Conv: conv,
  ConvTranspose: convTranspose,
  MatMul: matMul,
  Gemm: gemm,
  LSTM: recurrent,
  GRU: recurrent,
  RNN: recurrent,
  Gather: gather,
  "com.microsoft.FusedConv": conv,
  "com.microsoft.FusedMatMul": {
    inputs: [1],
    axes: (node, _, dims) => lastTwo(dims.length, node.int("transB", 0) === 1),
  },
  "com.microsoft.FusedGemm": gemm,
  "com.microsoft.Attention": projection,
};

/** Operators whose weights can be quantized. */
export const weightOps: readonly string[] = Object.keys(rules);

/** Operators whose weights are integers already. */
const quantizedOps = new Set([
  "QLinearConv",
  "QLinearMatMul",
  "ConvInteger",
  "MatMulInteger",
  "com.microsoft.MatMulNBits",
  "com.microsoft.MatMulBnb4",
  "com.microsoft.GatherBlockQuantized",
  "com.microsoft.QAttention",
  "com.microsoft.QGemm",
  "com.microsoft.DynamicQuantizeMatMul",
  "com.microsoft.DynamicQuantizeLSTM",
  "com.microsoft.MatMulIntegerToFloat",
]);

/** One input slot that holds a weight. */
export interface WeightSite {
  readonly node: Node;
  readonly input: number;
}

/** One constant with every place it is used as a weight; quantized once, however often it is used. */
export interface WeightLayer {
  /** Position among the layers of the model, as `inspect` lists them. */
  readonly index: number;
  /** Name of the first node that uses it, or of its first output when nodes have no names. */
  readonly name: string;
  readonly opType: string;
  readonly value: Value;
  readonly weight: Tensor;
  readonly axes: WeightAxes;
  readonly sites: readonly WeightSite[];
}

/** A node that could hold a weight and is left alone. */
export interface SkippedNode {
  readonly name: string;
  readonly opType: string;
  readonly reason: string;
}

/** Finds every weight of the model and every operator of the table that holds none, subgraphs included, in graph order. */
export function findLayers(model: Model): { layers: WeightLayer[]; skipped: SkippedNode[] } {
  const found = new Map<Value, WeightLayer & { sites: WeightSite[] }>();
  const skipped: SkippedNode[] = [];
  const calls = new Map(callsLeft(model).map(({ node, reason }) => [node, reason]));
  for (const node of nestedGraphs(model.graph).flatMap((graph: Graph) => graph.nodes)) {
    const key = opKey(node);
    const rule = rules[key];
    const skip = (reason: string) => skipped.push({ name: nodeName(node), opType: key, reason });
    const call = calls.get(node);
    if (call) {
      skip(call);
      continue;
    }
    if (quantizedOps.has(key)) skip("quantized already");
    if (!rule) continue;
    const constants = rule.inputs.flatMap((input) => {
      const value = node.inputs[input];
      return value?.tensor ? [{ input, value, weight: value.tensor }] : [];
    });
    if (constants.length === 0) {
      if (key !== "Gather") skip(whyNotConstant(node, rule));
      continue;
    }
    for (const { input, value, weight } of constants) {
      const axes = rule.axes(node, input, weight.dims);
      const known = found.get(value);
      if (typeof axes === "string") {
        if (key !== "Gather") skip(axes);
      } else if (known) known.sites.push({ node, input });
      else if (!isFloat(weight)) {
        if (key !== "Gather") skip(`weight "${value.name}" is ${weight.dtype}: only float weights are quantized`);
      } else {
        const layer = { name: nodeName(node), opType: key, value, weight, axes, sites: [{ node, input }] };
        found.set(value, { index: found.size, ...layer });
      }
    }
  }
  return { layers: [...found.values()], skipped };
}

function isFloat({ dtype }: Tensor): boolean {
  return dtype === "float32" || dtype === "float16" || dtype === "bfloat16";
}

function whyNotConstant(node: Node, rule: WeightRule): string {
  const input = node.inputs[rule.inputs.at(-1) as number];
  const producer = input?.producer;
  if (producer?.opType === "DequantizeLinear") return "quantized already";
  if (input?.isInput) return `its weight is the model's input "${input.name}"`;
  return "no constant weight: both operands are computed at run time";
}

/** The operator of a node, with its domain where that is not the standard one. */
export function opKey(node: Node): string {
  return node.domain ? `${node.domain}.${node.opType}` : node.opType;
}

export function nodeName(node: Node): string {
  return node.name || node.outputs.find((output) => output)?.name || node.opType;
}
