/** @file Pass: puts the branch of an If that is always taken in its place. */
import { type Attribute, isReference } from "../ir/attribute.ts";
import type { Graph } from "../ir/graph.ts";
import type { Model } from "../ir/model.ts";
import type { Node } from "../ir/node.ts";
import type { Value } from "../ir/value.ts";
import { type InferOptions, infer } from "../ops/infer.ts";
import type { Contents } from "../ops/shapes/call.ts";
import { type Inlining, inlineBodies } from "./inline-body.ts";
import { edit, inferOnce, type PassResult } from "./pass.ts";

/**
 * Replaces every If whose condition is known before the model runs, in subgraphs too, also where it follows from `inputShapes`;
 * then the result is right for inputs of these sizes only. What computed the conditions stays: removeDeadCode takes it.
 */
export function inlineBranches(model: Model, options: InferOptions = {}): PassResult {
  if (!model.graphs().some(({ nodes }) => nodes.some(isIf))) return { model, modified: false };
  return edit(model, (copy) => {
    let { contents } = options.inputShapes ? infer(copy, options) : inferOnce(copy);
    let modified = false;
    for (; takeBranches(copy.graph, contents); contents = infer(copy, options).contents) modified = true;
    return modified;
  });
}

/** One round: Ifs inside of a branch that is taken wait for the next, when they stand elsewhere. */
function takeBranches(graph: Graph, contents: ReadonlyMap<Value, Contents>): boolean {
  const decided: Inlining[] = [];
  let modified = false;
  for (const node of graph.nodes) {
    const body = isIf(node) ? takenBranch(node, contents) : undefined;
    if (body) decided.push({ call: node, body, inputs: [] });
    else for (const inner of node.subgraphs()) modified = takeBranches(inner, contents) || modified;
  }
  if (decided.length > 0) inlineBodies(graph, decided);
  return modified || decided.length > 0;
}

function isIf({ domain, opType }: Node): boolean {
  return domain === "" && opType === "If";
}

function takenBranch(node: Node, contents: ReadonlyMap<Value, Contents>): Graph | undefined {
  const [condition] = contents.get(node.input(0))?.values ?? [];
  if (typeof condition !== "number") return undefined;
  const attribute: Attribute | undefined = node.attributes.get(condition === 0 ? "else_branch" : "then_branch");
  return attribute && !isReference(attribute) && attribute.type === "graph" ? attribute.value : undefined;
}
