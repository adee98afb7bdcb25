/** @file Pass: puts the bodies of model-local functions in the place of their calls. */
import type { Attribute } from "../ir/attribute.ts";
import type { Graph } from "../ir/graph.ts";
import { cloneAttribute, type FunctionDef, nestedGraphs } from "../ir/model.ts";
import type { Node } from "../ir/node.ts";
import type { Value } from "../ir/value.ts";
import { withAttributes } from "../ops/infer.ts";
import { TersorError } from "../util/errors.ts";
import { removeDeadCode } from "./dead-code.ts";
import { edit, type Pass } from "./pass.ts";

/** Rounds after which functions are taken to call themselves. */
const DEPTH_LIMIT = 32;

/**
 * Afterwards the model has no functions. Outputs keep their names; values inside a body are named after the call.
 * @throws bad-model for functions that call themselves, or that need other operator versions than the model
 */
export const inlineFunctions: Pass = (model) => {
  if (model.functions.length === 0) return { model, modified: false };
  const { model: inlined } = edit(model, (copy) => {
    const find = ({ domain, opType, overload }: Node) =>
      copy.functions.find((fn) => fn.domain === domain && fn.name === opType && fn.overload === overload);
    for (const fn of copy.functions) checkImports(fn, copy.opsetImports);
    for (let depth = 0; ; depth++) {
      const calls = copy.graphs().flatMap((graph) => graph.nodes.filter((node) => find(node)));
      if (calls.length === 0) return true;
      if (depth === DEPTH_LIMIT)
        throw new TersorError(
          "bad-model",
          `${calls[0]}: functions nested deeper than ${DEPTH_LIMIT}: a function must not call itself. The model is not valid ONNX.`,
        );
      for (const call of calls) inline(call, find(call) as FunctionDef);
    }
  });
  inlined.functions = [];
  return { model: removeDeadCode(inlined).model, modified: true };
};

/** A function may import versions of its own; where they differ from the model's, its nodes would change their meaning. */
function checkImports(fn: FunctionDef, imports: Map<string, number>): void {
  for (const [domain, version] of fn.opsetImports) {
    const own = imports.get(domain) ?? version;
    if (own !== version)
      throw new TersorError(
        "bad-model",
        `function "${fn.domain}.${fn.name}": imports ${domain || "ai.onnx"} ${version}: expected ${own} as the model. Bring both to one version with convertOpset first.`,
      );
    imports.set(domain, version);
  }
}

function inline(call: Node, fn: FunctionDef): void {
  const { graph } = call;
  const body = withAttributes(fn, call);
  const prefix = call.name || call.outputs.find((output) => output)?.name || call.opType;
  const outputs = [...call.outputs];
  outputs.forEach((output, i) => {
    if (output) call.linkOutput(i, undefined);
  });
  const map = new Map<Value, Value | undefined>();
  body.inputs.forEach((input, i) => {
    map.set(input, call.inputs[i]);
  });
  body.outputs.forEach((inner, i) => {
    const outer = outputs[i];
    if (!outer) return;
    if (inner.producer && !map.has(inner)) map.set(inner, outer);
  });
  const twinOf = (inner: Value | undefined) => {
    if (inner && !map.has(inner)) map.set(inner, graph.addValue(`${prefix}/${inner.name}`));
    return inner && map.get(inner);
  };
  for (const node of body.nodes) {
    const inputs = node.inputs.map(twinOf);
    const results = node.outputs.map(twinOf);
    const { opType, domain, overload } = node;
    const attributes = new Map<string, Attribute>();
    const outer = new Map([...map].filter((entry): entry is [Value, Value] => entry[1] !== undefined));
    for (const [name, attribute] of node.attributes) {
      const copy = cloneAttribute(attribute, graph, outer);
      attributes.set(name, copy);
      if ("value" in copy && copy.type === "graph") renameInside(copy.value, prefix);
    }
    const name = node.name && `${prefix}/${node.name}`;
    graph.addNode({ opType, domain, overload, name, inputs, outputs: results, attributes }, { before: call });
  }
  body.outputs.forEach((inner, i) => {
    const [outer, source] = [outputs[i], map.get(inner)];
    if (outer && source && outer !== source)
      graph.addNode({ opType: "Identity", inputs: [source], outputs: [outer] }, { before: call });
  });
  graph.removeNodes([call]);
}

/** Values of subgraphs must not have the names of values around them. */
function renameInside(graph: Graph, prefix: string): void {
  for (const nested of nestedGraphs(graph))
    for (const value of [...nested.values]) nested.rename(value, nested.uniqueName(`${prefix}/${value.name}`));
}
