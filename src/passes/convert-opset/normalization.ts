/** @file Rewrites of BatchNormalization, GroupNormalization and Dropout. */
import { attr } from "../../ir/attribute.ts";
import type { Node } from "../../ir/node.ts";
import type { Value } from "../../ir/value.ts";
import { int64 } from "../../tensor/tensor.ts";
import { asFloat, constantFor, moveAttributes } from "./move-attributes.ts";
import type { Rewrite, Rewriter } from "./rewriter.ts";

/** Per-activation statistics (spatial = 0) are gone. */
export const batchNormalization9: Rewrite = (node, rewriter) => {
  if (node.int("spatial", 1) === 0) rewriter.refuse(node, "spatial = 0 exists only before opset 9");
  node.attributes.delete("spatial");
};

/** Before 14 more than one output meant training; with one it is inference in all versions. */
export const batchNormalization14: Rewrite = (node, rewriter) =>
  dropExtraOutputs(node, rewriter, "its training outputs are used, which opset 14 computes otherwise");

/** The mask of an inference Dropout is of another type from 10 on and of another value from 12 on. */
export const dropout10: Rewrite = (node, rewriter) =>
  dropExtraOutputs(node, rewriter, "its mask is used, which newer opsets define otherwise");

export const dropout12: Rewrite = (node, rewriter) => {
  dropout10(node, rewriter);
  moveAttributes({ ratio: asFloat })(node, rewriter);
};

function dropExtraOutputs(node: Node, rewriter: Rewriter, whyNot: string): void {
  const extra = node.outputs.slice(1).filter((output) => output !== undefined);
  if (extra.some((output) => !output.isUnused)) rewriter.refuse(node, whyNot);
  for (const output of extra) node.graph.dropOutput(output);
}

/** Version 18 has scale and bias per group, 21 per channel: each is repeated for the channels of its group. */
export const groupNormalization21: Rewrite = (node, rewriter) => {
  const groups = node.int("num_groups");
  if (groups === undefined) return rewriter.refuse(node, "it has no num_groups");
  const [x, scale, bias] = [node.input(0), node.input(1), node.input(2)];
  const shape = repeatedShape(node, x, groups, rewriter);
  node.setInputs([x, repeat(node, scale, shape, rewriter), repeat(node, bias, shape, rewriter)]);
};

/** The shape [groups, channels per group], constant where the channels are known. */
function repeatedShape(node: Node, x: Value, groups: number, rewriter: Rewriter): Value {
  const type = rewriter.typeOf(x);
  const channels = type?.kind === "tensor" ? type.shape?.[1] : undefined;
  if (typeof channels === "number")
    return constantFor(node, "channels", int64([2], [groups, channels / groups]), rewriter);
  const add = (opType: string, inputs: Value[], attributes = {}) =>
    node.graph.addNode({ opType, inputs, outputs: [`${x.name}_${opType}`], attributes }, { before: node }).output();
  const count = constantFor(node, "groups", int64([1], [groups]), rewriter);
  const total = add("Shape", [x], { start: attr.int(1), end: attr.int(2) });
  return add("Concat", [count, add("Div", [total, count])], { axis: attr.int(0) });
}

/** [groups] to [channels]. */
function repeat(node: Node, perGroup: Value, shape: Value, rewriter: Rewriter): Value {
  const add = (opType: string, inputs: Value[]) =>
    node.graph.addNode({ opType, inputs, outputs: [`${perGroup.name}_${opType}`] }, { before: node }).output();
  const column = add("Unsqueeze", [perGroup, constantFor(node, "axis", int64([1], [1]), rewriter)]);
  const flat = constantFor(node, "flat", int64([1], [-1]), rewriter);
  return add("Reshape", [add("Expand", [column, shape]), flat]);
}
