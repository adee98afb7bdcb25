/** @file Pass: removes what no output depends on: nodes, values, functions, operator set imports. */
import type { Graph } from "../ir/graph.ts";
import { type FunctionDef, type Model, nestedGraphs } from "../ir/model.ts";
import type { Node } from "../ir/node.ts";
import type { Value } from "../ir/value.ts";
import { append } from "../util/append.ts";
import { edit, type Pass } from "./pass.ts";

/**
 * Graph inputs stay, used or not: they are the model's interface. Only an initializer of IR version 3, which had to be
 * listed as an input, goes with its entry. The import of the standard operators stays too.
 */
export const removeDeadCode: Pass = (model) =>
  edit(model, (copy) => {
    let modified = removeDeadNodes(copy.graph);
    for (const graph of copy.graphs()) modified = removeDeadValues(graph, copy.irVersion < 4) || modified;
    const functions = copy.functions.filter(isCalled(copy));
    modified ||= functions.length < copy.functions.length;
    copy.functions = functions;
    for (const fn of functions) {
      modified = removeDeadNodes(fn.graph) || modified;
      for (const graph of nestedGraphs(fn.graph)) modified = removeDeadValues(graph, false) || modified;
    }
    return removeUnusedImports(copy) || modified;
  });

/** Removes the nodes of a graph and its subgraphs that none of the graph's outputs needs, in place. */
export function removeDeadNodes(graph: Graph): boolean {
  const live = new Set<Node>();
  const pending: (Value | undefined)[] = [...graph.outputs];
  while (pending.length > 0) {
    const node = pending.pop()?.producer;
    if (!node || live.has(node)) continue;
    live.add(node);
    append(pending, node.inputs);
    for (const subgraph of node.subgraphs()) append(pending, subgraph.outputs);
  }
  return sweep(graph, live);
}

/** Subgraphs of live nodes come first: a dead node in there may be the last user of a dead one out here. */
function sweep(graph: Graph, live: ReadonlySet<Node>): boolean {
  let modified = false;
  const dead: Node[] = [];
  for (const node of graph.nodes) {
    if (live.has(node)) for (const subgraph of node.subgraphs()) modified = sweep(subgraph, live) || modified;
    else dead.push(node);
  }
  if (dead.length > 0) graph.removeNodes(dead);
  return modified || dead.length > 0;
}

function removeDeadValues(graph: Graph, listedToo: boolean): boolean {
  const inputs = new Set(graph.inputs);
  const dead = [...graph.values].filter((value) => {
    if (!value.isUnused || value.producer) return false;
    return !inputs.has(value) || (listedToo && value.isConstant);
  });
  for (const value of dead) graph.removeValue(value);
  return dead.length > 0;
}

/** Which functions the graph calls, directly or through others. */
function isCalled(model: Model): (fn: FunctionDef) => boolean {
  const keyOf = (domain: string, name: string, overload: string) => JSON.stringify([domain, name, overload]);
  const byKey = new Map(model.functions.map((fn) => [keyOf(fn.domain, fn.name, fn.overload), fn]));
  const called = new Set<FunctionDef>();
  const pending = [model.graph];
  for (let graph = pending.pop(); graph; graph = pending.pop())
    for (const node of nestedGraphs(graph).flatMap((nested) => nested.nodes)) {
      const fn = byKey.get(keyOf(node.domain, node.opType, node.overload));
      if (!fn || called.has(fn)) continue;
      called.add(fn);
      pending.push(fn.graph);
    }
  return (fn) => called.has(fn);
}

function removeUnusedImports(model: Model): boolean {
  const graphs = [model.graph, ...model.functions.map((fn) => fn.graph)];
  const domains = new Set([""]);
  for (const graph of graphs.flatMap(nestedGraphs)) for (const node of graph.nodes) domains.add(node.domain);
  for (const fn of model.functions) domains.add(fn.domain);
  const unused = [...model.opsetImports.keys()].filter((domain) => !domains.has(domain));
  for (const domain of unused) model.opsetImports.delete(domain);
  return unused.length > 0;
}
