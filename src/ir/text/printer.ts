/** @file Printer of the textual format: models, graphs and nodes to text that parses again. Deterministic. */
import type { Tensor } from "../../tensor/tensor.ts";
import { type Attribute, isReference, type SparseTensor } from "../attribute.ts";
import { Graph } from "../graph.ts";
import { type FunctionDef, Model } from "../model.ts";
import type { Node } from "../node.ts";
import { tensorType, typeToString } from "../types.ts";
import type { Value } from "../value.ts";
import { elementsToText, hashTensor } from "./elements.ts";
import { bytesToText, float32ToText, nameToText, qualifiedToText, stringToText } from "./literals.ts";
import { attributeTypeToText } from "./parse-attribute.ts";

export interface PrintOptions {
  /** Tensors of more elements are printed as the hash of their contents. Default 16; Infinity prints all elements. */
  readonly elideAbove?: number;
}

/** Longer lists get a line per item. */
const LINE_WIDTH = 100;
const INDENT = "  ";

/** Prints a model, a graph (without a header) or one node. */
export function print(subject: Model | Graph | Node, options: PrintOptions = {}): string {
  const printer = new Printer(options.elideAbove ?? 16);
  if (subject instanceof Model) return printer.model(subject);
  return subject instanceof Graph ? printer.graph(subject) : printer.node(subject);
}

type Fields = readonly (readonly [key: string, text: string | undefined])[];
interface Notes {
  readonly docString: string;
  readonly metadata: ReadonlyMap<string, string>;
  readonly unknown?: Uint8Array | undefined;
}

class Printer {
  readonly #elideAbove: number;
  /** Depth of the line that is being written. Text is never indented afterwards: strings may contain line breaks. */
  #depth = 0;

  constructor(elideAbove: number) {
    this.#elideAbove = elideAbove;
  }

  model(model: Model): string {
    const header = fieldsToText([
      ["ir_version", String(model.irVersion)],
      ["opset_import", pairsToText(model.opsetImports, String)],
      ["producer_name", stringIfAny(model.producerName)],
      ["producer_version", stringIfAny(model.producerVersion)],
      ["domain", stringIfAny(model.domain)],
      ["model_version", model.modelVersion ? String(model.modelVersion) : undefined],
      ...noteFields(model),
    ]);
    const functions = model.functions.map((fn) => `\n${this.function(fn)}`);
    return [this.#list("<", () => header, ">"), this.graph(model.graph), ...functions].join("\n");
  }

  function(fn: FunctionDef): string {
    const header = fieldsToText([
      ["domain", stringToText(fn.domain)],
      ["overload", stringIfAny(fn.overload)],
      ["opset_import", pairsToText(fn.opsetImports, String)],
      ...noteFields(fn),
    ]);
    const { attributes, defaults } = fn;
    const all = () => [...attributes.map(nameToText), ...this.#attributes(defaults)];
    const declared = attributes.length + defaults.size > 0 ? `${this.#list("<", all, ">")} ` : "";
    return `${this.#list("<", () => header, ">")}\n${nameToText(fn.name)} ${declared}${this.#graphBody(fn.graph)}`;
  }

  graph(graph: Graph): string {
    return `${nameToText(graph.name)}${this.#notes(graph)} ${this.#graphBody(graph)}`;
  }

  #graphBody(graph: Graph): string {
    const graphInputs = new Set(graph.inputs);
    const listed = new Set([...graph.inputs, ...graph.outputs]);
    const inner = [...graph.values].filter((value) => !graphInputs.has(value) && isDeclared(value, listed));
    const inputs = this.#list("(", () => graph.inputs.map((value) => this.#value(value)), ")");
    const outputs = this.#list("(", () => graph.outputs.map((value) => this.#typed(value)), ")");
    const values = inner.length > 0 ? this.#list("<", () => inner.map((value) => this.#value(value)), ">") : "";
    const nodes = this.#nest((line) => graph.nodes.map((node) => line + this.node(node)).join(""));
    const line = this.#line();
    return `${inputs} => ${outputs}${values ? `${line}${values}${line}` : " "}{${nodes && nodes + line}}`;
  }

  /** An input, a constant or the type of an inner value. */
  #value(value: Value): string {
    const { tensor, sparse } = value;
    if (tensor) return `${this.#typed(value)} = ${this.#elements(tensor)}`;
    if (!sparse) return this.#typed(value);
    return `${sparseType(sparse)} ${nameToText(value.name)}${this.#notes(value)} = ${this.#sparseElements(sparse)}`;
  }

  node(node: Node): string {
    const name = node.name ? [nameToText(node.name)] : [];
    const label = [...name, ...fieldsToText(noteFields(node))];
    const opType = nameToText(node.opType);
    const op = node.domain ? `${qualifiedToText(node.domain)}.${opType}` : opType;
    const overload = node.overload ? `:${nameToText(node.overload)}` : "";
    const attributes = () => this.#attributes(node.attributes);
    const hasGraph = node.subgraphs().length > 0;
    const hasOthers = node.attributes.size > 0 && !hasGraph;
    const parts = [
      label.length > 0 ? `${this.#list("[", () => label, "]")} ` : "",
      node.outputs.length > 0 ? `${namesToText(node.outputs)} = ` : "= ",
      `${op}${overload}`,
      hasOthers ? this.#list("<", attributes, ">") : "",
      `(${namesToText(node.inputs)})`,
      hasGraph ? ` ${this.#list("<", attributes, ">")}` : "",
    ];
    return parts.join("");
  }

  #attributes(attributes: ReadonlyMap<string, Attribute>): string[] {
    return [...attributes].map(
      ([name, attribute]) =>
        `${nameToText(name)}: ${attributeTypeToText(attribute.type)} = ${this.#attributeValue(attribute)}`,
    );
  }

  #attributeValue(attribute: Attribute): string {
    if (isReference(attribute)) return `@${nameToText(attribute.reference)}`;
    switch (attribute.type) {
      case "float":
        return float32ToText(attribute.value);
      case "int":
        return String(attribute.value);
      case "string":
        return stringToText(attribute.value);
      case "tensor":
        return this.#tensor(attribute.value);
      case "graph":
        return this.graph(attribute.value);
      case "sparse-tensor":
        return this.#sparse(attribute.value);
      case "type":
        return typeToString(attribute.value);
      case "floats":
        return `[${attribute.value.map(float32ToText).join(", ")}]`;
      case "ints":
        return `[${attribute.value.join(", ")}]`;
      case "strings":
        return `[${attribute.value.map(stringToText).join(", ")}]`;
      case "tensors":
        return this.#list("[", () => attribute.value.map((tensor) => this.#tensor(tensor)), "]");
      case "graphs":
        return this.#list("[", () => attribute.value.map((graph) => this.graph(graph)), "]");
      case "sparse-tensors":
        return this.#list("[", () => attribute.value.map((sparse) => this.#sparse(sparse)), "]");
      case "types":
        return `[${attribute.value.map(typeToString).join(", ")}]`;
    }
  }

  #tensor(tensor: Tensor): string {
    return `${typeToString(tensorType(tensor.dtype, tensor.dims))} ${this.#elements(tensor)}`;
  }

  #sparse(sparse: SparseTensor): string {
    return `${sparseType(sparse)} ${this.#sparseElements(sparse)}`;
  }

  #elements(tensor: Tensor): string {
    if (tensor.size > this.#elideAbove) return `{…${hashTensor(tensor)}}`;
    return `{${elementsToText(tensor).join(", ")}}`;
  }

  #sparseElements({ values, indices }: SparseTensor): string {
    return `{${this.#tensor(values)}, ${this.#tensor(indices)}}`;
  }

  #typed(value: Value): string {
    const type = value.type ? `${typeToString(value.type)} ` : "";
    return `${type}${nameToText(value.name)}${this.#notes(value)}`;
  }

  #notes(notes: Notes): string {
    const fields = fieldsToText(noteFields(notes));
    return fields.length > 0 ? ` ${this.#list("[", () => fields, "]")}` : "";
  }

  /** One line when it is short, else a line per item. */
  #list(open: string, items: () => readonly string[], close: string): string {
    return this.#nest((line, outerLine) => {
      const texts = items();
      const short = `${open}${texts.join(", ")}${close}`;
      const isShort = short.length <= LINE_WIDTH && !short.includes("\n");
      return isShort ? short : `${open}${texts.map((text) => line + text).join(",")}${outerLine}${close}`;
    });
  }

  /** Writes a part one level deeper; gives it the line breaks of that level and of the one around. */
  #nest(part: (line: string, outerLine: string) => string): string {
    const outerLine = this.#line();
    this.#depth++;
    const text = part(this.#line(), outerLine);
    this.#depth--;
    return text;
  }

  #line(): string {
    return `\n${INDENT.repeat(this.#depth)}`;
  }
}

/** Whether a value that is no input stands in the list of constants and types. */
function isDeclared(value: Value, listed: ReadonlySet<Value>): boolean {
  if (value.isConstant) return true;
  if (listed.has(value)) return !value.producer;
  const isSaid = value.type !== undefined || noteFields(value).some(([, text]) => text !== undefined);
  return isSaid || (!value.producer && !value.isUnused);
}

function sparseType({ values, dims }: SparseTensor): string {
  return `sparse_tensor(${typeToString(tensorType(values.dtype, dims))})`;
}

function namesToText(values: readonly (Value | undefined)[]): string {
  return values.map((value) => (value ? nameToText(value.name) : '""')).join(", ");
}

function noteFields({ docString, metadata, unknown }: Notes): Fields {
  return [
    ["doc_string", stringIfAny(docString)],
    ["metadata_props", metadata.size > 0 ? pairsToText(metadata, stringToText) : undefined],
    ["unknown", unknown && bytesToText(unknown)],
  ];
}

function fieldsToText(fields: Fields): string[] {
  return fields.flatMap(([key, text]) => (text === undefined ? [] : [`${key}: ${text}`]));
}

function pairsToText<V>(map: ReadonlyMap<string, V>, toText: (value: V) => string): string {
  return `[${[...map].map(([key, value]) => `${stringToText(key)}: ${toText(value)}`).join(", ")}]`;
}

function stringIfAny(text: string): string | undefined {
  return text ? stringToText(text) : undefined;
}
