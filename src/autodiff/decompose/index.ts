/**
 * @file The table of decompositions: operators that are taken apart before they are differentiated, where a gradient passes through them.
 *
 * A file of this folder exports one table, `satisfies Decompositions`, and stands in the list of its domain below.
 */
import type { Node } from "../../ir/node.ts";
import type { Value } from "../../ir/value.ts";
import { invariant } from "../../util/errors.ts";
import type { Emitter } from "../emitter.ts";
import { attentions, contribAttentions } from "./attention.ts";
import { contrib } from "./contrib.ts";
import type { Decomposition, Decompositions } from "./decomposition.ts";
import { gridSamples } from "./grid-sample.ts";
import { recurrents } from "./recurrent.ts";
import { scatter } from "./scatter.ts";
import { standard } from "./standard.ts";

const tables: ReadonlyMap<string, ReadonlyMap<string, Decomposition>> = new Map([
  ["", merged(attentions, gridSamples, recurrents, scatter, standard)],
  ["com.microsoft", merged(contrib, contribAttentions)],
]);

function merged(...families: readonly Decompositions[]): ReadonlyMap<string, Decomposition> {
  return new Map(families.flatMap((family) => Object.entries(family)));
}

/** Operators that are taken apart, by domain. */
export function decomposedOps(domain: string): readonly string[] {
  return [...(tables.get(domain)?.keys() ?? [])].sort();
}

/** Takes apart those of the nodes that can be, in place; their outputs keep their names. Returns whether there was one. */
export function decompose(op: Emitter, nodes: readonly Node[]): boolean {
  let modified = false;
  for (const node of nodes) {
    const present = new Set(op.graph.values);
    op.subject = node.outputs.find((output) => output)?.name ?? node.opType;
    const results = tables.get(node.domain)?.get(node.opType)?.({ node, op, x: node.inputs });
    if (!results) continue;
    substitute(op, node, results, present);
    modified = true;
  }
  if (modified) op.graph.sort();
  return modified;
}

/** Puts values in the place of a node's outputs. A value that was there before keeps its name: an Identity takes the output's. */
function substitute(
  op: Emitter,
  node: Node,
  results: readonly (Value | undefined)[],
  present: ReadonlySet<Value>,
): void {
  const { graph } = op;
  const outputs = node.outputs.map((old, i) => {
    const result = results[i];
    if (!old || old.isUnused) return undefined;
    invariant(result, `the decomposition of ${node} gives no output ${i}`);
    const isNew = result.producer && !present.has(result) && !result.isOutput;
    const own = isNew ? result : graph.addNode({ opType: "Identity", inputs: [result] }).output();
    op.declare(own, op.typeOf(old) ?? op.typeOf(result));
    const { name } = old;
    graph.replaceUses(old, own);
    return { own, name };
  });
  graph.removeNodes([node]);
  for (const output of outputs) if (output) graph.rename(output.own, output.name);
}
