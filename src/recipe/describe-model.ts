/** @file What a model is made of, as plain data: what `tersor inspect` shows. */
import { type Attribute, isReference } from "../ir/attribute.ts";
import type { Graph } from "../ir/graph.ts";
import { type Model, nestedGraphs } from "../ir/model.ts";
import type { Node } from "../ir/node.ts";
import { typeToString, type ValueType } from "../ir/types.ts";
import type { Value } from "../ir/value.ts";
import { checkModel } from "../ops/check-model.ts";
import { constantsOfNode, costOf, modelCost } from "../ops/cost.ts";
import { infer } from "../ops/infer.ts";
import type { InputShapes } from "../ops/infer-inputs.ts";
import { findLayers, nodeName } from "../quantize/layers/sites.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { TersorError } from "../util/errors.ts";

export interface IoDescription {
  readonly name: string;
  /** As ONNX' textual format writes it: `float[N,3,32,32]`. */
  readonly type: string;
}

/** All nodes of one operator. */
export interface OperatorDescription {
  /** With its domain, unless it is a standard one. */
  readonly opType: string;
  readonly count: number;
  /** Numbers that its nodes learned; a constant that several operators share counts for the first. */
  readonly params: number;
  /** Bytes of all constants that its nodes read. */
  readonly bytes: number;
  /** Multiply-accumulates of one run; null when a shape is not known. */
  readonly macs: number | null;
}

/** A weight, or an operator that could have one. */
export interface LayerDescription {
  /** Number for `--layers`; absent where there is nothing to compress. */
  readonly index?: number;
  readonly name: string;
  readonly opType: string;
  readonly weight?: string;
  readonly dtype?: string;
  readonly dims?: readonly number[];
  readonly params: number;
  readonly bytes: number;
  readonly macs: number | null;
  readonly compressible: boolean;
  /** Why not. */
  readonly reason?: string;
}

export interface ModelDescription {
  readonly irVersion: number;
  /** Version by domain; the standard domain is "ai.onnx". */
  readonly opsets: Readonly<Record<string, number>>;
  readonly producer: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly inputs: readonly IoDescription[];
  readonly outputs: readonly IoDescription[];
  /** Initializers that are listed as inputs too: old exporters did that. */
  readonly defaults: number;
  readonly nodes: number;
  readonly subgraphs: number;
  readonly functions: readonly string[];
  readonly params: number;
  /** Of all constants. */
  readonly constantBytes: number;
  /** Bytes of constants by element type. */
  readonly bytesByDtype: Readonly<Record<string, number>>;
  /** Of one run, with the sizes that the inputs leave open counted as 1. Nodes whose shapes are not known are left out. */
  readonly macs: {
    readonly total: number;
    readonly unknownNodes: number;
    /** Names of those sizes; "?" for one without a name. */
    readonly openSizes: readonly string[];
  };
  readonly operators: readonly OperatorDescription[];
  readonly layers: readonly LayerDescription[];
  /** What the user should know. */
  readonly notes: readonly string[];
}

export interface DescribeOptions {
  /** Sizes for what the file leaves open: shapes by input name, or a size by the name of a symbol. */
  readonly shapes?: InputShapes;
  /** The model whose layers are listed: usually the simplified one. The model itself when absent. */
  readonly layered?: Model;
}

/**
 * Describes a model, also one that is not sound in every respect: operators that are not known are listed like others,
 * and where shapes contradict each other, a note says so.
 * @throws bad-data, shape-mismatch for `shapes` that do not fit the inputs.
 */
export function describeModel(model: Model, { shapes = {}, layered = model }: DescribeOptions = {}): ModelDescription {
  const notes = checkModel(model).map((problem) => problem.message);
  const types = typesOf(model, shapes, notes);
  const total = modelCost(model, types);
  const tensors = constantsOf(model);
  const bytesByDtype: Record<string, number> = {};
  for (const { dtype, byteLength } of tensors) bytesByDtype[dtype] = (bytesByDtype[dtype] ?? 0) + byteLength;
  const inputs = model.graph.inputs.filter((input) => !input.isConstant);
  const { producerName, producerVersion } = model;
  return {
    irVersion: model.irVersion,
    opsets: Object.fromEntries([...model.opsetImports].map(([domain, version]) => [domain || "ai.onnx", version])),
    producer: [producerName, producerVersion].filter(Boolean).join(" "),
    metadata: Object.fromEntries(model.metadata),
    inputs: inputs.map((input) => describeIo(input, input.type)),
    outputs: model.graph.outputs.map((output) => describeIo(output, output.type ?? types.get(output))),
    defaults: model.graph.inputs.length - inputs.length,
    nodes: total.nodes,
    subgraphs: model.graphs().length - 1,
    functions: model.functions.map(({ domain, name }) => (domain ? `${domain}.${name}` : name)),
    params: total.params,
    constantBytes: tensors.reduce((sum, tensor) => sum + tensor.byteLength, 0),
    bytesByDtype,
    macs: {
      total: total.macs ?? 0,
      unknownNodes: total.unknown.length,
      openSizes: [...new Set(inputs.flatMap((input) => symbolsOf(types.get(input) ?? input.type)))],
    },
    operators: describeOperators(model, types),
    layers: describeLayers(layered, layered === model ? types : typesOf(layered, shapes, [])),
    notes,
  };
}

/** Numbers that a model learned. */
export function countParams(model: Model): number {
  return modelCost(model, new Map()).params;
}

type Types = ReadonlyMap<Value, ValueType>;

/** What inference finds; what the file declares alone when inference fails. */
function typesOf(model: Model, shapes: InputShapes, notes: string[]): Types {
  try {
    return infer(model, { inputShapes: shapes }).types;
  } catch (error) {
    if (!(error instanceof TersorError) || Object.keys(shapes).length > 0) throw error;
    notes.push(`shapes can't be inferred: ${error.message}`);
    return new Map();
  }
}

function symbolsOf(type: ValueType | undefined): readonly string[] {
  if (type?.kind !== "tensor") return [];
  return (type.shape ?? []).flatMap((dim) => (dim === null ? ["?"] : typeof dim === "string" ? [dim] : []));
}

function describeIo(value: Value, type: ValueType | undefined): IoDescription {
  return { name: value.name, type: typeToString(type) };
}

function describeOperators(model: Model, types: Types): OperatorDescription[] {
  const rows = new Map<string, { count: number; params: number; bytes: number; macs: number | null }>();
  const seen = new Set<Value>();
  for (const node of nodesOf(model)) {
    const key = operatorName(node);
    const row = rows.get(key) ?? { count: 0, params: 0, bytes: 0, macs: 0 };
    rows.set(key, row);
    const { macs } = costOf(node, types);
    for (const { value, tensor, params } of constantsOfNode(node)) {
      if (seen.has(value)) continue;
      seen.add(value);
      row.params += params;
      row.bytes += tensor.byteLength;
    }
    row.count++;
    row.macs = row.macs === null || macs === undefined ? null : row.macs + macs;
  }
  const list = [...rows].map(([opType, row]) => ({ opType, ...row }));
  return list.sort((a, b) => b.bytes - a.bytes || b.count - a.count || (a.opType < b.opType ? -1 : 1));
}

function describeLayers(model: Model, types: Types): LayerDescription[] {
  const { layers, skipped } = findLayers(model);
  const macsOf = (nodes: Iterable<Node>) => {
    let sum: number | null = 0;
    for (const node of nodes) {
      const { macs } = costOf(node, types);
      sum = sum === null || macs === undefined ? null : sum + macs;
    }
    return sum;
  };
  const byName = new Map(nodesOf(model).map((node) => [nodeName(node), node]));
  return [
    ...layers.map(({ index, name, opType, value, weight, sites }) => ({
      index,
      name,
      opType,
      weight: value.name,
      dtype: weight.dtype,
      dims: weight.dims,
      params: weight.size,
      bytes: weight.byteLength,
      macs: macsOf(new Set(sites.map(({ node }) => node))),
      compressible: true,
    })),
    ...skipped.map(({ name, opType, reason }) => {
      const node = byName.get(name);
      return { name, opType, params: 0, bytes: 0, macs: macsOf(node ? [node] : []), compressible: false, reason };
    }),
  ];
}

/** Nodes of the graph and its subgraphs. */
function nodesOf(model: Model): Node[] {
  return model.graphs().flatMap((graph) => graph.nodes);
}

function operatorName({ domain, opType }: Node): string {
  return domain ? `${domain}.${opType}` : opType;
}

/** Every constant once: initializers, and tensors in attributes. */
function constantsOf(model: Model): Tensor[] {
  const graphs = [...model.graphs(), ...model.functions.flatMap((fn) => nestedGraphs(fn.graph))];
  return [...new Set(graphs.flatMap(tensorsOf))];
}

function tensorsOf(graph: Graph): Tensor[] {
  const initializers = graph.initializers.flatMap(({ tensor, sparse }) => tensor ?? sparse?.values ?? []);
  const attributes = graph.nodes.flatMap((node) => [...node.attributes.values()].flatMap(tensorsInAttribute));
  return [...initializers, ...attributes];
}

/** Tensors that an attribute holds itself, not those of its graphs. */
export function tensorsInAttribute(attribute: Attribute): readonly Tensor[] {
  if (isReference(attribute)) return [];
  if (attribute.type === "tensor") return [attribute.value];
  return attribute.type === "tensors" ? attribute.value : [];
}
