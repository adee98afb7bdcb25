/** @file What ONNX declares about every operator: arguments, attributes, types, and the opset each version begins with. */
import { type DType, dtypeOfText } from "../tensor/dtype.ts";
import { invariant } from "../util/errors.ts";
import { schemaTable, typeSets } from "./schemas.generated.ts";

/** The names that `Attribute.type` of the IR uses. No standard operator takes a list of tensors, graphs or types. */
export type SchemaAttributeType =
  | "float"
  | "int"
  | "string"
  | "tensor"
  | "graph"
  | "sparse-tensor"
  | "type"
  | "floats"
  | "ints"
  | "strings";

/** Floats are float32 values, as a decoded file holds them. */
export type AttributeDefault = number | string | readonly number[] | readonly string[];

export interface AttributeSchema {
  readonly name: string;
  readonly type: SchemaAttributeType;
  readonly required: boolean;
  /** Absent where an omitted attribute means something that no single value says. */
  readonly default?: AttributeDefault;
}

/** The element types that a formal argument or a type parameter allows. */
export interface TypeConstraint {
  /** As ONNX writes them, without spaces: `tensor(float)`, `seq(tensor(int64))`, `map(int64,float)`. */
  readonly types: readonly string[];
  /** Those of `types` that are plain tensors. */
  readonly dtypes: ReadonlySet<DType>;
}

/** A formal input or output. */
export interface FormalArgument extends TypeConstraint {
  readonly name: string;
  /** A variadic argument is the last one and stands for any number of values. */
  readonly option: "single" | "optional" | "variadic";
  /** Least number of values of a variadic argument. */
  readonly minCount: number;
  /** False for a variadic argument whose values may differ in type. */
  readonly homogeneous: boolean;
  /** Arguments with the same parameter have the same type; absent where the type is fixed. */
  readonly typeParameter?: string;
}

export interface OpSchema {
  /** "" is ai.onnx. */
  readonly domain: string;
  readonly opType: string;
  /** First opset version of the domain in which the operator is as described. */
  readonly sinceVersion: number;
  /** From this version on the operator must not be used. */
  readonly deprecated: boolean;
  readonly inputs: readonly FormalArgument[];
  readonly outputs: readonly FormalArgument[];
  /** Least and largest length of the argument lists; `Infinity` with a variadic argument. */
  readonly inputCount: readonly [number, number];
  readonly outputCount: readonly [number, number];
  readonly attributes: ReadonlyMap<string, AttributeSchema>;
  readonly typeParameters: ReadonlyMap<string, TypeConstraint>;
  /** Whether an attribute holds a subgraph: If, Loop, Scan, SequenceMap, beam search. */
  readonly hasSubgraph: boolean;
}

/** "" for the standard operators, whichever of its two spellings a file uses. */
export function normalDomain(domain: string): string {
  return domain === "ai.onnx" ? "" : domain;
}

/**
 * The schema that is in force for an operator in a model that imports `domain` at version `opset`: the newest one that is
 * not newer than that. Undefined when the operator is unknown or came later.
 */
export function schemaOf(domain: string, opType: string, opset: number): OpSchema | undefined {
  return schemaVersions(domain, opType).findLast((schema) => schema.sinceVersion <= opset);
}

/** Every version of an operator, oldest first; empty when it is unknown. */
export function schemaVersions(domain: string, opType: string): readonly OpSchema[] {
  const key = normalDomain(domain);
  const ops = table().get(key);
  const entry = ops?.get(opType);
  if (!ops || !entry) return [];
  if (typeof entry[0] !== "string") return entry as readonly OpSchema[];
  const versions = decodeVersions(key, entry as readonly string[]);
  ops.set(opType, versions);
  return versions;
}

/** Names of all operators of a domain, deprecated ones included, in alphabetical order. */
export function knownOps(domain: string): readonly string[] {
  return [...(table().get(normalDomain(domain))?.keys() ?? [])];
}

/** The domains that have schemas; any other one can only come with functions inside the model, or with a custom runtime. */
export function knownDomains(): readonly string[] {
  return [...table().keys()];
}

/** What an omitted attribute means. Undefined when the schema names no value, or has no such attribute. */
export function attributeDefault(
  domain: string,
  opType: string,
  opset: number,
  name: string,
): AttributeDefault | undefined {
  return schemaOf(domain, opType, opset)?.attributes.get(name)?.default;
}

/** The formal argument behind position `index` of an argument list; the variadic one stands for all positions from its own on. */
export function formalAt(formals: readonly FormalArgument[], index: number): FormalArgument | undefined {
  const last = formals.at(-1);
  return formals[index] ?? (last?.option === "variadic" ? last : undefined);
}

// The table: a line `@domain`, then a line a version, oldest first, fields separated by tabs:
//   op   since[!]   inputs   outputs   attributes   type parameters
// `!` = deprecated; a field `=` repeats the version before; items are separated by spaces.
//   argument    name[? | *minCount[~]]:type     ? = optional, * = variadic, ~ = of mixed types
//   attribute   name[!]:code[=default]          ! = required; the default is JSON without spaces
//   parameter   name=set                        a line number of typeSets
// Types that are tensors are written as their element type alone in typeSets. An operator is decoded when first asked for.

type Entry = readonly string[] | readonly OpSchema[];
let parsed: Map<string, Map<string, Entry>> | undefined;

function table(): Map<string, Map<string, Entry>> {
  if (parsed) return parsed;
  parsed = new Map();
  let ops = new Map<string, string[]>();
  for (const line of schemaTable.split("\n")) {
    if (line.startsWith("@")) {
      ops = new Map();
      parsed.set(normalDomain(line.slice(1)), ops);
      continue;
    }
    const name = line.slice(0, line.indexOf("\t"));
    const lines = ops.get(name);
    if (lines) lines.push(line);
    else ops.set(name, [line]);
  }
  return parsed;
}

const attributeTypes: Readonly<Record<string, SchemaAttributeType>> = {
  f: "float",
  i: "int",
  s: "string",
  t: "tensor",
  g: "graph",
  c: "sparse-tensor",
  y: "type",
  F: "floats",
  I: "ints",
  S: "strings",
};

function decodeVersions(domain: string, lines: readonly string[]): readonly OpSchema[] {
  let before: readonly string[] = [];
  return lines.map((line) => {
    const fields = line.split("\t").map((field, i) => (field === "=" ? (before[i] ?? "") : field));
    before = fields;
    return decodeSchema(domain, fields);
  });
}

function decodeSchema(domain: string, fields: readonly string[]): OpSchema {
  const [opType = "", since = "", inputText, outputText, attributeText, parameterText] = fields;
  const typeParameters = new Map(
    items(parameterText).map((item) => {
      const [name, set] = split(item, "=");
      return [name, typeSet(Number(set))];
    }),
  );
  const inputs = items(inputText).map((item) => decodeArgument(item, typeParameters));
  const outputs = items(outputText).map((item) => decodeArgument(item, typeParameters));
  const attributes = items(attributeText).map(decodeAttribute);
  return {
    domain,
    opType,
    sinceVersion: Number.parseInt(since, 10),
    deprecated: since.endsWith("!"),
    inputs,
    outputs,
    inputCount: countRange(inputs),
    outputCount: countRange(outputs),
    attributes: new Map(attributes.map((attribute) => [attribute.name, attribute])),
    typeParameters,
    hasSubgraph: attributes.some((attribute) => attribute.type === "graph"),
  };
}

function decodeArgument(item: string, typeParameters: ReadonlyMap<string, TypeConstraint>): FormalArgument {
  const [left, type] = split(item, ":");
  const [name, count] = split(left, "*");
  const parameter = typeParameters.get(type);
  return {
    name: name.replace("?", ""),
    option: count ? "variadic" : name.endsWith("?") ? "optional" : "single",
    minCount: count ? Number.parseInt(count, 10) : name.endsWith("?") ? 0 : 1,
    homogeneous: !count.endsWith("~"),
    ...(parameter ? { ...parameter, typeParameter: type } : constraintOf([type])),
  };
}

function decodeAttribute(item: string): AttributeSchema {
  const [left, value] = split(item, "=");
  const [name, code] = split(left, ":");
  const type = attributeTypes[code];
  invariant(type, `operator table: attribute type "${code}"`);
  return {
    name: name.replace("!", ""),
    type,
    required: name.endsWith("!"),
    ...(value && { default: decodeDefault(type, JSON.parse(value) as AttributeDefault) }),
  };
}

function decodeDefault(type: SchemaAttributeType, value: AttributeDefault): AttributeDefault {
  if (type === "float") return Math.fround(value as number);
  return type === "floats" ? (value as number[]).map(Math.fround) : value;
}

/** An argument list must reach the last argument that is not optional; what is optional before it may be left empty. */
function countRange(formals: readonly FormalArgument[]): readonly [number, number] {
  const last = formals.at(-1);
  if (last?.option === "variadic") return [formals.length - 1 + last.minCount, Number.POSITIVE_INFINITY];
  return [formals.findLastIndex((formal) => formal.option === "single") + 1, formals.length];
}

const decodedSets: TypeConstraint[] = [];
let typeLines: readonly string[] = [];

function typeSet(index: number): TypeConstraint {
  if (typeLines.length === 0) typeLines = typeSets.split("\n");
  decodedSets[index] ??= constraintOf(
    items(typeLines[index]).map((text) => (text.includes("(") ? text : `tensor(${text})`)),
  );
  return decodedSets[index];
}

function constraintOf(types: readonly string[]): TypeConstraint {
  const elements = types.filter((type) => type.startsWith("tensor(")).map((type) => dtypeOfText(type.slice(7, -1)));
  return { types, dtypes: new Set(elements.filter((dtype) => dtype !== undefined)) };
}

function items(field: string | undefined): readonly string[] {
  return field ? field.split(" ") : [];
}

/** Cuts at the first `separator`; the second part is empty when there is none. */
function split(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + 1)];
}
