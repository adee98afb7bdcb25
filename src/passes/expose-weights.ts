/** @file Pass: brings every weight to where layers are looked for: an initializer of the graph, read by the node that works with it. */
import type { Graph } from "../ir/graph.ts";
import type { Model } from "../ir/model.ts";
import type { Node } from "../ir/node.ts";
import type { Value } from "../ir/value.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { constantToInitializer } from "./constant-to-initializer.ts";
import { inlineFunctions } from "./inline-functions.ts";
import { edit, type Pass } from "./pass.ts";

/**
 * Functions are inlined, where they can be; Constant nodes become initializers; an Identity of a constant, as exporters write for
 * layers that share one, is read past. Nothing is computed and no constant is copied: a weight in the body of a function is one,
 * however often the function is called.
 */
export const exposeWeights: Pass = (model) => {
  const inlined = inlineFunctions(model);
  const visible = constantToInitializer(inlined.model);
  // A copy of a large graph takes its time.
  if (!inlined.modified && !visible.model.graphs().some(({ nodes }) => nodes.some(copiesConstant))) return visible;
  const { model: exposed, modified } = edit(visible.model, (copy) => {
    const shared = inlined.modified && shareTensors(copy);
    return readPastIdentity(copy) || shared;
  });
  return { model: exposed, modified: modified || visible.modified || inlined.modified };
};

function copiesConstant({ opType, domain, inputs }: Node): boolean {
  return opType === "Identity" && domain === "" && inputs[0]?.isConstant === true;
}

/** Whoever reads an Identity of a constant reads the constant. An Identity that is an output of a graph stays for that alone. */
export function readPastIdentity(model: Model): boolean {
  const overridable = new Set(model.irVersion >= 4 ? model.graph.inputs : []);
  let modified = false;
  for (const graph of model.graphs()) {
    const gone: Node[] = [];
    for (const node of graph.nodes) {
      const [source] = node.inputs;
      const [output] = node.outputs;
      if (!source || !copiesConstant(node) || overridable.has(source)) continue;
      for (const use of [...(output?.uses ?? [])]) {
        if (!isSeenFrom(use.node.graph, source)) continue;
        use.node.setInput(use.index, source);
        modified = true;
      }
      if (!output || output.isUnused) gone.push(node);
    }
    graph.removeNodes(gone);
    modified ||= gone.length > 0;
  }
  return modified;
}

/** Whether a value's name means it in a graph: one in between may have a value of that name. */
export function isSeenFrom(graph: Graph, value: Value): boolean {
  return graph.find(value.name, true) === value;
}

/** Copies of one constant, which calls of one function left, become one again. */
function shareTensors(model: Model): boolean {
  const first = new Map<Tensor, Value>();
  let modified = false;
  for (const graph of model.graphs())
    for (const value of graph.initializers) {
      const { tensor } = value;
      if (!tensor || value.isOutput || value.isInput) continue;
      const known = first.get(tensor);
      if (!known) {
        first.set(tensor, value);
        continue;
      }
      const shared = known.graph === model.graph ? known : moved(known, model.graph);
      first.set(tensor, shared);
      graph.replaceUses(value, shared);
      graph.removeValue(value);
      modified = true;
    }
  return modified;
}

function moved(value: Value, graph: Graph): Value {
  const twin = graph.addInitializer(value.name, value.tensor as Tensor);
  value.graph.replaceUses(value, twin);
  value.graph.removeValue(value);
  return twin;
}
