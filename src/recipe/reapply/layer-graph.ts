/** @file The layers of a model and the way from one to the next: what is written down of a model to find its layers in another one. */
import { type Model, nestedGraphs } from "../../ir/model.ts";
import type { Node } from "../../ir/node.ts";
import type { Value } from "../../ir/value.ts";
import { findLayers, type WeightLayer } from "../../quantize/layers/sites.ts";
import { ComputedSource } from "../../util/bytes.ts";
import { fnv1a64 } from "../../util/hash.ts";

/** A layer as it is found again: plain data, less than a hundred bytes besides its names. */
export interface LayerPlace {
  readonly name: string;
  readonly weight: string;
  /** What multiplies; MatMul and Gemm are one, since exporters choose between them. */
  readonly op: string;
  /** Outputs, inputs and the rest of its weight, in whatever order it is stored: `64x32x3x3`. */
  readonly shape: string;
  /** Places of the layers whose results it reads, with what is no layer in between; -1 for inputs of the model. */
  readonly after: readonly number[];
  /** Hash of the first of its numbers: the same in a re-export that does not touch them. Absent where they would have to be computed first. */
  readonly numbers?: string;
}

/** Operators that mean the same layer. */
const alike: Readonly<Record<string, string>> = { Gemm: "product", MatMul: "product" };

/** Of every layer, in the order and with the indices of {@link findLayers}. */
export function layerPlaces(model: Model): LayerPlace[] {
  const { layers } = findLayers(model);
  const before = sourcesOf(model, layers);
  return layers.map((layer) => {
    const { name, value, opType } = layer;
    const numbers = numbersOf(layer);
    return {
      name,
      weight: value.name,
      op: alike[opType] ?? opType,
      shape: shapeOf(layer),
      after: before(layer),
      ...(numbers !== undefined && { numbers }),
    };
  });
}

function shapeOf({ weight: { dims }, axes: { channel, group } }: WeightLayer): string {
  const rest = dims.filter((_, axis) => axis !== channel && axis !== group);
  return [dims[channel], ...(group === channel ? [] : [dims[group]]), ...rest].join("x");
}

/** Bytes that tell weights apart. */
const HASHED = 4096;

function numbersOf({ weight: { bytes, byteLength } }: WeightLayer): string | undefined {
  if (bytes instanceof ComputedSource) return undefined;
  return fnv1a64([bytes.read(0, Math.min(HASHED, byteLength))]);
}

/** Layers that a value comes from, and how many layers lie before it. */
interface Origin {
  readonly depth: number;
  readonly from: readonly number[];
}

const input: Origin = { depth: 0, from: [-1] };
/** What no input reaches, and what a body gives. */
const constant: Origin = { depth: -1, from: [] };

/**
 * Where several ways meet, as in a residual sum, the one with most layers counts: all of them would be as many as the model is deep.
 */
function sourcesOf(model: Model, layers: readonly WeightLayer[]): (layer: WeightLayer) => number[] {
  const owners = new Map<Node, number[]>();
  for (const { index, sites } of layers)
    for (const { node } of sites) owners.set(node, [...(owners.get(node) ?? []), index]);
  const origins = new Map<Value, Origin>();
  const reads = new Map<Node, Origin>();
  const originOf = (value: Value): Origin =>
    origins.get(value) ?? (value.isConstant || value.producer ? constant : input);
  for (const node of inOrder(model)) {
    const read = joined(node.inputs.flatMap((value) => (value ? [originOf(value)] : [])));
    reads.set(node, read);
    const own = owners.get(node);
    const made = own ? { depth: Math.max(read.depth, 0) + 1, from: own } : read;
    for (const output of node.outputs) if (output) origins.set(output, made);
  }
  return ({ sites }) => [...joined(sites.flatMap(({ node }) => reads.get(node) ?? [])).from];
}

/** Bodies of control flow behind the graph around them, whose values they read. */
function inOrder(model: Model): readonly Node[] {
  return nestedGraphs(model.graph).flatMap(({ nodes }) => nodes);
}

function joined(origins: readonly Origin[]): Origin {
  const depth = origins.reduce((most, each) => Math.max(most, each.depth), -1);
  const from = origins.flatMap((each) => (each.depth === depth ? each.from : []));
  return { depth, from: [...new Set(from)].sort((a, b) => a - b) };
}

/** As messages name a layer. */
export function placeName({ name, weight }: LayerPlace): string {
  return name || weight || "?";
}
