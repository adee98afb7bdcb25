/** @file Pass: computes what depends on constants only. Small integers by shape inference, the rest by a runtime that is given. */
import { Graph } from "../ir/graph.ts";
import { Model } from "../ir/model.ts";
import type { Node } from "../ir/node.ts";
import { staticShape, type ValueType } from "../ir/types.ts";
import type { Value } from "../ir/value.ts";
import { infer } from "../ops/infer.ts";
import type { Contents } from "../ops/shapes/call.ts";
import { byteSize, dtypeInfo } from "../tensor/dtype.ts";
import { elementCount, fromNumbers, type Tensor } from "../tensor/tensor.ts";
import { invariant } from "../util/errors.ts";
import { fixedTensor, unlistInitializers } from "./constants.ts";
import { removeDeadNodes } from "./dead-code.ts";
import type { PassResult } from "./pass.ts";

export interface FoldOptions {
  /** Runs a model without inputs and gives its outputs in order. Without it only what shape inference knows is folded. */
  readonly evaluate?: (model: Model) => Promise<readonly Tensor[]>;
  /** How many bytes one node may add to the file: its outputs less the constants that it alone uses. Default 16 KiB. */
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
  const copy = model.clone();
  unlistInitializers(copy);
  const { types, contents } = infer(copy);
  const known = knownIntegers(contents, maxBytes);
  for (const [value, tensor] of known) value.graph.fixValue(value, tensor);
  const frontier = evaluate ? frontierOf(copy, types, maxBytes) : [];
  if (known.size + frontier.length === 0) return { model, modified: false };
  if (evaluate && frontier.length > 0) {
    const results = await evaluate(submodel(copy, frontier, types));
    invariant(results.length === frontier.length, `folding gave ${results.length} of ${frontier.length} results`);
    frontier.forEach((value, i) => {
      value.graph.fixValue(value, results[i] as Tensor);
    });
  }
  removeDeadNodes(copy.graph);
  return { model: copy, modified: true };
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

/** Operators whose constants must not be computed: random ones, and those that undo a compression. */
const kept = new Set([
  "Bernoulli",
  "DequantizeLinear",
  "DynamicQuantizeLinear",
  "Multinomial",
  "QuantizeLinear",
  "RandomNormal",
  "RandomNormalLike",
  "RandomUniform",
  "RandomUniformLike",
]);

/** The values to compute: outputs of foldable nodes that something else than a foldable node needs. */
function frontierOf(model: Model, types: ReadonlyMap<Value, ValueType>, maxBytes: number): Value[] {
  const foldable = new Set<Node>();
  const isKnown = (value: Value | undefined) =>
    value === undefined ||
    fixedTensor(value) !== undefined ||
    (value.producer !== undefined && foldable.has(value.producer));
  const functions = new Set(model.functions.map((fn) => `${fn.domain} ${fn.name}`));
  const isFoldable = (node: Node) =>
    node.domain === "" &&
    !functions.has(` ${node.opType}`) &&
    !kept.has(node.opType) &&
    node.subgraphs().length === 0 &&
    node.inputs.every(isKnown) &&
    !trains(node) &&
    !widensStorage(node, types) &&
    growth(node, types, isKnown) <= maxBytes;
  for (const graph of model.graphs()) for (const node of graph.nodes) if (isFoldable(node)) foldable.add(node);
  return [...foldable].flatMap((node) =>
    node.outputs
      .filter((output) => output !== undefined)
      .filter((output) => output.isOutput || output.users().some((user) => !foldable.has(user))),
  );
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
  for (const node of model.graphs().flatMap((each) => each.nodes)) {
    if (!needed.has(node)) continue;
    const [inputs, outputs] = [node.inputs, node.outputs].map((list) => list.map((value) => value && twinOf(value)));
    graph.addNode({
      opType: node.opType,
      name: node.name,
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
    pending.push(...node.inputs);
  }
  return producers;
}
