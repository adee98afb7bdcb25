/** @file Which channels are attention heads: what a product of two computed values goes through one by one, and what attention operators count. */
import type { Node } from "../ir/node.ts";
import type { Analysis, PortRow } from "./analysis.ts";
import { atomsOf, type Group } from "./groups.ts";

/** The axis of the output that runs over heads, from the end; attention operators have heads side by side as channels. */
const headAxes: Readonly<Record<string, (node: Node) => number | undefined>> = {
  MatMul: (node) => (node.inputs.every((input) => input && !input.isConstant) ? -3 : undefined),
  "com.microsoft.FusedMatMul": (node) => (node.inputs.every((input) => input && !input.isConstant) ? -3 : undefined),
  Attention: (node) => (node.int("q_num_heads", 0) > 0 ? -1 : -3),
  "com.microsoft.Attention": () => -1,
  "com.microsoft.MultiHeadAttention": () => -1,
  "com.microsoft.GroupQueryAttention": () => -1,
};

function headsOf(analysis: Analysis, node: Node): PortRow | undefined {
  const axis = headAxes[node.domain ? `${node.domain}.${node.opType}` : node.opType]?.(node);
  const output = node.outputs[0];
  const type = output && analysis.inference.types.get(output);
  const rank = type?.kind === "tensor" ? type.shape?.length : undefined;
  return output && axis !== undefined && rank !== undefined && rank + axis >= 0
    ? analysis.port(output, rank + axis)
    : undefined;
}

/** Tells the groups whose channels are the heads of an attention. */
export function headGroups(analysis: Analysis): (group: Group) => boolean {
  const heads = new Set<number>();
  for (const { nodes } of analysis.model.graphs())
    for (const node of nodes) {
      const port = headsOf(analysis, node);
      if (port) for (const atom of atomsOf(analysis, port)) heads.add(atom);
    }
  return ({ atoms }) => atoms.every((atom) => heads.has(atom));
}
