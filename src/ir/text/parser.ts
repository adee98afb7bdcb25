/**
 * @file Parser of the textual format: text to syntax tree. The grammar is ONNX' own (docs/Syntax.md and defs/parser.cc of
 * github.com/onnx/onnx) with the extensions that index.ts lists.
 */
import type { Attribute } from "../attribute.ts";
import type { Token } from "./lexer.ts";
import { parseAttribute } from "./parse-attribute.ts";
import { atType, parseSparseData, parseTensorData, parseType } from "./parse-type.ts";
import type { Reader } from "./reader.ts";
import type {
  AttributeSyntax,
  FunctionSyntax,
  GraphSyntax,
  HeaderSyntax,
  ModelSyntax,
  Name,
  NodeSyntax,
  Notes,
  ValueSyntax,
} from "./syntax.ts";

/** The whole text. @throws bad-model with line and column. */
export function parseModel(reader: Reader): ModelSyntax {
  const header = parseHeader(reader, modelFields);
  const graph = parseGraph(reader);
  const functions: FunctionSyntax[] = [];
  while (reader.lexer.next.kind !== "end") functions.push(parseFunction(reader));
  return { header, graph, functions };
}

type HeaderField = (reader: Reader, header: HeaderSyntax) => void;
type HeaderFields = Readonly<Record<string, HeaderField>>;

const noteFields = {
  doc_string: (reader, header) => {
    header.docString = reader.string().text;
  },
  metadata_props: (reader, header) => {
    header.metadata = reader.map("[", () => pair(reader, () => reader.string().text), "]");
  },
  unknown: (reader, header) => {
    header.unknown = reader.string().bytes;
  },
} satisfies HeaderFields;

const commonFields = {
  ...noteFields,
  domain: (reader, header) => {
    header.domain = reader.string().text;
  },
  opset_import: (reader, header) => {
    header.opsetImports = reader.map("[", () => pair(reader, () => Number(reader.integer())), "]");
  },
} satisfies HeaderFields;

const modelFields: HeaderFields = {
  ...commonFields,
  ir_version: (reader, header) => {
    header.irVersion = Number(reader.integer());
  },
  producer_name: (reader, header) => {
    header.producerName = reader.string().text;
  },
  producer_version: (reader, header) => {
    header.producerVersion = reader.string().text;
  },
  model_version: (reader, header) => {
    header.modelVersion = reader.integer();
  },
};

const functionFields: HeaderFields = {
  ...commonFields,
  overload: (reader, header) => {
    header.overload = reader.string().text;
  },
};

function pair<V>(reader: Reader, value: () => V): [Token, V] {
  const key = reader.string();
  reader.expect(":");
  return [key, value()];
}

function parseHeader(reader: Reader, fields: HeaderFields): HeaderSyntax {
  const header: HeaderSyntax = {};
  if (reader.at("<")) reader.map("<", () => parseField(reader, fields, header), ">");
  return header;
}

function parseField(reader: Reader, fields: HeaderFields, header: HeaderSyntax): [Token, null] {
  const key = reader.lexer.next;
  const field = key.kind === "name" && Object.hasOwn(fields, key.text) ? fields[key.text] : undefined;
  if (!field) throw reader.lexer.expected(`one of ${Object.keys(fields).join(", ")}`);
  reader.lexer.take();
  reader.expect(":");
  field(reader, header);
  return [key, null];
}

/** `[doc_string: "…", metadata_props: […]]`, when it comes next. */
function parseNotes(reader: Reader): Notes {
  const header: HeaderSyntax = {};
  if (reader.at("[")) reader.map("[", () => parseField(reader, noteFields, header), "]");
  return notesOf(header);
}

function notesOf(header: HeaderSyntax): Notes {
  return { docString: header.docString ?? "", metadata: header.metadata ?? new Map(), unknown: header.unknown };
}

function parseGraph(reader: Reader): GraphSyntax {
  const name = reader.atName() ? reader.name("a graph's name").text : "graph";
  return { name, ...parseNotes(reader), ...parseGraphBody(reader) };
}

function parseGraphBody(reader: Reader): Omit<GraphSyntax, "name" | keyof Notes> {
  const inputs = reader.list("(", () => parseValue(reader), ")");
  reader.expect("=>");
  const outputs = reader.list("(", () => parseValue(reader), ")");
  const values = reader.at("<") ? reader.list("<", () => parseValue(reader), ">") : [];
  reader.expect("{");
  const nodes: NodeSyntax[] = [];
  while (!reader.at("}")) nodes.push(parseNode(reader));
  reader.lexer.take();
  return { inputs, outputs, values, nodes };
}

/** `float[2] x`, `x`, `float[2] w = {1, 2}`. */
function parseValue(reader: Reader): ValueSyntax {
  const at = reader.lexer.next;
  const type = atType(reader) ? parseType(reader) : undefined;
  const name = reader.name(type ? "a value's name" : "a type or a value's name");
  const notes = parseNotes(reader);
  const constant = { tensor: undefined, sparse: undefined };
  if (!reader.at("=")) return { name, type, ...notes, ...constant };
  if (!type) throw reader.lexer.error(`"${name.text}": a constant needs a type, such as float[2].`, at);
  reader.lexer.take();
  if (type.kind === "sparse-tensor")
    return { name, type: undefined, ...notes, ...constant, sparse: parseSparseData(reader, type, at) };
  return { name, type: undefined, ...notes, ...constant, tensor: parseTensorData(reader, type, at) };
}

function parseNode(reader: Reader): NodeSyntax {
  const label = parseLabel(reader);
  const outputs = parseNames(reader, 'an output\'s name or "="');
  reader.expect("=");
  const path = [reader.name("an operator").text];
  while (reader.lexer.takeIf(".")) path.push(reader.name("an operator").text);
  const opType = path.pop() as string;
  const overload = reader.lexer.takeIf(":") ? reader.name("an overload").text : "";
  const before = parseAttributes(reader);
  reader.expect("(");
  const inputs = parseNames(reader, 'an input\'s name or ")"');
  reader.expect(")");
  const attributes = before.size > 0 ? before : parseAttributes(reader);
  const domain = path.join(".");
  return { ...label, opType, domain: domain === "ai.onnx" ? "" : domain, overload, inputs, outputs, attributes };
}

/** `[name]`, and with notes `[name, doc_string: "…"]` or `[doc_string: "…"]`. */
function parseLabel(reader: Reader): Notes & { readonly name: string } {
  const header: HeaderSyntax = {};
  let name = "";
  if (reader.at("["))
    reader.map(
      "[",
      () => {
        const token = reader.lexer.next;
        if (token.kind === "name" && reader.lexer.second().text === ":") return parseField(reader, noteFields, header);
        name = reader.name("a node's name").text;
        return [{ ...token, text: "node name" }, null];
      },
      "]",
    );
  return { name, ...notesOf(header) };
}

/** Names separated by commas; nothing between two commas is a missing one, like "". */
function parseNames(reader: Reader, what: string): Name[] {
  const names: Name[] = [];
  const { lexer } = reader;
  while (reader.atName() || reader.at(",")) {
    names.push(reader.at(",") ? { text: "", at: lexer.next.at } : reader.name(what));
    if (!lexer.takeIf(",")) break;
  }
  return names;
}

function parseAttributes(reader: Reader): Map<string, AttributeSyntax> {
  if (!reader.at("<")) return new Map();
  return reader.map("<", () => [reader.nameToken("an attribute's name"), parseAttribute(reader, parseGraph)], ">");
}

function parseFunction(reader: Reader): FunctionSyntax {
  const header = parseHeader(reader, functionFields);
  const { text: name } = reader.name("a function's name");
  const attributes: string[] = [];
  const defaults = new Map<string, Attribute>();
  if (reader.at("<"))
    reader.map(
      "<",
      () => {
        const key = reader.nameToken("an attribute's name");
        if (!reader.at(":") && !reader.at("=")) attributes.push(key.text);
        else defaults.set(key.text, parseDefault(reader));
        return [key, null];
      },
      ">",
    );
  const graph = { name, ...notesOf({}), ...parseGraphBody(reader) };
  return { header, attributes, defaults, graph };
}

function parseDefault(reader: Reader): Attribute {
  const at = reader.lexer.next;
  const value = parseAttribute(reader, parseGraph);
  if ("reference" in value || value.type === "graph" || value.type === "graphs")
    throw reader.lexer.error("a function's default must be a constant: expected a number, a string or a tensor.", at);
  return value;
}
