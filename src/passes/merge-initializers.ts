/** @file Pass: initializers with equal type, dims and bytes become one. */
import type { Graph } from "../ir/graph.ts";
import type { Model } from "../ir/model.ts";
import type { Value } from "../ir/value.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { type ByteSource, chunksOf } from "../util/bytes.ts";
import { fnv1a64 } from "../util/hash.ts";
import { unlistInitializers } from "./constants.ts";
import { edit, type Pass } from "./pass.ts";

/** Bytes read at the start, middle and end of a tensor to tell it apart from others of its size. */
const SAMPLE = 256;

/**
 * The first one, in order of creation, stays. In a subgraph an initializer of a graph around it serves as well; equal ones
 * of two branches move to the main graph, where both see them.
 * Inputs, outputs, sparse and string constants are left alone. Tensors that agree in a sample are compared whole, in
 * a stream, so equal hashes never merge different tensors and big weights are read only when they are likely equal.
 */
export const mergeInitializers: Pass = (model) =>
  edit(model, (copy) => {
    unlistInitializers(copy);
    const moved = moveShared(copy);
    return mergeIn(copy.graph, new Map()) || moved;
  });

/** Moves what several subgraphs hold equally to the main graph. */
function moveShared(model: Model): boolean {
  const groups = new Map<string, Value[]>();
  let modified = false;
  for (const graph of model.graphs().slice(1))
    for (const value of mergeable(graph)) {
      const tensor = value.tensor as Tensor;
      const key = sampleKey(tensor);
      const group = groups.get(key) ?? [];
      groups.set(key, group);
      const twin = group.find(
        (other) => other.graph !== graph && areEqual((other.tensor as Tensor).bytes, tensor.bytes),
      );
      if (!twin) {
        group.push(value);
        continue;
      }
      const shared = twin.graph === model.graph ? twin : model.graph.addInitializer(twin.name, tensor);
      for (const copy of twin === shared ? [value] : [twin, value]) {
        copy.graph.replaceUses(copy, shared);
        copy.graph.removeValue(copy);
      }
      group[group.indexOf(twin)] = shared;
      modified = true;
    }
  return modified;
}

/** Initializers that nothing but nodes refers to. */
function mergeable(graph: Graph): Value[] {
  const inputs = new Set(graph.inputs);
  return graph.initializers.filter(
    (value) => value.tensor && value.tensor.dtype !== "string" && !inputs.has(value) && !value.isOutput,
  );
}

type Groups = ReadonlyMap<string, readonly Value[]>;

function mergeIn(graph: Graph, outer: Groups): boolean {
  const candidates = mergeable(graph);
  const visible = new Map(outer);
  const typeCounts = new Map<string, number>();
  for (const value of candidates) {
    const type = typeKey(value.tensor as Tensor);
    typeCounts.set(type, (typeCounts.get(type) ?? 0) + 1);
  }
  const hasSubgraphs = graph.nodes.some((node) => node.subgraphs().length > 0);
  let modified = false;
  for (const value of candidates) {
    const tensor = value.tensor as Tensor;
    const alone = typeCounts.get(typeKey(tensor)) === 1 && !graph.parent && !hasSubgraphs;
    if (alone) continue;
    const key = sampleKey(tensor);
    const group = visible.get(key) ?? [];
    const twin = group.find((other) => areEqual((other.tensor as Tensor).bytes, tensor.bytes));
    if (!twin) {
      visible.set(key, [...group, value]);
      continue;
    }
    graph.replaceUses(value, twin);
    graph.removeValue(value);
    modified = true;
  }
  for (const node of graph.nodes)
    for (const subgraph of node.subgraphs()) modified = mergeIn(subgraph, visible) || modified;
  return modified;
}

function typeKey({ dtype, dims }: Tensor): string {
  return `${dtype} ${dims}`;
}

/** Equal for equal tensors, and rarely for others. */
function sampleKey(tensor: Tensor): string {
  return `${typeKey(tensor)} ${fnv1a64(samples(tensor.bytes))}`;
}

function* samples(source: ByteSource): Iterable<Uint8Array> {
  const { byteLength } = source;
  if (byteLength <= 3 * SAMPLE) {
    yield source.read(0, byteLength);
    return;
  }
  for (const at of [0, Math.floor((byteLength - SAMPLE) / 2), byteLength - SAMPLE]) yield source.read(at, SAMPLE);
}

function areEqual(a: ByteSource, b: ByteSource): boolean {
  if (a === b) return true;
  let at = 0;
  for (const chunk of chunksOf(a)) {
    const other = b.read(at, chunk.byteLength);
    for (let i = 0; i < chunk.byteLength; i++) if (chunk[i] !== other[i]) return false;
    at += chunk.byteLength;
  }
  return true;
}
