/** @file Which values lead from what is wanted to the loss: only they get gradients. */
import type { Graph } from "../ir/graph.ts";
import type { Node } from "../ir/node.ts";
import type { Value } from "../ir/value.ts";
import { type DType, dtypeInfo } from "../tensor/dtype.ts";
import { append } from "../util/append.ts";
import { isConstantAlmostEverywhere } from "./rules/index.ts";

export interface PathOptions {
  readonly wanted: ReadonlySet<Value>;
  readonly loss: Value;
  /** Values that count as constants. */
  readonly stopped: ReadonlySet<Value>;
  readonly dtypeOf: (value: Value) => DType | undefined;
}

/**
 * The values on a path from a wanted one to the loss. Integers are on it only from a QuantizeLinear on: elsewhere they are
 * indices and sizes, along which nothing can be differentiated.
 */
export function gradientPath(graph: Graph, { wanted, loss, stopped, dtypeOf }: PathOptions): ReadonlySet<Value> {
  const isReal = (value: Value) => isFloat(dtypeOf(value) ?? "float32");
  const active = new Set([...wanted].filter((value) => !stopped.has(value) && isReal(value)));
  for (const node of graph.nodes) {
    const inputs = sourcesOf(node).filter((value) => active.has(value));
    if (inputs.length === 0) continue;
    const integers = new Set(inputs.filter((value) => !isReal(value)).map((value) => dtypeOf(value)));
    for (const output of node.outputs) {
      if (!output || stopped.has(output)) continue;
      const dtype = dtypeOf(output);
      if (isReal(output) || node.opType === "QuantizeLinear" || integers.has(dtype)) active.add(output);
    }
  }
  const path = new Set<Value>();
  const pending = [loss];
  for (let value = pending.pop(); value; value = pending.pop()) {
    if (!active.has(value) || path.has(value)) continue;
    path.add(value);
    if (value.producer) append(pending, sourcesOf(value.producer));
  }
  return path;
}

/** The nodes that gradients pass, in order. */
export function nodesOn(graph: Graph, path: ReadonlySet<Value>): Node[] {
  return graph.nodes.filter(
    (node) =>
      node.outputs.some((output) => output && path.has(output)) && sourcesOf(node).some((value) => path.has(value)),
  );
}

/** The values of its graph that a node's outputs change smoothly with: inputs, and what the graphs inside of it use. */
function sourcesOf(node: Node): Value[] {
  return isConstantAlmostEverywhere(node) ? [] : inputsOf(node);
}

function inputsOf(node: Node): Value[] {
  const own = node.inputs.filter((value) => value !== undefined);
  return own.concat(node.subgraphs().flatMap((inner) => capturedBy(inner, node.graph)));
}

function capturedBy(inner: Graph, outer: Graph): Value[] {
  const used = inner.nodes.flatMap(inputsOfAny).concat(inner.outputs);
  return used.filter((value) => value.graph === outer);
}

function inputsOfAny(node: Node): Value[] {
  const own = node.inputs.filter((value) => value !== undefined);
  return own.concat(node.subgraphs().flatMap((graph) => graph.nodes.flatMap(inputsOfAny).concat(graph.outputs)));
}

function isFloat(dtype: DType): boolean {
  return dtypeInfo(dtype).kind === "float";
}
