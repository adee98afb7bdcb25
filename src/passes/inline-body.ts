/** @file Puts the nodes of a function's body or of a subgraph in the place of the node that runs it. */
import type { Attribute } from "../ir/attribute.ts";
import type { Graph } from "../ir/graph.ts";
import { cloneAttribute, nestedGraphs } from "../ir/model.ts";
import type { Node } from "../ir/node.ts";
import type { Value } from "../ir/value.ts";
import { invariant } from "../util/errors.ts";

/**
 * Replaces `call` by copies of the nodes of `body`, in place, with `inputs` for the body's own. The call's outputs keep their
 * names; other values are named after the call. Values around the body stay what they are.
 */
export function inlineBody(call: Node, body: Graph, inputs: readonly (Value | undefined)[]): void {
  const { graph } = call;
  const prefix = call.name || call.outputs.find((output) => output)?.name || call.opType;
  const outputs = [...call.outputs];
  outputs.forEach((output, i) => {
    if (output) call.linkOutput(i, undefined);
  });
  const map = new Map<Value, Value | undefined>(body.inputs.map((input, i) => [input, inputs[i]]));
  body.outputs.forEach((inner, i) => {
    const outer = outputs[i];
    if (outer && inner.producer?.graph === body && !map.has(inner)) map.set(inner, outer);
  });
  const twinOf = (inner: Value | undefined) => {
    if (!inner || (inner.graph !== body && !map.has(inner))) return inner;
    if (!map.has(inner)) map.set(inner, copyOf(inner, graph, `${prefix}/${inner.name}`));
    return map.get(inner);
  };
  for (const node of body.nodes) {
    const { opType, domain, overload } = node;
    const attributes = new Map<string, Attribute>();
    const known = new Map([...map].filter((entry): entry is [Value, Value] => entry[1] !== undefined));
    for (const inner of node.subgraphs().flatMap(nestedGraphs).flatMap(usedBy)) {
      const twin = inner.graph === body ? twinOf(inner) : undefined;
      if (twin) known.set(inner, twin);
    }
    for (const [name, attribute] of node.attributes) {
      const copy = cloneAttribute(attribute, graph, known);
      attributes.set(name, copy);
      if ("value" in copy && copy.type === "graph") renameInside(copy.value, prefix);
    }
    const header = { opType, domain, overload, name: node.name && `${prefix}/${node.name}` };
    graph.addNode(
      { ...header, inputs: node.inputs.map(twinOf), outputs: node.outputs.map(twinOf), attributes },
      { before: call },
    );
  }
  body.outputs.forEach((inner, i) => {
    const outer = outputs[i];
    if (!outer || map.get(inner) === outer) return;
    const source = twinOf(inner);
    invariant(source, `${call}: its body gives an input that is missing`);
    graph.addNode({ opType: "Identity", inputs: [source], outputs: [outer] }, { before: call });
  });
  graph.removeNodes([call]);
}

function copyOf(inner: Value, graph: Graph, name: string): Value {
  const copy = graph.addValue(name, inner.type);
  copy.tensor = inner.tensor;
  copy.sparse = inner.sparse;
  return copy;
}

function usedBy(graph: Graph): Value[] {
  return graph.nodes.flatMap((node) => node.inputs.filter((value) => value !== undefined)).concat(graph.outputs);
}

/** Values of subgraphs must not have the names of values around them. */
function renameInside(graph: Graph, prefix: string): void {
  for (const nested of nestedGraphs(graph))
    for (const value of [...nested.values]) nested.rename(value, nested.uniqueName(`${prefix}/${value.name}`));
}
