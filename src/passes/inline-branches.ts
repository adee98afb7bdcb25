/** @file Moves the branch of an If that is always taken into the graph around it. */
import { isReference } from "../ir/attribute.ts";
import type { Graph } from "../ir/graph.ts";
import { cloneAttribute } from "../ir/model.ts";
import type { Node } from "../ir/node.ts";
import type { Value } from "../ir/value.ts";
import { contentsOfTensor } from "../ops/contents/tensor.ts";

/** Inlines every If of the graph whose condition is constant, in place; outputs keep their names. Returns whether there was one. */
export function inlineBranches(graph: Graph): boolean {
  const decided = graph.nodes.flatMap((node) => {
    const branch = takenBranch(node);
    return branch ? [{ node, branch }] : [];
  });
  for (const { node, branch } of decided) inline(graph, node, branch);
  return decided.length > 0;
}

function takenBranch(node: Node): Graph | undefined {
  const condition = node.opType === "If" && node.domain === "" ? node.inputs[0]?.tensor : undefined;
  const [isTrue] = (condition && contentsOfTensor(condition)?.values) ?? [];
  if (typeof isTrue !== "number") return undefined;
  const attribute = node.attributes.get(isTrue ? "then_branch" : "else_branch");
  return attribute && !isReference(attribute) && attribute.type === "graph" ? attribute.value : undefined;
}

function inline(graph: Graph, node: Node, branch: Graph): void {
  const twins = new Map<Value, Value>();
  const twinOf = (value: Value | undefined) => value && (twins.get(value) ?? value);
  for (const value of branch.values) {
    const twin = graph.addValue(value.name, value.type);
    twin.tensor = value.tensor;
    twin.sparse = value.sparse;
    twins.set(value, twin);
  }
  for (const inner of branch.nodes) {
    const { opType, domain, overload, name } = inner;
    const attributes = new Map(
      [...inner.attributes].map(([key, attribute]) => [key, cloneAttribute(attribute, graph, twins)]),
    );
    const [inputs, outputs] = [inner.inputs.map(twinOf), inner.outputs.map(twinOf)];
    graph.addNode({ opType, domain, overload, name, inputs, outputs, attributes }, { before: node });
  }
  const outputs = node.outputs.map((output, i) => {
    if (!output) return undefined;
    const own = graph.addNode({ opType: "Identity", inputs: [twinOf(branch.outputs[i])] }, { before: node }).output();
    const { name, type } = output;
    graph.replaceUses(output, own);
    own.type ??= type;
    return { own, name };
  });
  graph.removeNodes([node]);
  for (const output of outputs) if (output) graph.rename(output.own, output.name);
}
