/** @file Pass: computes what depends on constants only. Small integers by shape inference, the rest by a runtime that is given. */
import { Graph } from "../ir/graph.ts";
import { Model } from "../ir/model.ts";
import type { Node } from "../ir/node.ts";
import type { ValueType } from "../ir/types.ts";
import type { Value } from "../ir/value.ts";
import type { Contents } from "../ops/shapes/call.ts";
import { byteSize, dtypeInfo } from "../tensor/dtype.ts";
import { fromNumbers, type Tensor } from "../tensor/tensor.ts";
import { append } from "../util/append.ts";
import { chunksOf } from "../util/bytes.ts";
import { invariant } from "../util/errors.ts";
import { fnv1a64 } from "../util/hash.ts";
import { type ConstantRegion, constantRegions } from "./constant-regions.ts";
import { fixedTensor, unlistInitializers } from "./constants.ts";
import { removeDeadNodes } from "./dead-code.ts";
import { editable, inferOnce, type PassResult } from "./pass.ts";

export interface FoldOptions {
  /** Runs a model without inputs and gives its outputs in order. Without it only what shape inference knows is folded. */
  readonly evaluate?: (model: Model) => Promise<readonly Tensor[]>;
  /** How many bytes folding one region may add to the file, what it makes superfluous deducted. Default 16 KiB. */
  readonly maxBytes?: number;
}

/**
 * Nodes whose inputs are all constant become constants, gathered into one model for one call of `evaluate`. Left alone:
 * what is random, what would blow up the file (Expand, ConstantOfShape, …), what undoes compression (DequantizeLinear,
 * widening Casts of stored weights, contrib operators), nodes with subgraphs, and results that are not numeric tensors.
 * Whatever `evaluate` throws is passed on.
 */
export async function foldConstants(model: Model, options: FoldOptions = {}): Promise<PassResult> {
  const { evaluate, maxBytes = 1 << 14 } = options;
  const copy = editable(model);
  unlistInitializers(copy);
  const { types, contents } = inferOnce(copy);
  const isKnown = foldKnown(contents, maxBytes);
  const regions = evaluate ? constantRegions(copy, types, maxBytes) : [];
  const folded = evaluate && regions.length > 0 ? await compute(copy, regions, types, evaluate, maxBytes) : false;
  if (!isKnown && !folded) return { model, modified: false };
  removeDeadNodes(copy.graph);
  return { model: copy, modified: true };
}

/**
 * Makes constants of the integers and booleans that inference worked out, in the graph they are of. Nodes that are no longer used
 * stay. Returns whether there were any.
 */
export function foldKnown(contents: ReadonlyMap<Value, Contents>, maxBytes = 1 << 14): boolean {
  const known = knownIntegers(contents, maxBytes);
  for (const [value, tensor] of known) value.graph.fixValue(value, tensor);
  return known.size > 0;
}

/** The integers and booleans that inference worked out, where something still to be computed needs them. */
function knownIntegers(contents: ReadonlyMap<Value, Contents>, maxBytes: number): Map<Value, Tensor> {
  const known = new Map<Value, Tensor>();
  for (const [value, { dtype, dims, values }] of contents) {
    const { kind, bits } = dtypeInfo(dtype);
    const plain = (kind === "int" || kind === "uint" || kind === "bool") && bits >= 8;
    const numbers = values.filter((x) => Number.isSafeInteger(x)) as number[];
    const isKnown =
      value.producer && plain && numbers.length === values.length && byteSize(dtype, numbers.length) <= maxBytes;
    if (isKnown) known.set(value, fromNumbers(dtype, dims, numbers));
  }
  const isFolded = (node: Node) => node.outputs.every((output) => !output || output.isUnused || known.has(output));
  const needed = [...known].filter(([value]) => value.isOutput || !value.users().every(isFolded));
  return new Map(needed);
}

/** Computes every region in one run and fixes the results of those that do not blow up the file. */
async function compute(
  model: Model,
  regions: readonly ConstantRegion[],
  types: ReadonlyMap<Value, ValueType>,
  evaluate: NonNullable<FoldOptions["evaluate"]>,
  maxBytes: number,
): Promise<boolean> {
  const frontier = regions.flatMap((region) => region.frontier);
  const results = await evaluate(submodel(model, frontier, types));
  invariant(results.length === frontier.length, `folding gave ${results.length} of ${frontier.length} results`);
  const byValue = new Map(frontier.map((value, i) => [value, results[i] as Tensor]));
  let folded = false;
  for (const region of regions) {
    const tensors = region.frontier.map((value) => byValue.get(value) as Tensor);
    if (distinctBytes(tensors) - region.freed > maxBytes) continue;
    region.frontier.forEach((value, i) => {
      value.graph.fixValue(value, tensors[i] as Tensor);
    });
    folded = true;
  }
  return folded;
}

/** Bytes of the tensors, equal ones counted once: they will be merged. */
function distinctBytes(tensors: readonly Tensor[]): number {
  const sizes = tensors.map(
    (tensor) => [`${tensor.dtype}[${tensor.dims}]${fnv1a64(chunksOf(tensor.bytes))}`, tensor.byteLength] as const,
  );
  return [...new Map(sizes).values()].reduce((a, b) => a + b, 0);
}

/** A model without inputs that computes the values. */
function submodel(model: Model, values: readonly Value[], types: ReadonlyMap<Value, ValueType>): Model {
  const graph = new Graph("constants");
  const twins = new Map<Value, Value>();
  const twinOf = (value: Value): Value => {
    let twin = twins.get(value);
    if (twin) return twin;
    const tensor = fixedTensor(value);
    twin = tensor ? graph.addInitializer(value.name, tensor) : graph.addValue(value.name, types.get(value));
    twins.set(value, twin);
    return twin;
  };
  const needed = producersOf(values);
  // Branches of one If may use the same node names; side by side they may not. Errors of a runtime name what is left: the outputs.
  for (const node of model.graphs().flatMap((each) => each.nodes)) {
    if (!needed.has(node)) continue;
    const [inputs, outputs] = [node.inputs, node.outputs].map((list) => list.map((value) => value && twinOf(value)));
    graph.addNode({
      opType: node.opType,
      inputs: inputs ?? [],
      outputs: outputs ?? [],
      attributes: node.attributes,
    });
  }
  for (const value of values) graph.addOutput(twinOf(value));
  const result = new Model(graph);
  result.irVersion = model.irVersion;
  result.opsetImports = new Map([["", model.opset]]);
  return result;
}

/** The nodes that values are computed by, directly or not. */
function producersOf(values: readonly Value[]): ReadonlySet<Node> {
  const producers = new Set<Node>();
  const pending: (Value | undefined)[] = [...values];
  while (pending.length > 0) {
    const node = pending.pop()?.producer;
    if (!node || producers.has(node)) continue;
    producers.add(node);
    append(pending, node.inputs);
  }
  return producers;
}
