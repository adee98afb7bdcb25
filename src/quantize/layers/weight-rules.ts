/** @file Which inputs of which operators are weights: one row per operator. */
import type { Node } from "../../ir/node.ts";
import type { WeightAxes } from "../grid/slices.ts";

export interface WeightRule {
  /** Inputs that may be weights. */
  readonly inputs: readonly number[];
  /** Axes of the weight at `input`; undefined when this form of the operator can't be quantized, with the reason. */
  axes(node: Node, input: number, dims: readonly number[]): WeightAxes | string;
  /** Whether a weight is still one behind a Transpose of its two axes. */
  readonly seesThroughTranspose?: boolean;
}

const lastTwo = (rank: number, channelFirst: boolean): WeightAxes | string => {
  if (rank < 2) return "a vector: there are no channels";
  return channelFirst ? { channel: rank - 2, group: rank - 1 } : { channel: rank - 1, group: rank - 2 };
};

/** Weight [out, in / groups, kernel…]: groups of weights run over in and kernel together. */
const conv: WeightRule = { inputs: [1], axes: () => ({ channel: 0, group: 1 }) };
/** Weight [in, out / groups, kernel…]. */
const convTranspose: WeightRule = { inputs: [1], axes: () => ({ channel: 1, group: 0 }) };
const matMul: WeightRule = {
  inputs: [0, 1],
  axes: (_, input, dims) => lastTwo(dims.length, input === 0),
  seesThroughTranspose: true,
};
const gemm: WeightRule = {
  inputs: [0, 1],
  seesThroughTranspose: true,
  axes: (node, input, dims) =>
    lastTwo(dims.length, (input === 0) !== (node.int(input === 0 ? "transA" : "transB", 0) === 1)),
};
/** Weights W and R [directions, gates · hidden, in]. */
const recurrent: WeightRule = { inputs: [1, 2], axes: () => ({ channel: 1, group: 2 }) };
/** Table: one scale for each slice that is looked up, or for each index of the last axis where there are more of those. */
const gather: WeightRule = {
  inputs: [0],
  axes: (node, _, dims) => {
    const rank = dims.length;
    if (rank < 2) return "a vector: there are no channels";
    const along = node.int("axis", 0);
    const axis = along < 0 ? along + rank : along;
    const channel = rank > 2 && (dims[axis] as number) < (dims[rank - 1] as number) ? rank - 1 : axis;
    return { channel, group: channel === rank - 1 ? rank - 2 : rank - 1 };
  },
};
/** Packed projection [in, out]. */
const projection: WeightRule = { inputs: [1], axes: (_, __, dims) => lastTwo(dims.length, false) };

export const weightRules: Readonly<Record<string, WeightRule>> = {
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
    seesThroughTranspose: true,
  },
  "com.microsoft.FusedGemm": gemm,
  "com.microsoft.Attention": projection,
};

/** Operators whose weights can be quantized. */
export const weightOps: readonly string[] = Object.keys(weightRules);

/** Operators whose weights are integers already. */
export const quantizedOps = new Set([
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
