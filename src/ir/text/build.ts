/** @file From the syntax tree to the IR: declares values, resolves names, builds subgraphs. */
import type { Attribute } from "../attribute.ts";
import { Graph } from "../graph.ts";
import { type FunctionDef, Model } from "../model.ts";
import type { Value } from "../value.ts";
import type { Lexer } from "./lexer.ts";
import type {
  AttributeSyntax,
  FunctionSyntax,
  GraphSyntax,
  ModelSyntax,
  Name,
  NodeSyntax,
  ValueSyntax,
} from "./syntax.ts";

const DEFAULT_IR_VERSION = 10;
const DEFAULT_OPSET = 21;

/** Builds the model. @throws bad-model, at the name, for a value that is defined twice or nowhere. */
export function buildModel({ header, graph, functions }: ModelSyntax, lexer: Lexer): Model {
  const model = new Model(buildGraph(graph, lexer));
  model.irVersion = header.irVersion ?? DEFAULT_IR_VERSION;
  model.opsetImports = new Map(header.opsetImports ?? defaultImports(graph));
  model.producerName = header.producerName ?? "";
  model.producerVersion = header.producerVersion ?? "";
  model.domain = header.domain ?? "";
  model.modelVersion = header.modelVersion ?? 0n;
  model.docString = header.docString ?? "";
  model.metadata = new Map(header.metadata);
  model.unknown = header.unknown;
  model.functions = functions.map((fn) => buildFunction(fn, lexer));
  return model;
}

/** A header that imports nothing means opset 21, and version 1 of every other domain in use. */
function defaultImports(graph: GraphSyntax): Map<string, number> {
  const imports = new Map([["", DEFAULT_OPSET]]);
  for (const domain of domainsOf(graph)) if (!imports.has(domain)) imports.set(domain, 1);
  return imports;
}

function domainsOf(graph: GraphSyntax): string[] {
  return graph.nodes.flatMap((node) => [
    node.domain,
    ...[...node.attributes.values()].flatMap((attribute) => graphsOf(attribute).flatMap(domainsOf)),
  ]);
}

function graphsOf(attribute: AttributeSyntax): readonly GraphSyntax[] {
  if ("reference" in attribute) return [];
  if (attribute.type === "graph") return [attribute.value];
  return attribute.type === "graphs" ? attribute.value : [];
}

function buildFunction({ header, attributes, defaults, graph }: FunctionSyntax, lexer: Lexer): FunctionDef {
  return {
    domain: header.domain ?? "",
    name: graph.name,
    overload: header.overload ?? "",
    docString: header.docString ?? "",
    attributes,
    defaults,
    opsetImports: header.opsetImports ?? defaultImports(graph),
    graph: buildGraph(graph, lexer),
    metadata: header.metadata ?? new Map(),
    unknown: header.unknown,
  };
}

function buildGraph(syntax: GraphSyntax, lexer: Lexer, parent?: Graph): Graph {
  const graph = new Graph(syntax.name, parent);
  graph.docString = syntax.docString;
  graph.metadata = syntax.metadata;
  graph.unknown = syntax.unknown;
  for (const input of syntax.inputs) graph.addInput(declare(graph, input, lexer));
  for (const value of syntax.values) declare(graph, value, lexer);
  declareOutputs(graph, syntax, lexer);
  for (const node of syntax.nodes) addNode(graph, node, lexer);
  for (const output of syntax.outputs) addOutput(graph, output, lexer);
  return graph;
}

function declare(graph: Graph, syntax: ValueSyntax, lexer: Lexer): Value {
  const { text, at } = syntax.name;
  if (graph.find(text)) throw lexer.error(`value "${text}" is declared twice. Names must be unique.`, at);
  const value = graph.declare(text, syntax.type);
  value.tensor = syntax.tensor;
  value.sparse = syntax.sparse;
  annotate(value, syntax);
  return value;
}

/** Node outputs are declared before any node is built: a node may stand before those that it needs. */
function declareOutputs(graph: Graph, syntax: GraphSyntax, lexer: Lexer): void {
  const computed = new Set<string>();
  const inputs = new Set(graph.inputs);
  for (const { text, at } of syntax.nodes.flatMap((node) => node.outputs)) {
    if (!text) continue;
    const value = graph.find(text) ?? graph.declare(text);
    if (computed.has(text) || value.isConstant || inputs.has(value))
      throw lexer.error(`value "${text}" is defined twice. Names must be unique.`, at);
    computed.add(text);
  }
}

function annotate(value: Value, { docString, metadata, unknown }: ValueSyntax): void {
  value.docString = docString || value.docString;
  value.metadata = metadata.size > 0 ? metadata : value.metadata;
  value.unknown = unknown ?? value.unknown;
}

function addOutput(graph: Graph, syntax: ValueSyntax, lexer: Lexer): void {
  const value = resolve(graph, syntax.name, lexer) as Value;
  if (value.graph === graph) {
    if (syntax.type) value.type = syntax.type;
    annotate(value, syntax);
  }
  graph.addOutput(value);
}

function addNode(graph: Graph, syntax: NodeSyntax, lexer: Lexer): void {
  const { opType, domain, overload, name } = syntax;
  const outputs = syntax.outputs.map((output) => (output.text ? graph.find(output.text) : undefined));
  const attributes = new Map<string, Attribute>();
  for (const [key, attribute] of syntax.attributes) attributes.set(key, buildAttribute(attribute, graph, lexer));
  const inputs = syntax.inputs.map((input) => resolve(graph, input, lexer));
  const node = graph.addNode({ opType, domain, overload, name, inputs, outputs, attributes });
  node.docString = syntax.docString;
  node.metadata = syntax.metadata;
  node.unknown = syntax.unknown;
}

function buildAttribute(attribute: AttributeSyntax, graph: Graph, lexer: Lexer): Attribute {
  if ("reference" in attribute) return attribute;
  if (attribute.type === "graph") return { type: "graph", value: buildGraph(attribute.value, lexer, graph) };
  if (attribute.type === "graphs")
    return { type: "graphs", value: attribute.value.map((inner) => buildGraph(inner, lexer, graph)) };
  return attribute;
}

/** The value of a name, here or in the graphs around; undefined for a missing input. */
function resolve(graph: Graph, { text, at }: Name, lexer: Lexer): Value | undefined {
  if (!text) return undefined;
  const value = graph.find(text, true);
  if (value) return value;
  throw lexer.error(`value "${text}" is used, but not defined: expected an input, a constant or a node's output.`, at);
}
