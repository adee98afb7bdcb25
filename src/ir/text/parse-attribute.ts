/** @file Parser of node attributes: `axis: int = 1`, `value = float[2] {1, 2}`, `body: graph = b (…) => (…) {…}`. */
import type { AttributeType } from "../attribute.ts";
import { numberOfToken } from "./elements.ts";
import type { Token } from "./lexer.ts";
import { floatOfWord } from "./literals.ts";
import { atType, parseSparseData, parseTensorData, parseType } from "./parse-type.ts";
import type { Reader } from "./reader.ts";
import type { AttributeSyntax, GraphSyntax } from "./syntax.ts";

type Single = "float" | "int" | "string" | "tensor" | "graph" | "sparse-tensor" | "type";
type SingleSyntax = Extract<AttributeSyntax, { type: Single; value: unknown }>;
type GraphParser = (reader: Reader) => GraphSyntax;

/** The types' names in text; the plural of each is the list's. */
const typeNames: readonly (readonly [string, Single, AttributeType])[] = [
  ["float", "float", "floats"],
  ["int", "int", "ints"],
  ["string", "string", "strings"],
  ["tensor", "tensor", "tensors"],
  ["graph", "graph", "graphs"],
  ["sparse_tensor", "sparse-tensor", "sparse-tensors"],
  ["type_proto", "type", "types"],
];
const typeOfName = new Map<string, AttributeType>(
  typeNames.flatMap(([name, single, plural]) => [
    [name, single],
    [`${name}s`, plural],
  ]),
);
const nameOfType = new Map([...typeOfName].map(([name, type]) => [type, name]));
const pluralOf = new Map(typeNames.map(([, single, plural]) => [single, plural]));
const singleOf = new Map(typeNames.map(([, single, plural]) => [plural, single]));

/** The name of an attribute type in text. */
export function attributeTypeToText(type: AttributeType): string {
  return nameOfType.get(type) as string;
}

/** The rest of an attribute after its name. */
export function parseAttribute(reader: Reader, parseGraph: GraphParser): AttributeSyntax {
  const { lexer } = reader;
  const declared = lexer.takeIf(":") ? parseAttributeType(reader) : undefined;
  reader.expect("=");
  const at = lexer.next;
  if (lexer.takeIf("@")) {
    const { text } = reader.name("the name of the function's attribute");
    if (!declared) throw lexer.error('a reference needs a type: expected for instance "axis: int = @axis".', at);
    return { type: declared, reference: text };
  }
  if (!reader.at("[")) {
    const single = parseSingle(reader, parseGraph);
    if (!declared || declared === single.type) return single;
    if (declared === "float" && single.type === "int")
      return { type: "float", value: Math.fround(Number(single.value)) };
    throw lexer.error(
      `attribute of the wrong type: expected ${nameOfType.get(declared)}, got ${nameOfType.get(single.type)}.`,
      at,
    );
  }
  const items = reader.list("[", () => parseSingle(reader, parseGraph), "]");
  return listOf(reader, items, declared, at);
}

function parseAttributeType(reader: Reader): AttributeType {
  const token = reader.lexer.next;
  const type = typeOfName.get(reader.word("an attribute type"));
  if (!type) throw reader.lexer.expected(`an attribute type (${[...typeOfName.keys()].join(", ")})`, token);
  return type;
}

function listOf(
  reader: Reader,
  items: SingleSyntax[],
  declared: AttributeType | undefined,
  at: Token,
): AttributeSyntax {
  const first = items[0]?.type;
  if (!declared && !first)
    throw reader.lexer.error('an empty list needs a type: expected for instance "axes: ints = []".', at);
  const natural = items.every((item) => item.type === "int" || item.type === "float") ? "float" : first;
  const single = declared ? singleOf.get(declared) : items.every((item) => item.type === first) ? first : natural;
  const fits = single && items.every((item) => item.type === single || (single === "float" && item.type === "int"));
  if (!fits)
    throw reader.lexer.error(
      `attribute of the wrong type: expected ${declared ? nameOfType.get(declared) : "a list of one type"}, got a list of ${items.map((item) => nameOfType.get(item.type)).join(", ")}.`,
      at,
    );
  const values = items.map((item) => (single === "float" ? Math.fround(Number(item.value)) : item.value));
  return { type: pluralOf.get(single), value: values } as AttributeSyntax;
}

function parseSingle(reader: Reader, parseGraph: GraphParser): SingleSyntax {
  const { lexer } = reader;
  const { kind, text } = lexer.next;
  if (kind === "int") return { type: "int", value: reader.integer() };
  const isFloat = kind === "float" || (kind === "name" && floatOfWord(text) !== undefined);
  if (isFloat) return { type: "float", value: Math.fround(numberOfToken(lexer.take()) as number) };
  if (atType(reader)) return parseConstantOrType(reader);
  const isGraph = reader.at("(") || kind === "name" || (kind === "string" && ["(", "["].includes(lexer.second().text));
  if (isGraph) return { type: "graph", value: reader.nest(() => parseGraph(reader)) };
  if (kind === "string") return { type: "string", value: reader.string().bytes };
  throw lexer.expected("an attribute's value");
}

/** A type on its own, or a constant when elements follow; ONNX lets a name and "=" stand between. */
function parseConstantOrType(reader: Reader): SingleSyntax {
  const at = reader.lexer.next;
  const type = parseType(reader);
  if (!reader.at("{") && !reader.at("=") && !reader.atName()) return { type: "type", value: type };
  if (reader.atName()) reader.lexer.take();
  reader.lexer.takeIf("=");
  return type.kind === "sparse-tensor"
    ? { type: "sparse-tensor", value: parseSparseData(reader, type, at) }
    : { type: "tensor", value: parseTensorData(reader, type, at) };
}
