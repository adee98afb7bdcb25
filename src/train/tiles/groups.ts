/** @file Groups of nodes that can be run together, some rows at a time. */
import type { Graph } from "../../ir/graph.ts";
import type { Node } from "../../ir/node.ts";
import type { Value } from "../../ir/value.ts";
import { type RowWise, rowWise, type Sizes } from "./row-wise.ts";

/** Nodes in the order of the graph. */
export type Group = readonly Node[];

export interface Grouping {
  readonly groups: readonly Group[];
  readonly rowWise: ReadonlyMap<Node, RowWise>;
}

/**
 * Joins row-wise nodes that read what the others give, or the same, as long as nothing outside of a group depends on it and
 * is needed by it. The graph must be sorted.
 */
export function groupRowWise(graph: Graph, sizes: Sizes): Grouping {
  const all = new Map<Node, RowWise>();
  for (const node of graph.nodes) {
    const found = rowWise(node, sizes);
    if (found) all.set(node, found);
  }
  const successors = successorsIn(graph);
  const groupOf = new Map<Node, Set<Node>>(graph.nodes.map((node) => [node, new Set([node])]));
  const membersOf = (node: Node) => groupOf.get(node) as Set<Node>;
  const join = (a: Node, b: Node) => {
    const [one, other] = [membersOf(a), membersOf(b)];
    if (one === other) return;
    const union = new Set([...one, ...other]);
    if (needsWhole(union, all) || leavesAndReturns(union, successors, membersOf)) return;
    for (const node of union) groupOf.set(node, union);
  };
  const readers = new Map<Value, Node>();
  for (const [node, { rows, sliced }] of all)
    for (const i of sliced) {
      const value = node.input(i);
      const source = value.producer;
      if (source && all.get(source)?.rows === rows) join(source, node);
      const reader = readers.get(value);
      if (reader && all.get(reader)?.rows === rows) join(reader, node);
      readers.set(value, node);
    }
  const position = new Map(graph.nodes.map((node, i) => [node, i]));
  const groups = [...new Set([...all.keys()].map(membersOf))].map((group) =>
    [...group].sort((a, b) => (position.get(a) as number) - (position.get(b) as number)),
  );
  return { groups, rowWise: all };
}

/** The nodes of a graph that need a node's outputs, also through their subgraphs. */
function successorsIn(graph: Graph): (node: Node) => Iterable<Node> {
  const owner = new Map<Node, Node>();
  const own = (node: Node, outer: Node) => {
    owner.set(node, outer);
    for (const inner of node.subgraphs()) for (const each of inner.nodes) own(each, outer);
  };
  for (const node of graph.nodes) own(node, node);
  const known = new Map<Node, Set<Node>>();
  return (node) => {
    let found = known.get(node);
    if (!found) {
      const users = node.outputs.flatMap((output) => output?.users() ?? []);
      found = new Set(users.flatMap((user) => owner.get(user) ?? []));
      known.set(node, found);
    }
    return found;
  };
}

/** Whether a member needs all rows of what another one computes. */
function needsWhole(group: ReadonlySet<Node>, rowWiseOf: ReadonlyMap<Node, RowWise>): boolean {
  return [...group].some((node) => {
    const sliced = rowWiseOf.get(node)?.sliced ?? [];
    return node.inputs.some((input, i) => {
      if (!input?.producer || !group.has(input.producer)) return false;
      return !sliced.includes(i) || rowWiseOf.get(input.producer)?.total !== undefined;
    });
  });
}

/** Whether a path leaves the group and comes back. */
function leavesAndReturns(
  group: ReadonlySet<Node>,
  successors: (node: Node) => Iterable<Node>,
  membersOf: (node: Node) => ReadonlySet<Node>,
): boolean {
  const seen = new Set<Node>();
  const ahead: Node[] = [...group];
  for (let node = ahead.pop(); node; node = ahead.pop())
    for (const next of successors(node)) {
      if (group.has(next)) {
        if (!group.has(node)) return true;
        continue;
      }
      if (seen.has(next)) continue;
      for (const member of membersOf(next)) {
        seen.add(member);
        ahead.push(member);
      }
    }
  return false;
}
