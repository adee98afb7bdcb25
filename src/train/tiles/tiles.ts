/**
 * @file Runs of elementwise operators over large tensors, a few rows at a time, so that what one computes is still in the processor's
 * cache when the next one reads it.
 */
import { type Emitter, makeEmitter } from "../../autodiff/emitter.ts";
import { stackedSteps } from "../../autodiff/recurrent/recurrence.ts";
import type { Model } from "../../ir/model.ts";
import type { Node } from "../../ir/node.ts";
import { staticShape, tensorType } from "../../ir/types.ts";
import type { Value } from "../../ir/value.ts";
import { infer } from "../../ops/infer.ts";
import { edit, type PassResult } from "../../passes/pass.ts";
import { elementCount } from "../../tensor/tensor.ts";
import { largestOf } from "../../util/append.ts";
import { type Group, groupRowWise } from "./groups.ts";
import { isTurnedProduct, type RowWise, type Sizes } from "./row-wise.ts";

/** What is worth a tile, in elements. */
export interface TileLimits {
  /** Of a tensor that does not stay in the cache until it is read again. */
  readonly large: number;
  /** Of a tensor within a tile, at most where rows allow it: a handful of these fit into the cache. */
  readonly tile: number;
  /** The same where a product is among what is computed: its other factor is read once more for every tile. */
  readonly productTile: number;
  /** Of the smallest tile that is worth the time that a round takes. */
  readonly smallTile: number;
  /** Of the largest row that gains something. */
  readonly row: number;
}

const defaults: TileLimits = { large: 1 << 18, tile: 1 << 18, productTile: 1 << 19, smallTile: 1 << 13, row: 1 << 19 };

/**
 * The model with its large elementwise computations in tiles. What is computed in tiles and is an output of the graph is left as
 * [tiles, rows of a tile, …]: putting it together would be a copy.
 */
export function inTiles(model: Model, limits = defaults): PassResult {
  return edit(model, (copy) => {
    const { graph } = copy;
    const known = infer(copy);
    const op = makeEmitter(graph, copy.opset, known);
    const sizes: Sizes = { dims: (value) => staticShape(op.typeOf(value)), known: (value) => op.known(value) };
    let modified = turnProducts(op, sizes, limits);
    const { groups, rowWise } = groupRowWise(graph, sizes);
    for (const group of groups) {
      const plan = planOf(op, group, rowWise, limits);
      if (plan) emitTiles(op, plan);
      modified ||= plan !== undefined;
    }
    if (modified) graph.sort();
    return modified;
  });
}

/** Large A'B as products of A' with B, so that their rows are rows of both. Gives whether there are some. */
function turnProducts(op: Emitter, sizes: Sizes, limits: TileLimits): boolean {
  const { graph } = op;
  const isLarge = (node: Node) => elementCount(op.shape(node.output())) >= limits.large;
  const products = graph.nodes.filter((node) => isTurnedProduct(node, sizes) && isLarge(node));
  for (const node of products) {
    const [a, ...others] = node.inputs;
    op.subject = a?.name ?? "";
    const attributes = new Map([...node.attributes].filter(([name]) => name !== "transA"));
    graph.replaceNode(node, { opType: node.opType, inputs: [op.transpose(a, [1, 0]), ...others], attributes });
  }
  if (products.length > 0) graph.sort();
  return products.length > 0;
}

interface Plan {
  readonly group: Group;
  readonly rowWise: ReadonlyMap<Node, RowWise>;
  readonly count: number;
  /** Rows of a tile. */
  readonly rows: number;
  /** What is cut into tiles. */
  readonly reads: readonly Value[];
  /** What others need of it. */
  readonly gives: readonly Value[];
}

/** How a group is cut; undefined where that saves nothing. */
function planOf(op: Emitter, group: Group, rowWise: Plan["rowWise"], limits: TileLimits): Plan | undefined {
  const members = new Set(group);
  const isInside = ({ producer }: Value) => producer !== undefined && members.has(producer);
  const outputsOf = (node: Node) => node.outputs.filter((value) => value !== undefined);
  const size = (value: Value) => elementCount(op.shape(value));
  const rows = rowWise.get(group[0] as Node)?.rows ?? 1;
  const read = group.flatMap((node) => (rowWise.get(node)?.sliced ?? []).map((i) => node.input(i)));
  const made = group.flatMap(outputsOf);
  // What is read a second time would have come from memory once more.
  const isAgain = (value: Value, i: number) => isInside(value) || read.indexOf(value) < i;
  if (group.length < 2 || !read.some((value, i) => size(value) >= limits.large && isAgain(value, i))) return undefined;
  const withRows = group.flatMap((node) => (rowWise.get(node)?.total ? [] : outputsOf(node)));
  const width = largestOf([...read, ...withRows].map(size)) / rows;
  const most = group.some(({ opType }) => opType === "Gemm") ? limits.productTile : limits.tile;
  const perTile = largestDivisor(rows, Math.max(1, Math.floor(most / width)));
  if (width > limits.row || perTile * width < limits.smallTile || perTile === rows) return undefined;
  const gives = made.filter((value) => value.isOutput || value.users().some((user) => !members.has(user)));
  if (gives.length === 0) return undefined;
  const reads = [...new Set(read)].filter((value) => !isInside(value));
  return { group, rowWise, count: rows / perTile, rows: perTile, reads, gives };
}

function largestDivisor(n: number, limit: number): number {
  let divisor = Math.min(n, limit);
  while (n % divisor !== 0) divisor--;
  return divisor;
}

function emitTiles(op: Emitter, { group, rowWise, count, rows, reads, gives }: Plan): void {
  const { graph } = op;
  op.subject = `${gives[0]?.name}.tiles`;
  const totalOf = (value: Value) => rowWise.get(value.producer as Node)?.total;
  const step = (inner: Emitter, now: readonly Value[]) => {
    const own = new Map(reads.map((value, i) => [value, now[i] as Value]));
    for (const node of group) {
      // A value may be cut for one node and whole for another.
      const { sliced } = rowWise.get(node) as RowWise;
      const inputs = node.inputs.map((value, i) => (value && sliced.includes(i) ? own.get(value) : value));
      const { opType, attributes } = node;
      const outputs = node.outputs.map((value) => (value ? inner.graph.addValue(`${value.name}.tile`) : undefined));
      inner.graph.addNode({ opType, inputs, outputs, attributes });
      node.outputs.forEach((value, i) => {
        const part = outputs[i];
        if (!value || !part) return;
        const dims = op.shape(value);
        inner.declare(part, tensorType(op.dtype(value), totalOf(value) ? dims : [rows, ...dims.slice(1)]));
        own.set(value, part);
      });
    }
    return gives.map((value) => {
      const part = own.get(value) as Value;
      const total = totalOf(value);
      return total && !total.keepsAxis ? inner.Unsqueeze(part, [0]) : part;
    });
  };
  const stacked = stackedSteps(op, {
    count,
    reverse: false,
    carries: [],
    reads,
    step: (inner, _, now) => ({ carries: [], gives: step(inner, now) }),
  }).gives;
  const members = new Set(group);
  gives.forEach((value, i) => {
    const all = stacked[i] as Value;
    const total = totalOf(value);
    const outside = [...value.uses].filter(({ node }) => !members.has(node));
    const parts = () => op.reshape(all, [count, ...op.shape(all).slice(2)]);
    const whole = () => op.reshape(all, op.shape(value));
    const result = total
      ? (op.emit(total.opType, [parts(), [0], { keepdims: Number(total.keepsAxis) }])[0] as Value)
      : outside.length > 0
        ? whole()
        : all;
    for (const { node, index } of outside) node.setInput(index, result);
    if (!value.isOutput) return;
    const output = total ? result : all;
    graph.replaceUses(value, output);
    output.type = op.typeOf(output);
  });
  graph.removeNodes(group);
}
