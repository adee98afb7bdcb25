/**
 * @file Gates: every block's branch gets a factor, 1 to keep and 0 to remove it, so that one session runs the model without any choice
 * of blocks; and statistics of what goes into and comes out of each block, summed up in the graph.
 */
import { makeEmitter } from "../../autodiff/emitter.ts";
import { attr } from "../../ir/attribute.ts";
import type { Model } from "../../ir/model.ts";
import type { Node } from "../../ir/node.ts";
import { tensorType } from "../../ir/types.ts";
import type { Value } from "../../ir/value.ts";
import { infer } from "../../ops/infer.ts";
import { convertOpset } from "../../passes/convert-opset/convert-opset.ts";
import { dtypeInfo } from "../../tensor/dtype.ts";
import { float32 } from "../../tensor/tensor.ts";
import { own } from "../../util/own.ts";
import { findBlocks, type ResidualBlock } from "./residual-blocks.ts";

/** Operator set in which sums have their axes as an input. */
const OPSET = 18;

/** Names of the outputs that hold sums over a run: by position along the channels of x · y, x² and y²; by channel of x, y, x² and x · y. */
export interface BlockSums {
  readonly byPosition: readonly [xy: string, xx: string, yy: string];
  readonly byChannel: readonly [x: string, y: string, xx: string, xy: string];
}

export interface GatedModel {
  readonly model: Model;
  /** Names of the gates, float32 scalars, one for each block. */
  readonly gates: readonly string[];
  readonly sums: readonly BlockSums[];
}

/** A copy of the model with gates as inputs and sums as further outputs. */
export function gated(given: Model): GatedModel {
  const model = convertOpset(given, Math.max(given.opset, OPSET)).model.clone();
  model.irVersion = Math.max(model.irVersion, 4);
  const { graph } = model;
  const inference = infer(model);
  const { blocks } = findBlocks(model, inference);
  const gates = blocks.map((block, i) => {
    const gate = graph.addValue(`gate_${i}`, tensorType("float32", []));
    graph.addInput(gate);
    gateBranch(block, gate, inference.types);
    return gate.name;
  });
  const op = makeEmitter(graph, model.opset, inference);
  const asOutput = (value: Value) => {
    value.type ??= op.typeOf(value);
    if (!value.isOutput) graph.addOutput(value);
    return value.name;
  };
  const sums = blocks.map((block): BlockSums => {
    op.subject = block.join.output().name;
    const [x, y] = [block.kept, block.join.output()].map((value) => {
      op.declare(value, inference.types.get(value));
      return op.dtype(value) === "float32" ? value : op.cast(value, "float32");
    }) as [Value, Value];
    const rank = op.rank(x);
    const axis = channelAxis(block, rank);
    const others = Array.from({ length: rank }, (_, i) => i).filter((i) => i !== axis);
    const along = (value: Value) => asOutput(op.ReduceSum(value, [axis], { keepdims: 0 }));
    const across = (value: Value) => asOutput(op.ReduceSum(value, others, { keepdims: 0 }));
    const [xy, xx, yy] = [op.Mul(x, y), op.Mul(x, x), op.Mul(y, y)];
    return { byPosition: [along(xy), along(xx), along(yy)], byChannel: [across(x), across(y), across(xx), across(xy)] };
  });
  return { model, gates, sums };
}

/** Multiplies branches with zero, in place: the model then computes what the one without these blocks does. */
export function maskBlocks(model: Model, isRemoved: (index: number) => boolean): void {
  const inference = infer(model);
  findBlocks(model, inference).blocks.forEach((block, i) => {
    if (!isRemoved(i)) return;
    gateBranch(block, model.graph.addInitializer(`gate_${i}`, float32([], [0])), inference.types);
  });
}

function gateBranch({ join, branch, at }: ResidualBlock, gate: Value, types: ReturnType<typeof infer>["types"]): void {
  const { graph } = join;
  const type = types.get(branch);
  const dtype = type?.kind === "tensor" ? type.dtype : "float32";
  const position = { before: join };
  const cast = { opType: "Cast", inputs: [gate], attributes: { to: attr.int(dtypeInfo(dtype).code) } };
  const factor = dtype === "float32" ? gate : graph.addNode(cast, position).output();
  const spec = { opType: "Mul", inputs: [branch, factor], outputs: [`${branch.name}_gated`] };
  join.setInput(at, graph.addNode(spec, position).output());
}

/** Operators that say where the channels of what they compute are. */
const channelAxes: Readonly<Record<string, number>> = {
  Conv: 1,
  "com.microsoft.FusedConv": 1,
  ConvTranspose: 1,
  BatchNormalization: 1,
  InstanceNormalization: 1,
  GroupNormalization: 1,
  MatMul: -1,
  Gemm: -1,
  LayerNormalization: -1,
  RMSNormalization: -1,
};

/** The axis of a block's channels: that of the last layer before the sum, else the second of images and the last of anything else. */
export function channelAxis({ branch, nodes }: ResidualBlock, rank: number): number {
  const inside = new Set(nodes);
  let node: Node | undefined = branch.producer;
  while (node && inside.has(node)) {
    const key: string = node.domain ? `${node.domain}.${node.opType}` : node.opType;
    const axis = own(channelAxes, key);
    if (axis !== undefined) return axis < 0 ? axis + rank : axis;
    if (node.opType === "Transpose" || node.opType === "Reshape") break;
    node = node.inputs.find((input) => input?.producer)?.producer;
  }
  return rank > 3 ? 1 : rank - 1;
}
