/** @file Nodes that scale and shift every channel: y = scale · x + shift. */
import type { Node } from "../../ir/node.ts";
import type { Value } from "../../ir/value.ts";
import { fixedNumbers } from "../constants.ts";

/** Where the channels of a layer's output lie. */
export interface ChannelLayout {
  readonly channels: number;
  /** Undefined for a MatMul whose other operand has unknown rank. */
  readonly rank: number | undefined;
  /** The channel axis counted from the end: 1 for [N, C], 3 for [N, C, H, W]. */
  readonly fromEnd: number;
}

/** One number per channel each. */
export interface Affine {
  readonly scale: Float64Array;
  readonly shift: Float64Array;
}

/** A node as an affine map of one of its inputs, once the layout of that input is known. */
export interface AffineNode {
  readonly input: Value;
  resolve(layout: ChannelLayout): Affine | undefined;
}

/** How a node of each op type may be read; several ways where either operand may be the constant. */
export const affineNodes: Readonly<Record<string, (node: Node) => readonly AffineNode[]>> = {
  // y = scale · (x − mean) / √(var + ε) + B
  BatchNormalization: (node) => [
    {
      input: node.input(0),
      resolve: ({ channels, rank, fromEnd }) => {
        if (!isInference(node) || rank === undefined || rank - fromEnd !== 1) return undefined;
        const [scale, bias, mean, variance] = [1, 2, 3, 4].map((i) => fixedNumbers(node.inputs[i]));
        if (!scale || !bias || !mean || !variance) return undefined;
        if ([scale, bias, mean, variance].some((values) => values.length !== channels)) return undefined;
        const epsilon = node.float("epsilon", 1e-5);
        const factor = scale.map((s, c) => s / Math.sqrt((variance[c] as number) + epsilon));
        return { scale: factor, shift: bias.map((b, c) => b - (mean[c] as number) * (factor[c] as number)) };
      },
    },
  ],
  Mul: (node) => [byConstant(node, 1, (c) => [c, 0]), byConstant(node, 0, (c) => [c, 0])],
  Div: (node) => [byConstant(node, 1, (c) => [1 / c, 0])],
  Add: (node) => [byConstant(node, 1, (c) => [1, c]), byConstant(node, 0, (c) => [1, c])],
  Sub: (node) => [byConstant(node, 1, (c) => [1, -c]), byConstant(node, 0, (c) => [-1, c])],
};

/** Several outputs meant training before opset 14, but runtimes ignored that; what counts is that none is used. */
function isInference(node: Node): boolean {
  if (node.int("training_mode", 0) !== 0 || node.int("spatial", 1) === 0) return false;
  return node.outputs.slice(1).every((output) => output === undefined || output.isUnused);
}

/** An elementwise node whose operand at `index` is a constant per channel: `of` gives [scale, shift] for one element. */
function byConstant(node: Node, index: number, of: (constant: number) => readonly [number, number]): AffineNode {
  return {
    input: node.input(1 - index),
    resolve: (layout) => {
      const values = perChannel(node.inputs[index], layout);
      if (!values) return undefined;
      return { scale: values.map((c) => of(c)[0]), shift: values.map((c) => of(c)[1]) };
    },
  };
}

/** The elements of a constant that broadcasts along the channel axis only, one per channel, and adds no axes. */
export function perChannel(value: Value | undefined, layout: ChannelLayout): Float64Array | undefined {
  const dims = value?.tensor?.dims;
  const { channels, rank, fromEnd } = layout;
  if (!dims || dims.length > (rank ?? 1)) return undefined;
  const channelAxis = dims.length - fromEnd;
  if (!dims.every((dim, axis) => dim === 1 || (axis === channelAxis && dim === channels))) return undefined;
  const values = fixedNumbers(value);
  if (!values || values.length === channels) return values;
  return new Float64Array(channels).fill(values[0] as number);
}
