/**
 * @file Divides the channels of a value by a scale and multiplies the weights that read it: what the model computes stays the same.
 * The division goes into the constants of what computes the value, or into a Mul in front of the layers.
 */
import type { Node } from "../../ir/node.ts";
import type { Value } from "../../ir/value.ts";
import { fixedTensor } from "../../passes/constants.ts";
import { type ChannelLayout, perChannel } from "../../passes/fold-batch-norm/affine.ts";
import { type Layer, layerBehind, type TypeOf, usedOnce } from "../../passes/fold-batch-norm/layers.ts";
import { fromNumbers, type Tensor } from "../../tensor/tensor.ts";
import { own } from "../../util/own.ts";
import { type InputLayer, scaleInput, setConstant } from "./input-layers.ts";

/** Where the division went. */
export type FoldPlace = "producer" | "mul";

export interface FoldOptions {
  /** Whether a Mul may be inserted where no constant takes the division in. */
  readonly insertMul: boolean;
  /** Whether only layers (not norms or other constants) may take it in, as cross-layer equalization wants it. */
  readonly layersOnly?: boolean;
}

/**
 * Divides channel i of `value` by scale[i] for `layers`, which read it. Edits the graph.
 * @param scale positive numbers, one per channel @returns undefined when nothing could take it in; the graph is then unchanged
 */
export function foldInputScale(
  value: Value,
  scale: ArrayLike<number>,
  layers: readonly InputLayer[],
  typeOf: TypeOf,
  { insertMul, layersOnly = false }: FoldOptions,
): FoldPlace | undefined {
  const [first] = layers;
  if (!first) return undefined;
  const { channels, fromEnd } = first;
  const inverse = Float64Array.from(scale, (s) => 1 / s);
  const shape = typeOf(value);
  const rank = shape?.kind === "tensor" ? shape.shape?.length : undefined;
  const layout = { channels, fromEnd, rank: fromEnd === 1 ? rank : fromEnd + 1 };
  const onlyLayers = !value.isOutput && value.uses.size === layers.length;
  const edits = onlyLayers ? absorb(value, { layout, inverse, typeOf, layersOnly }, true) : undefined;
  if (!edits && !insertMul) return undefined;
  for (const layer of layers) scaleInput(layer, scale);
  if (edits) {
    for (const edit of edits) edit();
    return "producer";
  }
  const { graph } = first.node;
  const constant = factorTensor(first.tensor.dtype, layout, inverse);
  const factor = graph.addInitializer(`${value.name}_inverse_scale`, constant);
  const position = { before: firstOf(graph.nodes, layers) };
  const mul = graph.addNode({ opType: "Mul", inputs: [value, factor], outputs: [`${value.name}_scaled`] }, position);
  for (const { node } of layers) node.setInput(0, mul.output());
  return "mul";
}

function firstOf(nodes: readonly Node[], layers: readonly InputLayer[]): Node {
  const among = new Set(layers.map(({ node }) => node));
  return nodes.find((node) => among.has(node)) as Node;
}

/** One number per channel as a constant that broadcasts along the channel axis. */
function factorTensor(dtype: Tensor["dtype"], { channels, fromEnd }: ChannelLayout, values: Float64Array): Tensor {
  return fromNumbers(dtype, [channels, ...Array.from({ length: fromEnd - 1 }, () => 1)], values);
}

interface Division {
  readonly layout: ChannelLayout;
  readonly inverse: Float64Array;
  readonly typeOf: TypeOf;
  readonly layersOnly: boolean;
}

type Edit = () => void;
/** The edits that multiply a node's output by `inverse` per channel; undefined when its constants can't take that in. */
type Absorber = (node: Node, division: Division) => Edit[] | undefined;

/** f(c x) = c f(x) for positive c. */
const homogeneous: Absorber = (node, division) => absorb(node.input(0), division);

/** The same for what mixes the values of one channel, which is axis 1. */
const pool: Absorber = (node, division) => (channelAxis(division) === 1 ? homogeneous(node, division) : undefined);

/** y = norm(x) · scale + bias, constants [channels] along axis 1 or the last one: both take it in. */
const norm =
  (axis: 1 | "last", ...constants: readonly number[]): Absorber =>
  (node, division) => {
    const { layout, inverse, layersOnly } = division;
    const fits = axis === 1 ? channelAxis(division) === 1 : layout.fromEnd === 1 && node.int("axis", -1) === -1;
    if (layersOnly || !fits) return undefined;
    const present = constants.filter((index) => node.inputs[index]);
    const edits = present.map((index) => scaleConstant(node, index, { ...layout, fromEnd: 1 }, inverse));
    return edits.every((edit) => edit !== undefined) ? (edits as Edit[]) : undefined;
  };

/** y = a · b: one factor takes it in, a constant first. */
const product: Absorber = (node, division) => {
  for (const index of [1, 0]) {
    if (division.layersOnly || !fixedTensor(node.inputs[index])) continue;
    const edit = scaleConstant(node, index, division.layout, division.inverse);
    if (edit) return [edit];
  }
  for (const index of [1, 0]) {
    const type = division.typeOf(node.input(index));
    const whole = type?.kind === "tensor" && type.shape?.at(-division.layout.fromEnd) === division.layout.channels;
    const edits = whole ? absorb(node.input(index), division) : undefined;
    if (edits) return edits;
  }
  return undefined;
};

/** y = x + c: both take it in. */
const sum: Absorber = (node, division) => {
  if (division.layersOnly) return undefined;
  for (const index of [1, 0]) {
    const edit = scaleConstant(node, index, division.layout, division.inverse);
    const rest = edit && absorb(node.input(1 - index), division);
    if (edit && rest) return [edit, ...rest];
  }
  return undefined;
};

const absorbers: Readonly<Record<string, Absorber>> = {
  Relu: homogeneous,
  LeakyRelu: homogeneous,
  PRelu: homogeneous,
  Identity: homogeneous,
  Dropout: homogeneous,
  MaxPool: pool,
  AveragePool: pool,
  GlobalAveragePool: pool,
  LayerNormalization: norm("last", 1, 2),
  BatchNormalization: norm(1, 1, 2),
  InstanceNormalization: norm(1, 1, 2),
  RMSNormalization: norm("last", 1),
  SimplifiedLayerNormalization: norm("last", 1),
  Mul: product,
  Add: sum,
};

/** The channel axis, where the rank is known. */
function channelAxis({ layout: { rank, fromEnd } }: Division): number | undefined {
  return rank === undefined ? undefined : rank - fromEnd;
}

/** The edits that divide a value; none is made until all are possible. Values above the first must be used once. */
function absorb(value: Value, division: Division, first = false): Edit[] | undefined {
  const layer = layerBehind(value, division.typeOf);
  if (layer) return absorbInLayer(layer, division);
  const { producer } = value;
  if (producer?.domain !== "" || producer.outputs[0] !== value || !(first || usedOnce(value))) return undefined;
  return producer.inputs[0] ? own(absorbers, producer.opType)?.(producer, division) : undefined;
}

/** Output channels of a layer and its bias. */
function absorbInLayer(layer: Layer, { layout, inverse }: Division): Edit[] | undefined {
  const { weight, node, bias, channelOf } = layer;
  const tensor = fixedTensor(weight);
  if (!tensor || layer.layout.channels !== layout.channels || layer.layout.fromEnd !== layout.fromEnd) return undefined;
  const biasEdit =
    bias?.node.inputs[bias.index] && scaleConstant(bias.node, bias.index, { ...layout, fromEnd: 1 }, inverse);
  if (bias?.node.inputs[bias.index] && !biasEdit) return undefined;
  const scaled = tensor.toNumbers().map((w, i) => w * (inverse[channelOf(i)] as number));
  const index = node.inputs.indexOf(weight);
  const edit = () => setConstant(node, index, weight, fromNumbers(tensor.dtype, tensor.dims, scaled));
  return biasEdit ? [edit, biasEdit] : [edit];
}

/** Multiplies a constant that broadcasts per channel. */
function scaleConstant(node: Node, index: number, layout: ChannelLayout, inverse: Float64Array): Edit | undefined {
  const value = node.inputs[index];
  const tensor = fixedTensor(value);
  const values = perChannel(value, layout);
  if (!value || !tensor || !values) return undefined;
  const full = tensor.size === layout.channels;
  const dims = full ? tensor.dims : [layout.channels, ...Array.from({ length: layout.fromEnd - 1 }, () => 1)];
  const scaled = values.map((v, i) => v * (inverse[i] as number));
  return () => setConstant(node, index, value, fromNumbers(tensor.dtype, dims, scaled));
}
