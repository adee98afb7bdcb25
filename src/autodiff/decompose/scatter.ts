/** @file Decomposition of ScatterND into ScatterElements, whose sums are right with several threads. */
import { flatIndices } from "../rules/index-ops.ts";
import type { Decompositions } from "./decomposition.ts";

export const scatter = {
  // Index vectors [..., k] over data [d1, …, dk, …] as one index each into [d1 ⋯ dk, slice].
  ScatterND: ({ node, op, x: [data, indices, updates] }) => {
    const dims = op.shape(data);
    const depth = op.shape(indices).at(-1) ?? 0;
    const slice = dims.slice(depth).reduce((a, b) => a * b, 1);
    const places = op.Reshape(flatIndices(op, indices, dims.slice(0, depth)), [-1, 1]);
    const count = op
      .shape(indices)
      .slice(0, -1)
      .reduce((a, b) => a * b, 1);
    const scattered = op.ScatterElements(
      op.Reshape(data, [-1, slice]),
      op.Expand(places, [count, slice]),
      op.Reshape(updates, [count, slice]),
      { axis: 0, reduction: node.string("reduction", "none") },
    );
    return [op.Reshape(scattered, dims)];
  },
} satisfies Decompositions;
