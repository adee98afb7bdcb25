/** @file A model in pieces that can be timed: each layer that multiplies, with what follows it up to the next, as a model of its own. */
import type { Attribute } from "../../../ir/attribute.ts";
import { Graph } from "../../../ir/graph.ts";
import { Model } from "../../../ir/model.ts";
import type { Node } from "../../../ir/node.ts";
import { tensorType } from "../../../ir/types.ts";
import type { Value } from "../../../ir/value.ts";
import { costOf } from "../../../ops/cost.ts";
import { type Inference, infer } from "../../../ops/infer.ts";
import type { InputShapes } from "../../../ops/infer-inputs.ts";
import type { DType } from "../../../tensor/dtype.ts";
import type { HostTensor } from "../../../tensor/host-tensor.ts";
import { elementCount, fromNumbers } from "../../../tensor/tensor.ts";
import { fnv1a64 } from "../../../util/hash.ts";
import { own } from "../../../util/own.ts";
import { Rng } from "../../../util/rng.ts";
import { layerName } from "../../graph/groups.ts";

/** A piece; pieces of one key are alike but for their numbers, and take the same time. */
export interface Segment {
  readonly key: string;
  /** Its layer, for people. */
  readonly name: string;
  /** The piece as a model; undefined where it can't stand alone. */
  build(): Model | undefined;
}

/** A tensor that something needs when it runs. */
interface Source {
  readonly value: Value;
  readonly dtype: DType;
  readonly dims: readonly number[];
  /** Integers that are known without running. */
  readonly known: readonly number[] | undefined;
}

/** @param inputShapes sizes that the model leaves open, which count as 1 otherwise */
export function segmentsOf(model: Model, inputShapes?: InputShapes): Segment[] {
  const inference = infer(model, inputShapes ? { inputShapes } : {});
  const pieces: Node[][] = [];
  for (const node of model.graph.nodes) {
    const last = pieces.at(-1);
    const multiplies = (costOf(node, inference.types).macs ?? 0) > 0;
    if (!last || (multiplies && last.some((each) => (costOf(each, inference.types).macs ?? 0) > 0)))
      pieces.push([node]);
    else last.push(node);
  }
  return pieces.map((nodes) => segmentOf(model, nodes, inference));
}

function segmentOf(model: Model, nodes: readonly Node[], inference: Inference): Segment {
  const inside = new Set<Value>(nodes.flatMap(({ outputs }) => outputs.filter((value) => value !== undefined)));
  const read = new Set(nodes.flatMap(({ inputs }) => inputs.filter((value) => value !== undefined)));
  const sources = [...read].filter((value) => !inside.has(value)).map((value) => sourceOf(value, inference));
  const own = new Set(nodes);
  const results = [...inside].filter((value) => value.isOutput || value.users().some((node) => !own.has(node)));
  const main = nodes.find((node) => (costOf(node, inference.types).macs ?? 0) > 0) ?? (nodes[0] as Node);
  return {
    key: keyOf(nodes, sources, results),
    name: layerName(main),
    build: () => buildSegment(model, nodes, sources, results),
  };
}

function sourceOf(value: Value, { types, contents }: Inference): Source {
  const type = value.tensor ? value.type : (types.get(value) ?? value.type);
  const [dtype, shape]: [DType, readonly unknown[]] =
    type?.kind === "tensor" ? [type.dtype, type.shape ?? []] : ["undefined" as DType, []];
  const dims = shape.map((dim) => (typeof dim === "number" ? dim : 1));
  const values = contents.get(value)?.values;
  const known = values?.every((x) => typeof x === "number") ? (values as readonly number[]) : undefined;
  return { value, dtype, dims, known: dtype.startsWith("int") ? known : undefined };
}

/** Values by number, so that names do not matter. */
function keyOf(nodes: readonly Node[], sources: readonly Source[], results: readonly Value[]): string {
  const numbers = new Map<Value, number>();
  for (const { value } of sources) numbers.set(value, numbers.size);
  for (const { outputs } of nodes) for (const value of outputs) if (value) numbers.set(value, numbers.size);
  const at = (value: Value | undefined) => (value ? (numbers.get(value) ?? -1) : -1);
  const text = JSON.stringify([
    sources.map(({ value, dtype, dims, known }) => [dtype, dims, value.isConstant, known]),
    nodes.map(({ domain, opType, inputs, outputs, attributes }) => [
      domain,
      opType,
      inputs.map(at),
      outputs.map(at),
      [...attributes].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, value]) => [name, plain(value)]),
    ]),
    results.map(at),
  ]);
  return fnv1a64([new TextEncoder().encode(text)]);
}

function plain(attribute: Attribute): unknown {
  return JSON.parse(
    JSON.stringify(attribute, (_, value) => {
      if (typeof value === "bigint") return String(value);
      return value instanceof Graph ? value.nodes.map(({ opType }) => opType) : value;
    }),
  );
}

function buildSegment(
  model: Model,
  nodes: readonly Node[],
  sources: readonly Source[],
  results: readonly Value[],
): Model | undefined {
  // What is inside of branches and loops may read anything of the graph around.
  if (nodes.some((node) => node.subgraphs().length > 0)) return undefined;
  // Sizes that only a run would tell can't be made up.
  if (sources.some(({ value, dtype, known }) => !value.isConstant && !known && dtype !== "float32")) return undefined;
  const graph = new Graph("segment");
  const values = new Map<Value, Value>();
  for (const { value, dtype, dims, known } of sources) {
    if (value.tensor) values.set(value, graph.addInitializer(value.name, value.tensor));
    else if (known) values.set(value, graph.addInitializer(value.name, fromNumbers(dtype, dims, known)));
    else {
      const input = graph.declare(value.name, tensorType(dtype, dims));
      graph.addInput(input);
      values.set(value, input);
    }
  }
  for (const { domain, opType, name, inputs, outputs, attributes } of nodes) {
    const made = graph.addNode({
      domain,
      opType,
      name,
      inputs: inputs.map((value) => value && values.get(value)),
      outputs: outputs.map((value) => value?.name),
      attributes: Object.fromEntries(attributes),
    });
    outputs.forEach((value, i) => {
      const copy = made.outputs[i];
      if (value && copy) values.set(value, copy);
    });
  }
  for (const result of results) {
    const output = values.get(result);
    if (output) graph.addOutput(output);
  }
  const piece = new Model(graph);
  piece.irVersion = model.irVersion;
  piece.opsetImports = new Map(model.opsetImports);
  piece.functions = model.functions;
  infer(piece).types.forEach((type, value) => {
    if (value.isOutput) value.type = type;
  });
  return piece;
}

/** Made-up numbers for the inputs of a model that is to be timed; what is open has the size 1. */
export function timingFeeds(model: Model, inputShapes?: InputShapes): Record<string, HostTensor> {
  return Object.fromEntries(
    model.graph.inputs
      .filter(({ isConstant }) => !isConstant)
      .map(({ name, type }): [string, HostTensor] => {
        const declared = type?.kind === "tensor" ? (type.shape ?? []) : [];
        const given = inputShapes && own(inputShapes, name);
        const dims = declared.map((dim, axis) => {
          const size = typeof given === "object" ? given[axis] : typeof dim === "string" ? inputShapes?.[dim] : dim;
          return typeof size === "number" ? size : 1;
        });
        const dtype = type?.kind === "tensor" ? type.dtype : "float32";
        const rng = new Rng(0, name);
        const size = elementCount(dims);
        if (dtype === "float32")
          return [name, { dtype, dims, data: Float32Array.from({ length: size }, () => rng.normal()) }];
        return [name, { dtype, dims, data: fromNumbers(dtype, dims, new Float64Array(size)).toTypedArray() }];
      }),
  );
}
