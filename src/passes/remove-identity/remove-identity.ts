/** @file Pass: removes nodes that give back their input, and joins pairs that undo or repeat each other. */
import type { Graph } from "../../ir/graph.ts";
import type { Node } from "../../ir/node.ts";
import type { Value } from "../../ir/value.ts";
import { own } from "../../util/own.ts";
import { unlistInitializers } from "../constants.ts";
import { isSeenFrom } from "../expose-weights.ts";
import { edit, inferOnce, type Pass } from "../pass.ts";
import { fusions } from "./fusions.ts";
import { identityRules, type RuleContext } from "./rules.ts";

/**
 * A node stays where its input can't take over the name of a graph output (an input, a constant, a value of a graph
 * around it, or an output itself). Nodes that lose their last use through a fusion are left to dead code removal.
 */
export const removeIdentity: Pass = (model) =>
  edit(model, (copy) => {
    unlistInitializers(copy);
    const { types } = inferOnce(copy);
    const ctx: RuleContext = {
      opset: copy.opsetImports.get("") ?? 0,
      typeOf: (value) => value && (types.get(value) ?? value.type),
    };
    let modified = false;
    for (const graph of copy.graphs()) {
      const gone: Node[] = [];
      for (const node of graph.nodes) {
        if (node.domain !== "") continue;
        while (fuse(node)) modified = true;
        if (bypass(graph, node, ctx)) gone.push(node);
      }
      graph.removeNodes(gone);
      modified ||= gone.length > 0;
    }
    return modified;
  });

function fuse(node: Node): boolean {
  const before = node.inputs[0]?.producer;
  return before !== undefined && before.domain === "" && (own(fusions, node.opType)?.(node, before) ?? false);
}

/** Makes the node's input serve in place of its output, where a rule allows. */
function bypass(graph: Graph, node: Node, ctx: RuleContext): boolean {
  const output = node.outputs[0];
  if (!output || node.outputs.slice(1).some((other) => other && !other.isUnused)) return false;
  const source = own(identityRules, node.opType)?.(node, ctx);
  if (!source || !canStandFor(source, output)) return false;
  if ([...output.uses].some((use) => !isSeenFrom(use.node.graph, source))) return false;
  graph.replaceUses(output, source);
  return true;
}

function canStandFor(source: Value, output: Value): boolean {
  return !output.isOutput || output.graph.canTakeOver(output, source);
}
