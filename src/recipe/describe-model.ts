/** @file What a model is made of, as plain data: what `tersor inspect` shows. */
import { type Attribute, isReference } from "../ir/attribute.ts";
import type { Graph } from "../ir/graph.ts";
import { type Model, nestedGraphs } from "../ir/model.ts";
import type { Node } from "../ir/node.ts";
import { typeToString } from "../ir/types.ts";
import type { Value } from "../ir/value.ts";
import { findLayers, nodeName } from "../quantize/sites.ts";
import { dtypeInfo } from "../tensor/dtype.ts";
import type { Tensor } from "../tensor/tensor.ts";

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
  /** Elements of float constants that its nodes use; a shared one counts for the first user. */
  readonly params: number;
  /** Bytes of all constants that its nodes use. */
  readonly bytes: number;
  /** Multiply-accumulates of one run; null when a shape is not known. */
  readonly macs: number | null;
  /** True for an operator that neither ONNX nor the model itself defines here. */
  readonly unknown?: boolean;
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
  readonly nodes: number;
  readonly subgraphs: number;
  readonly functions: readonly string[];
  readonly params: number;
  /** Of all constants. */
  readonly constantBytes: number;
  /** Bytes of constants by element type. */
  readonly bytesByDtype: Readonly<Record<string, number>>;
  readonly macs: { readonly total: number; readonly unknownNodes: number };
  readonly operators: readonly OperatorDescription[];
  readonly layers: readonly LayerDescription[];
}

/** Multiply-accumulates of one run of a node; null when its shapes are not known. */
export type MacsOf = (node: Node) => number | null;

export interface DescribeOptions {
  /** For the nodes of the model and of `layered`. */
  readonly macsOf: MacsOf;
  /** The model whose layers are listed: usually the simplified one. */
  readonly layered: Model;
}

/** Describes a model. Operators and functions that are not known are listed like others. */
export function describeModel(model: Model, { macsOf, layered }: DescribeOptions): ModelDescription {
  const nodes = nodesOf(model);
  const constants = constantsOf(model);
  const bytesByDtype: Record<string, number> = {};
  for (const { dtype, byteLength } of constants) bytesByDtype[dtype] = (bytesByDtype[dtype] ?? 0) + byteLength;
  const { producerName, producerVersion } = model;
  return {
    irVersion: model.irVersion,
    opsets: Object.fromEntries([...model.opsetImports].map(([domain, version]) => [domain || "ai.onnx", version])),
    producer: [producerName, producerVersion].filter(Boolean).join(" "),
    metadata: Object.fromEntries(model.metadata),
    inputs: model.graph.inputs.filter((input) => !input.isConstant).map(describeIo),
    outputs: model.graph.outputs.map(describeIo),
    nodes: nodes.length,
    subgraphs: model.graphs().length - 1,
    functions: model.functions.map(({ domain, name }) => (domain ? `${domain}.${name}` : name)),
    params: countParams(model),
    constantBytes: constants.reduce((sum, tensor) => sum + tensor.byteLength, 0),
    bytesByDtype,
    macs: {
      total: nodes.reduce((sum, node) => sum + (macsOf(node) ?? 0), 0),
      unknownNodes: nodes.filter((node) => macsOf(node) === null).length,
    },
    operators: describeOperators(nodes, macsOf),
    layers: describeLayers(layered, macsOf),
  };
}

/** Elements of all constants that are weights: floats and narrow integers. */
export function countParams(model: Model): number {
  return constantsOf(model)
    .filter(isParameter)
    .reduce((sum, tensor) => sum + tensor.size, 0);
}

function describeIo(value: Value): IoDescription {
  return { name: value.name, type: typeToString(value.type) };
}

/** Nodes of the graph and its subgraphs; functions count where they are called. */
function nodesOf(model: Model): Node[] {
  return model.graphs().flatMap((graph) => graph.nodes);
}

function describeOperators(nodes: readonly Node[], macsOf: MacsOf): OperatorDescription[] {
  const rows = new Map<string, { count: number; params: number; bytes: number; macs: number | null }>();
  const seen = new Set<Tensor>();
  for (const node of nodes) {
    const key = operatorName(node);
    const row = rows.get(key) ?? { count: 0, params: 0, bytes: 0, macs: 0 };
    rows.set(key, row);
    row.count++;
    row.macs = sumOrNull([row.macs, macsOf(node)]);
    for (const tensor of [...node.inputs.map((input) => input?.tensor), ...attributeTensors(node)]) {
      if (!tensor || seen.has(tensor)) continue;
      seen.add(tensor);
      row.bytes += tensor.byteLength;
      if (isParameter(tensor)) row.params += tensor.size;
    }
  }
  const list = [...rows].map(([opType, row]) => ({ opType, ...row }));
  return list.sort((a, b) => b.bytes - a.bytes || b.count - a.count || (a.opType < b.opType ? -1 : 1));
}

function describeLayers(model: Model, macsOf: MacsOf): LayerDescription[] {
  const { layers, skipped } = findLayers(model);
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
      macs: sumOrNull([...new Set(sites.map(({ node }) => node))].map(macsOf)),
      compressible: true,
    })),
    ...skipped.map(({ name, opType, reason }) => {
      const node = byName.get(name);
      return { name, opType, params: 0, bytes: 0, macs: node ? macsOf(node) : 0, compressible: false, reason };
    }),
  ];
}

function sumOrNull(parts: readonly (number | null)[]): number | null {
  return parts.reduce((sum, part) => (sum === null || part === null ? null : sum + part), 0);
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
  return [...initializers, ...graph.nodes.flatMap(attributeTensors)];
}

function attributeTensors(node: Node): Tensor[] {
  return [...node.attributes.values()].flatMap(tensorsInAttribute);
}

function tensorsInAttribute(attribute: Attribute): readonly Tensor[] {
  if (isReference(attribute)) return [];
  if (attribute.type === "tensor") return [attribute.value];
  return attribute.type === "tensors" ? attribute.value : [];
}

/** Integers of 16 bits and more are shapes and indices rather than weights. */
function isParameter({ dtype, size }: Tensor): boolean {
  const { kind, bits } = dtypeInfo(dtype);
  return size > 0 && (kind === "float" || ((kind === "int" || kind === "uint") && bits <= 8));
}
