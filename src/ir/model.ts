/** @file Model: a graph with the operator sets it is written in, its functions and its metadata. */
import { TersorError } from "../util/errors.ts";
import { type Attribute, isReference } from "./attribute.ts";
import { Graph } from "./graph.ts";
import type { Value } from "./value.ts";

/** A model-local function: its body is a graph whose inputs and outputs have no types. */
export interface FunctionDef {
  readonly domain: string;
  readonly name: string;
  readonly overload: string;
  readonly docString: string;
  /** Attributes without a default. */
  readonly attributes: readonly string[];
  readonly defaults: ReadonlyMap<string, Attribute>;
  readonly opsetImports: ReadonlyMap<string, number>;
  readonly graph: Graph;
  readonly metadata: ReadonlyMap<string, string>;
  readonly unknown: Uint8Array | undefined;
}

/** A file, or something like it, that tensors lie in. */
export interface TensorFile {
  close(): void;
  /** @throws bad-data when it is not as it was when it was opened */
  checkUnchanged(): void;
}

export class Model {
  irVersion = 10;
  /** Version by domain; "" is the standard domain. */
  opsetImports = new Map<string, number>();
  producerName = "";
  producerVersion = "";
  domain = "";
  modelVersion = 0n;
  docString = "";
  metadata = new Map<string, string>();
  functions: FunctionDef[] = [];
  /** Fields of the file that this version does not know, kept as they are. */
  unknown: Uint8Array | undefined;
  /** What its tensors lie in. Shared by what is made of the model. */
  files: readonly TensorFile[] = [];
  readonly graph: Graph;

  constructor(graph: Graph) {
    this.graph = graph;
  }

  /**
   * Closes the files that its tensors lie in. What was made of the model may still have tensors there: close it when they are written.
   * Without, a file is closed when nothing refers to it any more, which may be too late for a program that opens thousands.
   */
  close(): void {
    for (const file of this.files) file.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Version of the standard operators. @throws bad-model when the model imports none. */
  get opset(): number {
    const version = this.opsetImports.get("");
    if (version !== undefined) return version;
    throw new TersorError("bad-model", `model: imports no standard operator set (ai.onnx). It is not valid ONNX.`);
  }

  /** A copy whose structure can be edited freely; tensors, being immutable, are shared. */
  clone(): Model {
    const copy = new Model(cloneGraph(this.graph));
    copy.irVersion = this.irVersion;
    copy.opsetImports = new Map(this.opsetImports);
    copy.producerName = this.producerName;
    copy.producerVersion = this.producerVersion;
    copy.domain = this.domain;
    copy.modelVersion = this.modelVersion;
    copy.docString = this.docString;
    copy.metadata = new Map(this.metadata);
    copy.functions = this.functions.map((fn) => ({ ...fn, graph: cloneGraph(fn.graph) }));
    copy.unknown = this.unknown;
    copy.files = this.files;
    return copy;
  }

  /** The graph and every subgraph in it, outermost first; functions are not included. */
  graphs(): Graph[] {
    return nestedGraphs(this.graph);
  }
}

/** A graph and every subgraph in it, outermost first. */
export function nestedGraphs(graph: Graph): Graph[] {
  return [graph, ...graph.nodes.flatMap((node) => node.subgraphs().flatMap(nestedGraphs))];
}

/** Copies a graph with all its subgraphs. `parent` and `outer` place a copied subgraph and map the values around it. */
export function cloneGraph(graph: Graph, parent?: Graph, outer: ReadonlyMap<Value, Value> = new Map()): Graph {
  const copy = new Graph(graph.name, parent);
  copy.docString = graph.docString;
  copy.metadata = graph.metadata;
  copy.unknown = graph.unknown;
  const map = new Map(outer);
  for (const value of graph.values) {
    const twin = copy.declare(value.name);
    twin.tensor = value.tensor;
    twin.sparse = value.sparse;
    twin.type = value.type;
    twin.docString = value.docString;
    twin.metadata = value.metadata;
    twin.unknown = value.unknown;
    map.set(value, twin);
  }
  const twinOf = (value: Value | undefined) => value && (map.get(value) ?? value);
  for (const input of graph.inputs) copy.addInput(twinOf(input) as Value);
  for (const node of graph.nodes) {
    const attributes = new Map<string, Attribute>();
    for (const [name, attribute] of node.attributes) attributes.set(name, cloneAttribute(attribute, copy, map));
    const { opType, domain, overload, name } = node;
    const inputs = node.inputs.map(twinOf);
    const outputs = node.outputs.map(twinOf);
    const twin = copy.addNode({ opType, domain, overload, name, inputs, outputs, attributes });
    twin.docString = node.docString;
    twin.metadata = node.metadata;
    twin.unknown = node.unknown;
  }
  for (const output of graph.outputs) copy.addOutput(twinOf(output) as Value);
  return copy;
}

/** Copies an attribute with the graphs in it, for a node of `parent`; `map` gives the values that nodes in them use. */
export function cloneAttribute(attribute: Attribute, parent: Graph, map: ReadonlyMap<Value, Value>): Attribute {
  if (isReference(attribute)) return attribute;
  if (attribute.type === "graph") return { type: "graph", value: cloneGraph(attribute.value, parent, map) };
  if (attribute.type !== "graphs") return attribute;
  return { type: "graphs", value: attribute.value.map((graph) => cloneGraph(graph, parent, map)) };
}
