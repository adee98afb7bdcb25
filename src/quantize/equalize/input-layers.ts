/** @file Layers as their input sees them: which input channel each weight belongs to. */
import type { Node } from "../../ir/node.ts";
import type { Value } from "../../ir/value.ts";
import { fixedTensor } from "../../passes/constants.ts";
import { fromNumbers, type Tensor } from "../../tensor/tensor.ts";
import { own } from "../../util/own.ts";

/** A layer that multiplies every channel of its first input with constant weights. */
export interface InputLayer {
  readonly node: Node;
  readonly weight: Value;
  readonly tensor: Tensor;
  /** Number of input channels. */
  readonly channels: number;
  /** The channel axis of the input, counted from the end. */
  readonly fromEnd: number;
  /** Channels that only some of the weights of a grouped layer read still belong to one input channel each. */
  channelOf(index: number): number;
  /** Number of output channels, and the one that a weight belongs to. */
  readonly outputs: number;
  outputOf(index: number): number;
}

type Row = (node: Node, dims: readonly number[]) => Omit<InputLayer, "node" | "weight" | "tensor"> | undefined;

const rows: Readonly<Record<string, Row>> = {
  // w [out, in / group, k…]
  Conv: (node, dims) => {
    const [outputs = 1, perGroup = 1, ...kernel] = dims;
    const group = node.int("group", 1);
    const inner = kernel.reduce((a, b) => a * b, 1);
    return {
      channels: perGroup * group,
      fromEnd: dims.length - 1,
      channelOf: (index) => {
        const row = Math.floor(index / inner);
        return Math.floor(Math.floor(row / perGroup) / (outputs / group)) * perGroup + (row % perGroup);
      },
      outputs,
      outputOf: (index) => Math.floor(index / inner / perGroup),
    };
  },
  // w [in, out], or [out, in] with transB
  Gemm: (node, [rows = 1, columns = 1]) => {
    if (node.int("transA", 0) !== 0) return undefined;
    const transposed = node.int("transB", 0) !== 0;
    return {
      channels: transposed ? columns : rows,
      fromEnd: 1,
      channelOf: (index) => (transposed ? index % columns : Math.floor(index / columns)),
      outputs: transposed ? rows : columns,
      outputOf: (index) => (transposed ? Math.floor(index / columns) : index % columns),
    };
  },
  // w [in, out]
  MatMul: (_, dims) => {
    if (dims.length !== 2) return undefined;
    const [channels = 1, columns = 1] = dims;
    return {
      channels,
      fromEnd: 1,
      channelOf: (index) => Math.floor(index / columns),
      outputs: columns,
      outputOf: (index) => index % columns,
    };
  },
};

/** The layer that reads `value` as its first input, with constant weights. */
export function inputLayer(node: Node, value: Value): InputLayer | undefined {
  const weight = node.inputs[1];
  const tensor = fixedTensor(weight);
  if (node.domain !== "" || node.inputs[0] !== value || weight === value) return undefined;
  if (!weight || !tensor || (tensor.dtype !== "float32" && tensor.dtype !== "float16")) return undefined;
  const row = own(rows, node.opType)?.(node, tensor.dims);
  return row && { node, weight, tensor, ...row };
}

/** The layers among the users of a value. */
export function inputLayers(value: Value): InputLayer[] {
  return value.users().flatMap((node) => inputLayer(node, value) ?? []);
}

/** Multiplies the weights of input channel i by factor[i]; a weight that others use too is copied. */
export function scaleInput({ node, weight, tensor, channelOf }: InputLayer, factor: ArrayLike<number>): void {
  const values = tensor.toNumbers().map((w, i) => w * (factor[channelOf(i)] as number));
  setConstant(node, 1, weight, fromNumbers(tensor.dtype, tensor.dims, values));
}

/** Gives a node a changed constant: in place where nothing else uses it, as a new initializer elsewhere. */
export function setConstant(node: Node, index: number, old: Value, tensor: Tensor): void {
  if (old.uses.size === 1 && !old.isOutput) old.tensor = tensor;
  else node.setInput(index, old.graph.addInitializer(old.name, tensor));
}

/** Largest |w| of each input channel's weights. */
export function largestPerInput({ tensor, channels, channelOf }: InputLayer): Float64Array {
  const largest = new Float64Array(channels);
  tensor.toFloat32().forEach((w, i) => {
    const channel = channelOf(i);
    largest[channel] = Math.max(largest[channel] as number, Math.abs(w));
  });
  return largest;
}
