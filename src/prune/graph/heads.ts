/** @file Which channels are attention heads: what a product of two computed values goes through one by one, and what attention operators count. */
import type { Node } from "../../ir/node.ts";
import { einsumTerms } from "../../ops/shapes/linalg.ts";
import type { Analysis, PortRow } from "./analysis.ts";
import { atomsOf, type Group } from "./groups.ts";

const isComputed = ({ inputs }: Node) => inputs.every((input) => input && !input.isConstant);
const ofProduct = (node: Node) => (isComputed(node) ? [-3] : []);

/** The axes of the output that may run over heads, from the end; attention operators have heads side by side as channels. */
const headAxes: Readonly<Record<string, (node: Node) => readonly number[]>> = {
  MatMul: ofProduct,
  "com.microsoft.FusedMatMul": ofProduct,
  Einsum: (node) => (isComputed(node) ? batchAxes(node) : []),
  Attention: (node) => (node.int("q_num_heads", 0) > 0 ? [-1] : [-3]),
  "com.microsoft.Attention": () => [-1],
  "com.microsoft.MultiHeadAttention": () => [-1],
  "com.microsoft.GroupQueryAttention": () => [-1],
};

/** What both operands of an Einsum have and the result keeps: the product is one of its own for each of their indices. */
function batchAxes(node: Node): number[] {
  const terms = einsumTerms(node.string("equation", ""), node.inputs.length);
  if (terms?.inputs.length !== 2) return [];
  const { inputs, output } = terms;
  return output.flatMap((letter, axis) =>
    inputs.every((term) => term.includes(letter)) ? [axis - output.length] : [],
  );
}

function headsOf(analysis: Analysis, node: Node): PortRow[] {
  const axes = headAxes[node.domain ? `${node.domain}.${node.opType}` : node.opType]?.(node) ?? [];
  const output = node.outputs[0];
  const type = output && analysis.inference.types.get(output);
  const rank = type?.kind === "tensor" ? type.shape?.length : undefined;
  if (!output || rank === undefined) return [];
  return axes.flatMap((axis) => (rank + axis >= 0 ? (analysis.port(output, rank + axis) ?? []) : []));
}

/** Tells the groups whose channels are the heads of an attention. */
export function headGroups(analysis: Analysis): (group: Group) => boolean {
  const heads = new Set<number>();
  for (const { nodes } of analysis.model.graphs())
    for (const node of nodes) {
      for (const port of headsOf(analysis, node)) for (const atom of atomsOf(analysis, port)) heads.add(atom);
    }
  return ({ atoms }) => atoms.every((atom) => heads.has(atom));
}
