/** @file A model and its quantized form as one graph that computes both: what they have in common is there once. */
import { type Attribute, isReference } from "../../ir/attribute.ts";
import { cloneAttribute, type Model, nestedGraphs } from "../../ir/model.ts";
import type { Node } from "../../ir/node.ts";
import type { Value } from "../../ir/value.ts";

export interface Joined {
  readonly model: Model;
  /** Where a value of the original is computed, by name. */
  original(name: string): Value | undefined;
  /** Where the quantized model's value of a name is computed. */
  changed(name: string): Value | undefined;
}

/**
 * Both must have one opset. Values of one name stand for the same: the quantized model's are given the types of the original's, whose
 * types must be inferred. No tensor is read. Neither model is changed.
 */
export function join(original: Model, changed: Model): Joined {
  const model = original.clone();
  const { graph } = model;
  for (const [domain, version] of changed.opsetImports)
    if (!model.opsetImports.has(domain)) model.opsetImports.set(domain, version);
  model.irVersion = Math.max(model.irVersion, changed.irVersion);
  const twins = new Map<Value, Value>();
  const twinOf = (value: Value): Value => {
    const known = twins.get(value);
    if (known) return known;
    const same = graph.find(value.name);
    const shared = same && (value.isConstant ? isSameConstant(same, value) : !value.producer && !same.producer);
    const twin = shared ? same : graph.addValue(`quantized_${value.name}`, value.type ?? same?.type);
    if (!shared) {
      twin.tensor = value.tensor;
      twin.sparse = value.sparse;
    }
    twins.set(value, twin);
    return twin;
  };
  for (const node of changed.graph.nodes) {
    for (const value of capturedBy(node)) twinOf(value);
    const inputs = node.inputs.map((input) => input && twinOf(input));
    const twin = sameNode(graph.find(node.outputs.find((output) => output)?.name ?? "")?.producer, node, inputs);
    const copy = twin ?? copyNode(node, inputs);
    node.outputs.forEach((output, index) => {
      const own = copy.outputs[index];
      if (output && own) twins.set(output, own);
    });
  }
  return {
    model,
    original: (name) => graph.find(name),
    changed: (name) => twins.get(changed.graph.find(name) as Value),
  };

  function copyNode(node: Node, inputs: readonly (Value | undefined)[]): Node {
    const attributes = new Map([...node.attributes].map(([name, each]) => [name, cloneAttribute(each, graph, twins)]));
    const outputs = node.outputs.map((output) => output && `quantized_${output.name}`);
    const { opType, domain, overload } = node;
    const copy = graph.addNode({ opType, domain, overload, inputs, outputs, attributes });
    node.outputs.forEach((output, index) => {
      const own = copy.outputs[index];
      if (output && own) own.type = graph.find(output.name)?.type ?? output.type;
    });
    return copy;
  }
}

/** Values of a node's own graph, or those around it, that its subgraphs read. */
export function capturedBy(node: Node): Value[] {
  const inner = new Set(node.subgraphs().flatMap(nestedGraphs));
  const read = [...inner].flatMap((graph) => [...graph.outputs, ...graph.nodes.flatMap(({ inputs }) => inputs)]);
  return read.filter((value) => value !== undefined && !inner.has(value.graph)) as Value[];
}

function isSameConstant(a: Value, b: Value): boolean {
  return a.tensor ? a.tensor === b.tensor : a.sparse !== undefined && a.sparse === b.sparse;
}

/** The candidate where it computes what the node does on these inputs. */
function sameNode(candidate: Node | undefined, node: Node, inputs: readonly (Value | undefined)[]): Node | undefined {
  if (candidate?.opType !== node.opType || candidate.domain !== node.domain || node.subgraphs().length > 0)
    return undefined;
  const sameInputs =
    candidate.inputs.length === inputs.length && inputs.every((value, i) => value === candidate.inputs[i]);
  const sameOutputs = node.outputs.every((output, i) => output?.name === candidate.outputs[i]?.name);
  const { attributes } = candidate;
  const sameAttributes =
    attributes.size === node.attributes.size &&
    [...node.attributes].every(([name, attribute]) => isSame(attribute, attributes.get(name)));
  return sameInputs && sameOutputs && sameAttributes ? candidate : undefined;
}

/** Attributes are immutable, and copies of a model share them. */
function isSame(a: Attribute, b: Attribute | undefined): boolean {
  if (a === b || !b) return a === b;
  if (isReference(a) || isReference(b) || a.type !== b.type) return false;
  return (a.type === "int" || a.type === "float") && a.value === b.value;
}
