/** @file Where a graph depends on constants only, and whether computing it beforehand keeps the file small. */
import type { Model } from "../ir/model.ts";
import type { Node } from "../ir/node.ts";
import { staticShape, type ValueType } from "../ir/types.ts";
import type { Value } from "../ir/value.ts";
import { byteSize, dtypeInfo } from "../tensor/dtype.ts";
import { elementCount } from "../tensor/tensor.ts";
import { fixedTensor } from "./constants.ts";

/** Operators that give something else each time. */
export const randomOps: ReadonlySet<string> = new Set([
  "Bernoulli",
  "Dropout",
  "Multinomial",
  "RandomNormal",
  "RandomNormalLike",
  "RandomUniform",
  "RandomUniformLike",
]);

/** Operators that undo a compression. */
const widening = new Set(["DequantizeLinear", "DynamicQuantizeLinear", "QuantizeLinear"]);

/**
 * Operators that only move elements: never more of them than there were. Not Identity: what reads it can read its input, and a
 * copy of a large constant for an output of the graph would be kept twice.
 */
const movements = new Set(["Concat", "Flatten", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"]);

/** Nodes that depend on each other and on constants only. */
export interface ConstantRegion {
  /** What something outside of the region needs of it. */
  readonly frontier: readonly Value[];
  /** Bytes of the constants that nothing else uses. */
  readonly freed: number;
}

/** Bytes of one region's results beyond which it isn't tried. */
const REGION_LIMIT = 2 ** 30;

/**
 * The parts of the graph that can be computed beforehand. A node that is not a movement must not add more than `maxBytes`;
 * movements may, since what they rearrange is often cut and put together again to the same size.
 */
export function constantRegions(
  model: Model,
  types: ReadonlyMap<Value, ValueType>,
  maxBytes: number,
): ConstantRegion[] {
  const foldable = new Set<Node>();
  const isKnown = (value: Value | undefined) =>
    value === undefined ||
    fixedTensor(value) !== undefined ||
    (value.producer !== undefined && foldable.has(value.producer));
  const functions = new Set(model.functions.map((fn) => `${fn.domain} ${fn.name}`));
  const moves = (node: Node) => movements.has(node.opType) || takesApart(node, types, isKnown, maxBytes);
  const isFoldable = (node: Node) =>
    node.domain === "" &&
    !functions.has(` ${node.opType}`) &&
    !widening.has(node.opType) &&
    !(randomOps.has(node.opType) && node.opType !== "Dropout") &&
    node.subgraphs().length === 0 &&
    node.inputs.every(isKnown) &&
    !trains(node) &&
    !widensStorage(node, types) &&
    growth(node, types, isKnown) <= (moves(node) ? REGION_LIMIT : maxBytes);
  for (const graph of model.graphs()) for (const node of graph.nodes) if (isFoldable(node)) foldable.add(node);
  return connected(foldable).flatMap((nodes) => {
    const frontier = [...nodes].flatMap((node) =>
      node.outputs
        .filter((output) => output !== undefined)
        .filter((output) => output.isOutput || output.users().some((user) => !nodes.has(user))),
    );
    const bytes = frontier.reduce((sum, value) => sum + bytesOf(types.get(value) ?? value.type), 0);
    return frontier.length > 0 && bytes <= REGION_LIMIT ? [{ frontier, freed: freedBy(nodes) }] : [];
  });
}

/**
 * Whether a table is only looked up at constant places, and all that is found is no more than the table: experts out of a stack of them.
 * Other lookups are no part of a region: what is rejected with them would have been folded alone.
 */
function takesApart(
  node: Node,
  types: ReadonlyMap<Value, ValueType>,
  isKnown: (value: Value | undefined) => boolean,
  maxBytes: number,
): boolean {
  const table = node.inputs[0];
  if (node.opType !== "Gather" || !table || table.isOutput) return false;
  const lookups = table.users();
  const isLookup = (user: Node) =>
    user.opType === "Gather" && user.domain === "" && user.inputs[1] !== table && isKnown(user.inputs[1]);
  if (!lookups.every(isLookup)) return false;
  const found = lookups.reduce((sum, each) => sum + bytesOf(types.get(each.output()) ?? each.output().type), 0);
  return found <= bytesOf(types.get(table) ?? table.type) + maxBytes;
}

/** Groups of nodes that share a value, constants included. */
function connected(nodes: ReadonlySet<Node>): Set<Node>[] {
  const left = new Set(nodes);
  const groups: Set<Node>[] = [];
  for (const first of nodes) {
    if (!left.delete(first)) continue;
    const group = new Set([first]);
    for (const node of group)
      for (const value of [...node.inputs, ...node.outputs])
        for (const next of value ? [value.producer, ...value.users()] : [])
          if (next && left.delete(next)) group.add(next);
    groups.push(group);
  }
  return groups;
}

/** Bytes of the constants that only these nodes use. */
function freedBy(nodes: ReadonlySet<Node>): number {
  const constants = new Set([...nodes].flatMap((node) => node.inputs.filter((value) => value?.tensor)));
  let bytes = 0;
  for (const value of constants)
    if (value && !value.isOutput && value.users().every((user) => nodes.has(user)))
      bytes += value.tensor?.byteLength ?? 0;
  return bytes;
}

/** Dropout in training mode is random. */
function trains(node: Node): boolean {
  return node.opType === "Dropout" && node.inputs[2] !== undefined;
}

/** A Cast from a type of at most 16 bits, other than bool, to a wider one: weights are stored that way to be small. */
function widensStorage(node: Node, types: ReadonlyMap<Value, ValueType>): boolean {
  if (node.opType !== "Cast" && node.opType !== "CastLike") return false;
  const [from, to] = [node.inputs[0], node.outputs[0]].map((value) => {
    const type = value && (value.type ?? types.get(value));
    return type?.kind === "tensor" ? dtypeInfo(type.dtype) : undefined;
  });
  return from !== undefined && from.kind !== "bool" && from.bits <= 16 && (to === undefined || to.bits > from.bits);
}

/** Bytes that folding a node adds to the file; infinite where a size isn't known or an output isn't a numeric tensor. */
function growth(node: Node, types: ReadonlyMap<Value, ValueType>, isKnown: (value: Value) => boolean): number {
  let bytes = 0;
  for (const output of node.outputs) if (output && !output.isUnused) bytes += bytesOf(types.get(output) ?? output.type);
  for (const input of new Set(node.inputs)) {
    const saved = input && input.users().length === 1 && !input.isOutput && isKnown(input);
    if (saved) bytes -= bytesOf(input.tensor ? input.type : types.get(input));
  }
  return bytes;
}

function bytesOf(type: ValueType | undefined): number {
  const shape = staticShape(type);
  if (!shape || type?.kind !== "tensor") return Number.POSITIVE_INFINITY;
  const { kind } = dtypeInfo(type.dtype);
  return kind === "string" || kind === "complex" ? Number.POSITIVE_INFINITY : byteSize(type.dtype, elementCount(shape));
}
