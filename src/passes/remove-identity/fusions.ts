/** @file Pairs of nodes of which the second can read what went into the first. */
import { attr } from "../../ir/attribute.ts";
import type { Node } from "../../ir/node.ts";
import { fixedIntegers } from "../constants.ts";

/** Rewires the node past its predecessor, in place; returns whether it did. The predecessor stays for its other uses. */
export type Fusion = (node: Node, before: Node) => boolean;

/** Ops that keep the elements in row-major order and only change the shape. */
const reshapes = new Set(["Reshape", "Flatten", "Squeeze", "Unsqueeze"]);

export const fusions: Readonly<Record<string, Fusion>> = {
  Transpose: (node, before) => {
    const first = before.ints("perm");
    const second = node.ints("perm");
    if (before.opType !== "Transpose" || !first || second?.length !== first.length) return false;
    node.attributes.set("perm", attr.ints(second.map((axis) => first[axis] ?? 0)));
    node.setInput(0, before.input(0));
    return true;
  },
  // A 0 copies a size of the shape in between, unless allowzero: then it is a size itself.
  Reshape: (node, before) => {
    const shape = fixedIntegers(node.inputs[1]);
    if (!reshapes.has(before.opType) || !shape || shape.includes(0)) return false;
    node.setInput(0, before.input(0));
    return true;
  },
};
