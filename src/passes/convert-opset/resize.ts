/** @file Rewrites of Upsample and Resize. */
import { attr } from "../../ir/attribute.ts";
import type { Node } from "../../ir/node.ts";
import { float32 } from "../../tensor/tensor.ts";
import { fixedNumbers } from "../constants.ts";
import type { Rewrite, Rewriter } from "./rewriter.ts";

const emptyFloats = float32([0], []);
/** What was an Upsample: its scales are at least 1, constant or not. */
const upsamples = new WeakSet<Node>();

/** Resize 10 took over from Upsample 9 as it was. */
export const upsampleToResize: Rewrite = (node) => {
  const twin = node.graph.replaceNode(node, {
    opType: "Resize",
    inputs: node.inputs,
    attributes: node.attributes,
  });
  upsamples.add(twin);
};

/**
 * Resize 10 maps coordinates by plain division. Which neighbour "nearest" means it leaves open; ONNX Runtime takes the
 * one below, but above on an axis that shrinks (upsamplebase.h, NearestMode::SIMPLE).
 */
export const resize11: Rewrite = (node, rewriter) => {
  const scales = node.input(1);
  node.attributes.set("coordinate_transformation_mode", attr.string("asymmetric"));
  if (node.string("mode", "nearest") === "nearest")
    node.attributes.set("nearest_mode", attr.string(nearestMode(node, rewriter)));
  node.setInputs([node.input(0), rewriter.constant(node, `${scales.name}_roi`, emptyFloats), scales]);
};

function nearestMode(node: Node, rewriter: Rewriter): string {
  if (upsamples.has(node)) return "floor";
  const scales = fixedNumbers(node.input(1));
  if (!scales)
    rewriter.refuse(
      node,
      "whether it enlarges or shrinks depends on scales that are not constant. Fold constants first",
    );
  if (scales.every((scale) => scale >= 1)) return "floor";
  if (scales.every((scale) => scale <= 1)) return "ceil";
  return rewriter.refuse(node, "it enlarges one axis and shrinks another, and takes the nearest neighbour on both");
}

/** Empty roi and scales are left out from 13 on, and tf_half_pixel_for_nn is gone: x = (i + 0.5) / scale, rounded down. */
export const resize13: Rewrite = (node, rewriter) => {
  for (const index of [1, 2]) {
    const value = node.inputs[index];
    if (value?.tensor?.size !== 0) continue;
    node.setInput(index, undefined);
    if (value.isUnused && !value.isInput) value.graph.removeValue(value);
  }
  if (node.string("coordinate_transformation_mode") !== "tf_half_pixel_for_nn") return;
  if (node.string("mode", "nearest") !== "nearest" || node.string("nearest_mode") !== "floor")
    rewriter.refuse(node, "coordinate_transformation_mode tf_half_pixel_for_nn exists only before opset 13");
  // floor(x) = floor((x - 0.5) + 0.5): half_pixel coordinates, halves rounded up.
  node.attributes.set("coordinate_transformation_mode", attr.string("half_pixel"));
  node.attributes.set("nearest_mode", attr.string("round_prefer_ceil"));
};
