/** @file Layers with a weight and a bias per output channel, as scaling them needs them. */
import type { Node } from "../../ir/node.ts";
import { staticShape, type ValueType } from "../../ir/types.ts";
import type { Value } from "../../ir/value.ts";
import { own } from "../../util/own.ts";
import type { ChannelLayout } from "./affine.ts";

export interface Layer {
  readonly node: Node;
  readonly weight: Value;
  readonly layout: ChannelLayout;
  /** The output channel that the element at `index` of the weight belongs to. */
  channelOf(index: number): number;
  /** The node and input slot that hold the bias. A MatMul has none; the Add behind it, when there is one, does. */
  readonly bias: { readonly node: Node; readonly index: number } | undefined;
  /** Factor on the bias: beta of Gemm. */
  readonly biasFactor: number;
}

export type TypeOf = (value: Value | undefined) => ValueType | undefined;

type LayerRow = (node: Node, dims: readonly number[], typeOf: TypeOf) => Omit<Layer, "node" | "weight"> | undefined;

const rows: Readonly<Record<string, LayerRow>> = {
  // w [out, in / group, k…]
  Conv: (node, dims) => {
    const [channels = 0, ...rest] = dims;
    const inner = product(rest);
    return {
      layout: { channels, rank: dims.length, fromEnd: dims.length - 1 },
      channelOf: (index) => Math.floor(index / inner),
      bias: { node, index: 2 },
      biasFactor: 1,
    };
  },
  // w [in, out / group, k…]
  ConvTranspose: (node, dims) => {
    const [inputs = 0, perGroup = 0, ...kernel] = dims;
    const group = node.int("group", 1);
    const inner = product(kernel);
    const inputsPerGroup = inputs / group;
    return {
      layout: { channels: perGroup * group, rank: dims.length, fromEnd: dims.length - 1 },
      channelOf: (index) => {
        const row = Math.floor(index / inner);
        const groupOfRow = Math.floor(row / perGroup / inputsPerGroup);
        return groupOfRow * perGroup + (row % perGroup);
      },
      bias: { node, index: 2 },
      biasFactor: 1,
    };
  },
  // w [in, out], or [out, in] with transB
  Gemm: (node, dims) => {
    if (dims.length !== 2) return undefined;
    const transposed = node.int("transB", 0) !== 0;
    const channels = (transposed ? dims[0] : dims[1]) as number;
    const inner = transposed ? (dims[1] as number) : 1;
    return {
      layout: { channels, rank: 2, fromEnd: 1 },
      channelOf: (index) => Math.floor(index / inner) % channels,
      bias: { node, index: 2 },
      biasFactor: node.float("beta", 1),
    };
  },
  // w [in, out]
  MatMul: (node, dims, typeOf) => {
    if (dims.length !== 2) return undefined;
    const channels = dims[1] as number;
    const type = typeOf(node.output());
    return {
      layout: { channels, rank: type?.kind === "tensor" ? type.shape?.length : undefined, fromEnd: 1 },
      channelOf: (index) => index % channels,
      bias: undefined,
      biasFactor: 1,
    };
  },
};

/** The layer that computes a value which nothing else uses; looks through the Add that holds a MatMul's bias. */
export function layerBehind(value: Value, typeOf: TypeOf): Layer | undefined {
  const node = usedOnce(value) ? value.producer : undefined;
  if (node?.domain !== "") return undefined;
  if (node.opType === "Add") {
    for (const index of [0, 1]) {
      const inner = node.input(index);
      if (inner.producer?.opType !== "MatMul" || !node.inputs[1 - index]?.tensor) continue;
      const layer = layerBehind(inner, typeOf);
      return layer && { ...layer, bias: { node, index: 1 - index } };
    }
    return undefined;
  }
  const weight = node.inputs[1];
  const dims = staticShape(typeOf(weight));
  const row = weight && dims ? own(rows, node.opType)?.(node, dims, typeOf) : undefined;
  return weight && row && { node, weight, ...row };
}

/** Whether one node slot is all that depends on a value. */
export function usedOnce(value: Value): boolean {
  return value.uses.size === 1 && !value.isOutput;
}

function product(dims: readonly number[]): number {
  return dims.reduce((all, dim) => all * dim, 1);
}
