/** @file Pass: BatchNormalization, and scaling or shifting per channel, go into the weights of the layer before. */
import type { Graph } from "../../ir/graph.ts";
import type { Node } from "../../ir/node.ts";
import type { Value } from "../../ir/value.ts";
import type { DType } from "../../tensor/dtype.ts";
import { fromNumbers, type Tensor } from "../../tensor/tensor.ts";
import { own } from "../../util/own.ts";
import { fixedTensor, unlistInitializers } from "../constants.ts";
import { edit, inferOnce, type Pass } from "../pass.ts";
import { type Affine, affineNodes, perChannel } from "./affine.ts";
import { type Layer, layerBehind, type TypeOf, usedOnce } from "./layers.ts";

/** What may go into weights: everything; only what is added, which leaves the weights as they are; nothing. */
export type FoldLevel = "all" | "shifts" | "none";

export interface FoldBatchNormOptions {
  /** Scaling rounds every weight once more: models that amplify differences need not bear it. Default all. */
  readonly fold?: FoldLevel;
}

/**
 * Conv, ConvTranspose, Gemm and MatMul (with the Add behind it) with constant float32 or float64 weights take in what
 * follows, when nothing else uses their output: W' = scale · W, b' = scale · b + shift, worked out in double precision.
 * Weights used by several nodes are left alone, unless only the bias changes; so is what would not stay finite.
 */
export const foldBatchNorm: Pass<FoldBatchNormOptions> = (model, { fold = "all" } = {}) =>
  edit(model, (copy) => {
    if (fold === "none") return false;
    unlistInitializers(copy);
    const { types } = inferOnce(copy);
    const typeOf: TypeOf = (value) => value && (value.tensor ? value.type : (types.get(value) ?? value.type));
    let modified = false;
    for (const graph of copy.graphs()) {
      // In order, so that a chain of several folds into its layer one after another.
      for (const node of [...graph.nodes]) modified = foldNode(graph, node, typeOf, fold) || modified;
    }
    return modified;
  });

function foldNode(graph: Graph, node: Node, typeOf: TypeOf, fold: FoldLevel): boolean {
  if (node.domain !== "") return false;
  for (const { input, resolve } of own(affineNodes, node.opType)?.(node) ?? []) {
    const layer = input.producer?.graph === graph ? layerBehind(input, typeOf) : undefined;
    const affine = layer && resolve(layer.layout);
    if (fold === "shifts" && affine?.scale.some((scale) => scale !== 1)) continue;
    if (layer && affine && foldInto(layer, affine, node, input)) return true;
  }
  return false;
}

/** Changes the layer and takes the node out of the graph, or changes nothing. `input` is what the layer computes. */
function foldInto(layer: Layer, { scale, shift }: Affine, node: Node, input: Value): boolean {
  const dtype = elementType(layer);
  const scales = scale.some((s) => s !== 1);
  const shifts = shift.some((s) => s !== 0);
  // An Add behind a MatMul is its bias already.
  if (!dtype || (!layer.bias && !scales)) return false;
  const bias = layer.bias ? foldedBias(layer, { scale, shift }) : shift;
  const weight = scales ? scaledWeight(layer, scale, dtype) : undefined;
  if (!bias?.every(Number.isFinite) || (scales && !weight)) return false;
  if (weight) layer.weight.tensor = weight;
  const { graph } = node;
  if (!layer.bias && shifts) {
    const name = `${layer.weight.name}_bias`;
    const constant = graph.addInitializer(name, fromNumbers(dtype, [bias.length], bias));
    graph.replaceNode(node, { opType: "Add", inputs: [input, constant] });
    return true;
  }
  if (layer.bias && (shifts || layer.bias.node.inputs[layer.bias.index]))
    setBias(layer, layer.bias.node, layer.bias.index, fromNumbers(dtype, [bias.length], bias));
  const { name } = node.output();
  graph.replaceUses(node.output(), input);
  graph.removeNodes([node]);
  // A name goes on standing for the same numbers.
  if (!graph.find(name)) graph.rename(input, name);
  return true;
}

/** The weights' element type, when it is one that folding keeps the precision of. */
function elementType(layer: Layer): DType | undefined {
  const type = layer.weight.type;
  if (type?.kind !== "tensor") return undefined;
  return type.dtype === "float32" || type.dtype === "float64" ? type.dtype : undefined;
}

/** scale · b + shift, or undefined where the bias is not constant or not per channel. */
function foldedBias(layer: Layer, { scale, shift }: Affine): Float64Array | undefined {
  const value = layer.bias?.node.inputs[layer.bias.index];
  if (!value) return shift;
  // [channels] in a convolution, along the last axis elsewhere.
  const bias = perChannel(value, { ...layer.layout, fromEnd: 1 });
  return bias?.map((b, c) => (scale[c] as number) * layer.biasFactor * b + (shift[c] as number));
}

function setBias(layer: Layer, node: Node, index: number, tensor: Tensor): void {
  const old = node.inputs[index];
  if (old && usedOnce(old)) old.tensor = tensor;
  else node.setInput(index, node.graph.addInitializer(old?.name ?? `${layer.weight.name}_bias`, tensor));
  if (node === layer.node) node.attributes.delete("beta");
}

/** The weight with every output channel scaled, unless it is shared, not constant or would overflow. */
function scaledWeight(layer: Layer, scale: Float64Array, dtype: DType): Tensor | undefined {
  const tensor = usedOnce(layer.weight) ? fixedTensor(layer.weight) : undefined;
  if (!tensor || !scale.every(Number.isFinite)) return undefined;
  const scaled = tensor.toNumbers();
  for (let i = 0; i < scaled.length; i++) scaled[i] = (scaled[i] as number) * (scale[layer.channelOf(i)] as number);
  const result = fromNumbers(dtype, tensor.dims, scaled);
  return result.toNumbers().every(Number.isFinite) ? result : undefined;
}
