/** @file Pass: puts the branch of an If that is always taken in its place. */
import { type Attribute, isReference } from "../ir/attribute.ts";
import type { Graph } from "../ir/graph.ts";
import type { Model } from "../ir/model.ts";
import type { Node } from "../ir/node.ts";
import type { Value } from "../ir/value.ts";
import { type InferOptions, infer } from "../ops/infer.ts";
import type { Contents } from "../ops/shapes/call.ts";
import { inlineBody } from "./inline-body.ts";
import { edit, type PassResult } from "./pass.ts";

/**
 * Replaces every If of the graph whose condition is known before the model runs, also where it follows from `inputShapes`; then
 * the result is right for inputs of these sizes only. Ifs inside of the branch follow. What computed the conditions stays: removeDeadCode takes it.
 */
export function inlineBranches(model: Model, options: InferOptions = {}): PassResult {
  if (!model.graph.nodes.some(isIf)) return { model, modified: false };
  return edit(model, (copy) => {
    const { graph } = copy;
    let modified = false;
    for (;;) {
      const { contents } = infer(copy, options);
      const decided = graph.nodes.filter(isIf).flatMap((node) => {
        const branch = takenBranch(node, contents);
        return branch ? [{ node, branch }] : [];
      });
      if (decided.length === 0) break;
      for (const { node, branch } of decided) inlineBody(node, branch, []);
      modified = true;
    }
    return modified;
  });
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
