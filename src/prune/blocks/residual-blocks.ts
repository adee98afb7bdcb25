/**
 * @file Residual blocks: y = x + f(x), with f in between of weights that feed nothing else. Taken out, they leave x. What joins x on its
 * way, such as masks and positions, may come from anywhere; what comes of x may not.
 */
import type { Model } from "../../ir/model.ts";
import type { Node } from "../../ir/node.ts";
import type { Value } from "../../ir/value.ts";
import { constantsOfNode } from "../../ops/cost.ts";
import type { Inference } from "../../ops/infer.ts";
import { sameDim } from "../../ops/symbolic/dim.ts";
import type { Obstacle } from "../graph/analysis.ts";
import { layerName } from "../graph/groups.ts";
import { shapeOf } from "../graph/port.ts";

export interface ResidualBlock {
  /** Its layers with weights: the first and the last. */
  readonly name: string;
  /** The Add. */
  readonly join: Node;
  /** x, by whichever way without weights it gets to the Add. */
  readonly kept: Value;
  /** f(x), and which operand of the Add it is. */
  readonly branch: Value;
  readonly at: number;
  /** What only f(x) needs, in the graph's order. */
  readonly nodes: readonly Node[];
  readonly layers: readonly Node[];
}

/** A sum that looks like a block and can't be taken apart. */
export interface HeldBlock {
  readonly join: Node;
  readonly layers: readonly Node[];
  readonly obstacle: Obstacle;
}

export interface ResidualBlocks {
  readonly blocks: readonly ResidualBlock[];
  readonly held: readonly HeldBlock[];
}

/** The residual blocks of the main graph, in its order. */
export function findBlocks(model: Model, { types }: Pick<Inference, "types">): ResidualBlocks {
  const order = new Map(model.graph.nodes.map((node, index) => [node, index]));
  const blocks: ResidualBlock[] = [];
  const held: HeldBlock[] = [];
  for (const join of model.graph.nodes) {
    const found = join.opType === "Add" && join.domain === "" ? blockAt(join, order, types) : undefined;
    if (found && "obstacle" in found) held.push(found);
    else if (found) blocks.push(found);
  }
  return { blocks, held };
}

function blockAt(
  join: Node,
  order: ReadonlyMap<Node, number>,
  types: Inference["types"],
): ResidualBlock | HeldBlock | undefined {
  const sides = [0, 1].map((at) => {
    const value = join.input(at);
    const nodes = exclusiveTo(value, join, order);
    return { value, at, nodes, layers: nodes.filter(hasWeights) };
  });
  const branch = sides.find(({ layers }) => layers.length > 0);
  const other = sides.find((side) => side !== branch);
  if (!branch || !other || other.value.isConstant) return undefined;
  const entries = inputsOf(other.nodes);
  const [entry = other.value] = entries;
  const after = descendants(entry, order);
  if (!after.has(branch.value)) return undefined;
  const hold = (opType: string, reason: string) => ({ join, layers: branch.layers, obstacle: { opType, reason } });
  if (other.layers.length > 0)
    return hold(layerOp(other.layers), `${other.layers[0]} on the way around has weights of its own`);
  if (!hasSameShape(types, other.value, join.output()))
    return hold(join.opType, `${join}: what goes around does not have the shape of the sum`);
  const inputs = inputsOf(branch.nodes);
  const [stray] = inputs.filter((value) => value !== entry && after.has(value));
  if (entries.length > 1 || stray || !inputs.includes(entry)) {
    const shared = stray ?? entry;
    return hold(shared.producer?.opType ?? "input", `"${shared.name}" in between is used elsewhere as well`);
  }
  const names = [...new Set([branch.layers[0] as Node, branch.layers.at(-1) as Node])].map(layerName);
  const { at, nodes, layers } = branch;
  return { name: names.join(" … "), join, kept: other.value, branch: branch.value, at, nodes, layers };
}

/** The nodes that only one operand of a node needs, in the graph's order. */
function exclusiveTo(value: Value, user: Node, order: ReadonlyMap<Node, number>): Node[] {
  const inside = new Set<Node>();
  const pending = new Set<Node>();
  const isOnlyUsedInside = (output: Value) =>
    !output.isOutput && [...output.uses].every(({ node }) => inside.has(node) || (node === user && output === value));
  const consider = (next: Value | undefined) => {
    if (next?.producer && order.has(next.producer)) pending.add(next.producer);
  };
  consider(value);
  while (pending.size > 0) {
    // The last in order: all that may use it has been looked at.
    const node = [...pending].reduce((a, b) => ((order.get(a) as number) > (order.get(b) as number) ? a : b));
    pending.delete(node);
    if (!node.outputs.every((output) => !output || isOnlyUsedInside(output))) continue;
    inside.add(node);
    for (const input of readBy(node)) consider(input);
  }
  return [...inside].sort((a, b) => (order.get(a) as number) - (order.get(b) as number));
}

/** What a node reads, its subgraphs included. */
function readBy(node: Node): Value[] {
  const inner = node.subgraphs().flatMap((graph) => graph.nodes.flatMap(readBy));
  return [...node.inputs, ...inner].filter((value) => value !== undefined);
}

/** What nodes read that none of them computes, constants aside. */
function inputsOf(nodes: readonly Node[]): Value[] {
  const own = new Set(nodes);
  const read = nodes.flatMap(readBy);
  return [...new Set(read)].filter((value) => !value.isConstant && !(value.producer && own.has(value.producer)));
}

/** Everything that is computed of a value, sizes aside. */
function descendants(value: Value, order: ReadonlyMap<Node, number>): ReadonlySet<Value> {
  const found = new Set([value]);
  for (const use of found)
    for (const { node } of use.uses)
      if (node.opType !== "Shape" && order.has(node)) for (const output of node.outputs) if (output) found.add(output);
  return found;
}

function hasWeights(node: Node): boolean {
  return constantsOfNode(node).some(({ params }) => params > 1);
}

function layerOp(layers: readonly Node[]): string {
  return (layers[0] as Node).opType;
}

function hasSameShape(types: Inference["types"], a: Value, b: Value): boolean {
  const [x, y] = [shapeOf(a, types), shapeOf(b, types)];
  return !!x && !!y && x.length === y.length && x.every((dim, axis) => dim !== null && sameDim(dim, y[axis] ?? null));
}
