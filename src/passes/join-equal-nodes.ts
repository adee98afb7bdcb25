/** @file Pass: nodes that compute the same from the same constants become one, so that what they give is kept once. */
import { type Attribute, isReference } from "../ir/attribute.ts";
import type { Graph } from "../ir/graph.ts";
import type { Node } from "../ir/node.ts";
import type { Value } from "../ir/value.ts";
import { randomOps } from "./constant-regions.ts";
import { fixedTensor, unlistInitializers } from "./constants.ts";
import { isSeenFrom } from "./expose-weights.ts";
import { edit, type Pass } from "./pass.ts";

/** Within one graph, of standard operators: an exporter transposes a shared weight for each of its readers. */
export const joinEqualNodes: Pass = (model) =>
  edit(model, (copy) => {
    unlistInitializers(copy);
    const functions = new Set(copy.functions.filter(({ domain }) => domain === "").map(({ name }) => name));
    return copy
      .graphs()
      .map((graph) => joinIn(graph, functions))
      .includes(true);
  });

function joinIn(graph: Graph, functions: ReadonlySet<string>): boolean {
  const constant = new Set<Value>();
  const numbers = new Map<Value, number>();
  const first = new Map<string, Node>();
  const gone: Node[] = [];
  const isConstant = (value: Value | undefined) => !value || fixedTensor(value) !== undefined || constant.has(value);
  const numberOf = (value: Value | undefined) => {
    if (!value) return -1;
    if (!numbers.has(value)) numbers.set(value, numbers.size);
    return numbers.get(value);
  };
  for (const node of graph.nodes) {
    const { opType, domain } = node;
    if (domain !== "" || functions.has(opType) || randomOps.has(opType) || node.inputs.length === 0) continue;
    if (!node.inputs.every(isConstant)) continue;
    for (const output of node.outputs) if (output) constant.add(output);
    const attributes = [...node.attributes].map(keyOf);
    if (attributes.includes(undefined)) continue;
    const key = JSON.stringify([opType, attributes.toSorted(), node.inputs.map(numberOf), node.outputs.map(Boolean)]);
    const twin = first.get(key);
    if (!twin) first.set(key, node);
    else if (takesOver(twin, node)) gone.push(node);
  }
  graph.removeNodes(gone);
  return gone.length > 0;
}

function takesOver(twin: Node, node: Node): boolean {
  const canServe = node.outputs.every((output, i) => {
    const other = twin.outputs[i];
    return !output || (other && !output.isOutput && [...output.uses].every((use) => isSeenFrom(use.node.graph, other)));
  });
  if (canServe)
    node.outputs.forEach((output, i) => {
      if (output) node.graph.replaceUses(output, twin.output(i));
    });
  return canServe;
}

/** What an attribute says; undefined for tensors and graphs, which are not looked into. */
function keyOf([name, attribute]: readonly [string, Attribute]): string | undefined {
  if (isReference(attribute)) return undefined;
  const { type, value } = attribute;
  if (type === "float" || type === "int") return `${name} ${type} ${Object.is(value, -0) ? "-0" : value}`;
  if (type === "ints" || type === "floats" || type === "string") return `${name} ${type} ${value}`;
  return undefined;
}
