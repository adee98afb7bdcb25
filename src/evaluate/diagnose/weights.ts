/** @file The weight of a quantized layer read back from its codes, and what its rounding took away, by channel. */
import type { Node } from "../../ir/node.ts";
import type { Value } from "../../ir/value.ts";
import { dtypeInfo } from "../../tensor/dtype.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { own } from "../../util/own.ts";

/** Constant codes with scales, as they stand in a graph. */
export interface CodedWeight {
  /** What messages call it: the constant that holds the codes. */
  readonly name: string;
  readonly dims: readonly number[];
  readonly codes: Tensor;
  readonly scales: Tensor;
  readonly zeroPoints: Tensor | undefined;
  readonly axis: number;
  /** Elements along `axis` that share a scale; 0 where the scale is one per index or one for all. */
  readonly block: number;
  readonly bits: number;
}

/** Where input and output channels of a weight lie: indices of an element. */
export interface WeightLayout {
  readonly inputs: number;
  readonly outputs: number;
  input(index: number): number;
  output(index: number): number;
}

/** Sums over a weight, by channel. */
export interface WeightStats {
  /** Sum of squares by input channel: how much of each reaches the output. */
  readonly gain: Float64Array;
  /** Sum of squared errors by input channel. */
  readonly error: Float64Array;
  /** By output channel. */
  readonly energy: Float64Array;
  readonly noise: Float64Array;
  readonly largest: Float64Array;
  /** Output channels of which nothing but zeros is left. */
  readonly zero: readonly number[];
  /** Whether errors are of the original's weights, not estimated from the scales. */
  readonly exact: boolean;
}

/** The constant with its codes behind a DequantizeLinear; undefined for anything else. */
export function codedWeight(value: Value | undefined): CodedWeight | undefined {
  const node = value?.producer;
  if (node?.opType !== "DequantizeLinear") return undefined;
  const stored = node.input(0);
  const constant = stored.producer?.opType === "Cast" ? stored.producer.input(0) : stored;
  const scales = node.inputs[1]?.tensor;
  if (!constant.tensor || !scales) return undefined;
  const { dims, dtype } = constant.tensor;
  const axis = node.int("axis", 1);
  return {
    name: constant.name,
    dims,
    codes: constant.tensor,
    scales,
    zeroPoints: node.inputs[2]?.tensor,
    axis: axis < 0 ? axis + dims.length : axis,
    block: node.int("block_size", 0),
    bits: dtypeInfo(dtype).bits,
  };
}

/** Which element belongs to which channel; undefined for operators without a row. */
export function weightLayout(opType: string, node: Node, dims: readonly number[]): WeightLayout | undefined {
  return own(layouts, opType)?.(node, dims);
}

type Layout = (node: Node, dims: readonly number[]) => WeightLayout;

const product = (dims: readonly number[]) => dims.reduce((a, b) => a * b, 1);

/** [out, in / groups, kernel…] */
const conv: Layout = (node, [outputs = 1, perGroup = 1, ...kernel]) => {
  const size = product(kernel);
  const groups = node.int("group", 1);
  const inGroup = outputs / groups;
  const output = (i: number) => Math.floor(i / (perGroup * size));
  const input = (i: number) => Math.floor(output(i) / inGroup) * perGroup + (Math.floor(i / size) % perGroup);
  return { inputs: perGroup * groups, outputs, input, output };
};

/** [..., in, out] */
const columns: Layout = (_, dims) => {
  const [inputs = 1, outputs = 1] = dims.slice(-2);
  return { inputs, outputs, input: (i) => Math.floor(i / outputs) % inputs, output: (i) => i % outputs };
};

/** [out, in] */
const rows: Layout = (_, [outputs = 1, inputs = 1]) => ({
  inputs,
  outputs,
  input: (i) => i % inputs,
  output: (i) => Math.floor(i / inputs),
});

const layouts: Readonly<Record<string, Layout>> = {
  Conv: conv,
  ConvInteger: conv,
  MatMul: columns,
  MatMulInteger: columns,
  Gemm: (node, dims) => (node.int("transB", 0) === 1 ? rows : columns)(node, dims),
};

/** The index of the scale of every element. */
export function scaleIndex({ dims, scales, axis, block }: CodedWeight): (index: number) => number {
  if (scales.size === 1) return () => 0;
  const inner = product(dims.slice(axis + 1));
  const length = dims[axis] ?? 1;
  if (block === 0) return (i) => Math.floor(i / inner) % length;
  const blocks = Math.ceil(length / block);
  return (i) => {
    const along = Math.floor(i / inner) % length;
    return (Math.floor(i / (inner * length)) * blocks + Math.floor(along / block)) * inner + (i % inner);
  };
}

/**
 * Reads the codes once. `original` is the float weight that they stand for; without it errors are taken to be those of
 * rounding: a twelfth of the squared step.
 */
export function weightStats(weight: CodedWeight, layout: WeightLayout, original: Tensor | undefined): WeightStats {
  const codes = weight.codes.toNumbers();
  const scales = weight.scales.toFloat32();
  const zeros = weight.zeroPoints?.toNumbers();
  const wanted = original?.toFloat32();
  const indexOf = scaleIndex(weight);
  const [gain, error] = [new Float64Array(layout.inputs), new Float64Array(layout.inputs)];
  const [energy, noise, largest, left] = [0, 0, 0, 0].map(() => new Float64Array(layout.outputs)) as [
    Float64Array,
    Float64Array,
    Float64Array,
    Float64Array,
  ];
  const zeroAt = (index: number) => zeros?.[zeros.length === 1 ? 0 : index] ?? 0;
  for (let i = 0; i < codes.length; i++) {
    const at = indexOf(i);
    const step = scales[at] as number;
    const x = ((codes[i] as number) - zeroAt(at)) * step;
    const w = wanted?.[i] ?? x;
    const lost = wanted ? (w - x) ** 2 : step ** 2 / 12;
    const [c, o] = [layout.input(i), layout.output(i)];
    gain[c] = (gain[c] as number) + w * w;
    error[c] = (error[c] as number) + lost;
    energy[o] = (energy[o] as number) + w * w;
    noise[o] = (noise[o] as number) + lost;
    left[o] = (left[o] as number) + Math.abs(x);
    largest[o] = Math.max(largest[o] as number, Math.abs(w));
  }
  const zero = [...left.keys()].filter((o) => left[o] === 0);
  return { gain, error, energy, noise, largest, zero, exact: wanted !== undefined };
}
