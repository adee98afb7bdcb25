/** @file Layers that are protected from pruning. */
import type { Node } from "../../ir/node.ts";
import { pickByName } from "../../util/name-pattern.ts";
import { layerName } from "./groups.ts";

/** The layers that a list of names, globs and operators picks. @throws bad-recipe for a pattern that matches none */
export function protectedLayers(layers: Iterable<Node>, protect: string | undefined): ReadonlySet<Node> {
  const items = [...new Set(layers)].map((node, index) => ({ node, index, names: [layerName(node), node.opType] }));
  const patterns = (protect ?? "").split(",").flatMap((part) => (part.trim() ? [part.trim()] : []));
  return new Set(patterns.flatMap((pattern) => pickByName(pattern, items, "layer").map(({ node }) => node)));
}
