/** @file Rewrite of Softmax, LogSoftmax and Hardmax from the two-dimensional form (before opset 13) to one axis. */
import { attr } from "../../ir/attribute.ts";
import type { Node } from "../../ir/node.ts";
import type { Rewrite, Rewriter } from "./rewriter.ts";

/**
 * Before 13 the axes from `axis` (default 1) on were taken as one. That is one axis when all but one of them have size 1;
 * otherwise the input is flattened to two axes and the result gets its shape back.
 */
export const softmax13: Rewrite = (node, rewriter) => {
  const { graph } = node;
  const axis = node.int("axis", 1);
  const single = singleAxis(node, axis, rewriter);
  if (single !== undefined) {
    node.attributes.set("axis", attr.int(single));
    return;
  }
  const input = node.input(0);
  const output = node.output();
  const name = output.name;
  const before = { before: node };
  const shape = graph.addNode({ opType: "Shape", inputs: [input], outputs: [`${name}_shape`] }, before).output();
  const flatten = {
    opType: "Flatten",
    inputs: [input],
    outputs: [`${name}_flat`],
    attributes: { axis: attr.int(axis) },
  };
  const flat = graph.addNode(flatten, before).output();
  const attributes = { axis: attr.int(-1) };
  const { opType } = node;
  const inner = graph.addNode({ opType, name: node.name, inputs: [flat], outputs: [`${name}_2d`], attributes }, before);
  const { docString, metadata } = node;
  Object.assign(inner, { docString, metadata });
  graph.replaceNode(node, { opType: "Reshape", name: "", inputs: [inner.output(), shape] });
};

/** The axis that alone makes up the coerced second dimension, if it is known. */
function singleAxis(node: Node, axis: number, rewriter: Rewriter): number | undefined {
  if (axis === -1) return -1;
  const type = rewriter.typeOf(node.input(0));
  const shape = type?.kind === "tensor" ? type.shape : undefined;
  if (!shape) return undefined;
  const first = axis < 0 ? axis + shape.length : axis;
  if (first === shape.length - 1) return -1;
  const axes = shape.flatMap((dim, i) => (i >= first && dim !== 1 ? [i] : []));
  if (axes.length > 1) return undefined;
  return axes[0] ?? -1;
}
