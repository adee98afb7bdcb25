/** @file Raises the version of the standard operators that a model is written in. */
import { attr, isReference } from "../../ir/attribute.ts";
import type { Graph } from "../../ir/graph.ts";
import { type Model, nestedGraphs } from "../../ir/model.ts";
import type { Node } from "../../ir/node.ts";
import type { ValueType } from "../../ir/types.ts";
import type { Value } from "../../ir/value.ts";
import { irVersionForOpset, maxOpset } from "../../ops/opset.ts";
import { schemaOf } from "../../ops/schema.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { TersorError } from "../../util/errors.ts";
import { unlistInitializers } from "../constants.ts";
import { edit, inferOnce, type PassResult } from "../pass.ts";
import type { Rewriter } from "./rewriter.ts";
import { rewrites } from "./rewrites.ts";

/** The oldest version that can be raised: before it, broadcasting and BatchNormalization meant something else. */
export const minOpset = 7;

/**
 * Rewrites a model, its subgraphs and its functions for ai.onnx `target`, where they are older; the IR version is raised
 * with it. Other domains are left alone. Where an old version left something open, the result does what ONNX Runtime
 * does. A model already at `target` or above is given back as it is.
 * @throws unsupported-op naming a node that can't be raised, or a version out of the range 7 to 25.
 */
export function convertOpset(model: Model, target: number): PassResult {
  if (!Number.isInteger(target) || target > maxOpset)
    throw new TersorError("unsupported-op", `opset ${target}: not known: expected a version up to ${maxOpset}.`);
  return edit(model, (copy) => {
    const scopes = [copy, ...copy.functions].filter(({ opsetImports }) => (opsetImports.get("") ?? target) < target);
    if (scopes.length === 0) return false;
    const { types } = inferOnce(copy);
    const isLocal = (node: Node) =>
      copy.functions.some(
        (fn) => fn.domain === node.domain && fn.name === node.opType && fn.overload === node.overload,
      );
    for (const scope of scopes) {
      const from = scope.opsetImports.get("") as number;
      if (from < minOpset)
        throw new TersorError(
          "unsupported-op",
          `opset ${from}: too old to be raised: expected ${minOpset} or newer. Convert the model to ${minOpset} with onnx.version_converter first.`,
        );
      const isStandard = (node: Node) => node.domain === "" && !isLocal(node);
      raise(scope.graph, from, target, isStandard, (to) => makeRewriter(to, types, scope !== copy));
    }
    copy.opsetImports = raised(copy.opsetImports, target);
    copy.functions = copy.functions.map((fn) => ({ ...fn, opsetImports: raised(fn.opsetImports, target) }));
    unlistInitializers(copy);
    copy.irVersion = Math.max(copy.irVersion, irVersionForOpset(target));
    return true;
  });
}

function raise(
  graph: Graph,
  from: number,
  target: number,
  isStandard: (node: Node) => boolean,
  rewriterFor: (to: number) => Rewriter,
): void {
  const nodes = () => nestedGraphs(graph).flatMap((nested) => nested.nodes.filter(isStandard));
  for (const node of nodes())
    if (!schemaOf("", node.opType, from)) refuse(node, target, `ai.onnx ${from} has no such operator`);
  for (let to = from + 1; to <= target; to++) {
    const changed = new Map(Object.entries(rewrites[to] ?? {}));
    if (changed.size === 0) continue;
    const rewriter = rewriterFor(to);
    for (const node of nodes()) {
      const rewrite = changed.get(node.opType);
      if (!rewrite) continue;
      for (const [name, attribute] of node.attributes)
        if (isReference(attribute)) refuse(node, to, `its attribute "${name}" is set by whoever calls the function`);
      rewrite(node, rewriter);
    }
  }
}

function makeRewriter(to: number, types: ReadonlyMap<Value, ValueType>, inFunction: boolean): Rewriter {
  const typeOf = (value: Value | undefined) => value && (types.get(value) ?? value.type);
  return {
    constant: inFunction ? addConstantNode : (node, hint, tensor) => node.graph.addInitializer(hint, tensor),
    typeOf,
    dtypeOf: (node, value) => {
      const type = typeOf(value);
      return type?.kind === "tensor"
        ? type.dtype
        : refuse(node, to, `the element type of "${value.name}" is not known`);
    },
    refuse: (node, why) => refuse(node, to, why),
  };
}

function addConstantNode(node: Node, hint: string, tensor: Tensor): Value {
  const spec = { opType: "Constant", inputs: [], outputs: [hint], attributes: { value: attr.tensor(tensor) } };
  return node.graph.addNode(spec, { before: node }).output();
}

function refuse(node: Node, to: number, why: string): never {
  throw new TersorError("unsupported-op", `${node}: can't be raised to opset ${to}: ${why}.`);
}

function raised(imports: ReadonlyMap<string, number>, target: number): Map<string, number> {
  const from = imports.get("");
  const copy = new Map(imports);
  if (from !== undefined && from < target) copy.set("", target);
  return copy;
}
