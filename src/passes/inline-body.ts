/** @file Puts the nodes of function bodies or of subgraphs in the places of the nodes that run them. */
import type { Attribute } from "../ir/attribute.ts";
import type { Graph } from "../ir/graph.ts";
import { cloneAttribute, nestedGraphs } from "../ir/model.ts";
import type { Node } from "../ir/node.ts";
import type { ValueType } from "../ir/types.ts";
import type { Value } from "../ir/value.ts";
import { invariant } from "../util/errors.ts";

/** A node, what it runs, and what that is given. */
export interface Inlining {
  readonly call: Node;
  readonly body: Graph;
  readonly inputs: readonly (Value | undefined)[];
}

/**
 * Replaces calls of one graph by copies of the nodes of their bodies, in place. The calls' outputs keep their names; other values
 * and nodes are named after the call. Values around the bodies stay what they are.
 * @param typeOf what a value's declared type in the body is worth outside of it
 */
export function inlineBodies(
  graph: Graph,
  inlinings: readonly Inlining[],
  typeOf: (type: ValueType | undefined) => ValueType | undefined = (type) => type,
): void {
  const taken = new NodeNames(graph);
  const places = new Map<Node, readonly Node[]>();
  for (const inlining of inlinings) {
    const { call } = inlining;
    places.set(call, copyBody(inlining, taken, typeOf));
  }
  graph.substitute(places);
}

/** Names of a graph's nodes: ONNX Runtime refuses two of one name in a graph. */
class NodeNames {
  readonly #counts = new Map<string, number>();

  constructor({ nodes }: Graph) {
    for (const { name } of nodes) if (name) this.#counts.set(name, (this.#counts.get(name) ?? 0) + 1);
  }

  /** The call's own name, or that of its first output where others share it. */
  prefixFor({ name, outputs, opType }: Node): string {
    const output = outputs.find((each) => each)?.name;
    return name && (this.#counts.get(name) === 1 || !output) ? name : (output ?? opType);
  }

  take(wanted: string): string {
    let name = wanted;
    for (let number = 1; this.#counts.has(name); number++) name = `${wanted}_${number}`;
    this.#counts.set(name, 1);
    return name;
  }
}

/** Adds the copies at the end of the call's graph. */
function copyBody(
  { call, body, inputs }: Inlining,
  names: NodeNames,
  typeOf: (type: ValueType | undefined) => ValueType | undefined,
): Node[] {
  const { graph } = call;
  const prefix = names.prefixFor(call);
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
    if (!map.has(inner)) map.set(inner, copyOf(inner, graph, `${prefix}/${inner.name}`, typeOf));
    return map.get(inner);
  };
  const copyAttribute = (attribute: Attribute, used: readonly Value[]) => {
    const known = new Map<Value, Value>();
    for (const inner of used) {
      const twin = inner.graph === body ? twinOf(inner) : undefined;
      if (twin) known.set(inner, twin);
    }
    const copy = cloneAttribute(attribute, graph, known);
    for (const each of graphsIn(copy)) renameInside(each, prefix, typeOf);
    return copy;
  };
  const added = body.nodes.map((node) => {
    const { opType, domain, overload } = node;
    const used = node.subgraphs().flatMap(nestedGraphs).flatMap(usedBy);
    const attributes = new Map([...node.attributes].map(([name, each]) => [name, copyAttribute(each, used)] as const));
    const copy = graph.addNode({
      opType,
      domain,
      overload,
      name: node.name && names.take(`${prefix}/${node.name}`),
      inputs: node.inputs.map(twinOf),
      outputs: node.outputs.map(twinOf),
      attributes,
    });
    copy.docString = node.docString;
    copy.metadata = node.metadata;
    copy.unknown = node.unknown;
    return copy;
  });
  body.outputs.forEach((inner, i) => {
    const outer = outputs[i];
    if (!outer || map.get(inner) === outer) return;
    const source = twinOf(inner);
    invariant(source, `${call}: its body gives an input that is missing`);
    added.push(graph.addNode({ opType: "Identity", inputs: [source], outputs: [outer] }));
  });
  return added;
}

function copyOf(
  inner: Value,
  graph: Graph,
  name: string,
  typeOf: (type: ValueType | undefined) => ValueType | undefined,
): Value {
  const copy = graph.addValue(name, typeOf(inner.type));
  copy.tensor = inner.tensor;
  copy.sparse = inner.sparse;
  return copy;
}

function usedBy(graph: Graph): Value[] {
  return graph.nodes.flatMap((node) => node.inputs.filter((value) => value !== undefined)).concat(graph.outputs);
}

function graphsIn(attribute: Attribute): readonly Graph[] {
  if (!("value" in attribute)) return [];
  if (attribute.type === "graph") return [attribute.value];
  return attribute.type === "graphs" ? attribute.value : [];
}

/** Values of subgraphs must not have the names of values around them. */
function renameInside(
  graph: Graph,
  prefix: string,
  typeOf: (type: ValueType | undefined) => ValueType | undefined,
): void {
  for (const nested of nestedGraphs(graph)) {
    for (const value of [...nested.values]) {
      nested.rename(value, nested.uniqueName(`${prefix}/${value.name}`));
      value.type = typeOf(value.type);
    }
    for (const node of nested.nodes) if (node.name) node.name = `${prefix}/${node.name}`;
  }
}
