/** @file Node: one operator call. */
import type { Tensor } from "../tensor/tensor.ts";
import { TersorError } from "../util/errors.ts";
import { type Attribute, type AttributeType, type AttributeValue, isReference } from "./attribute.ts";
import type { Graph } from "./graph.ts";
import type { Use, Value } from "./value.ts";

export interface NodeHeader {
  readonly opType: string;
  /** "" for the standard operators ("ai.onnx" is read as ""). */
  readonly domain: string;
  readonly overload: string;
}

type ValueOf<T extends AttributeType> = Extract<AttributeValue, { type: T }>["value"];
const utf8 = new TextDecoder();

/** Made by {@link Graph.addNode}. Missing optional inputs and outputs are undefined. */
export class Node {
  readonly graph: Graph;
  readonly opType: string;
  readonly domain: string;
  readonly overload: string;
  name: string;
  docString = "";
  metadata: ReadonlyMap<string, string> = new Map();
  /** Fields of the file that this version does not know, kept as they are. */
  unknown: Uint8Array | undefined;
  readonly attributes: Map<string, Attribute>;
  readonly #uses: (Use | undefined)[] = [];
  readonly #inputs: (Value | undefined)[] = [];
  readonly #outputs: (Value | undefined)[] = [];

  constructor(graph: Graph, header: NodeHeader, name: string, attributes: ReadonlyMap<string, Attribute>) {
    this.graph = graph;
    this.opType = header.opType;
    this.domain = header.domain;
    this.overload = header.overload;
    this.name = name;
    this.attributes = new Map(attributes);
  }

  get inputs(): readonly (Value | undefined)[] {
    return this.#inputs;
  }

  get outputs(): readonly (Value | undefined)[] {
    return this.#outputs;
  }

  /** The input at `index`. @throws bad-model when it is missing. */
  input(index: number): Value {
    const value = this.#inputs[index];
    if (value) return value;
    throw new TersorError("bad-model", `${this}: input ${index} is missing. The model is not valid ONNX.`);
  }

  /** The output at `index`. @throws bad-model when it is missing. */
  output(index = 0): Value {
    const value = this.#outputs[index];
    if (value) return value;
    throw new TersorError("bad-model", `${this}: output ${index} is missing. The model is not valid ONNX.`);
  }

  /** Replaces one input; `index` may be one past the end and beyond (the gap is left empty). */
  setInput(index: number, value: Value | undefined): void {
    while (this.#inputs.length <= index) {
      this.#inputs.push(undefined);
      this.#uses.push(undefined);
    }
    const old = this.#uses[index];
    if (old) this.#inputs[index]?.link({ dropUse: old });
    const use = value && { node: this, index };
    if (use) value.link({ addUse: use });
    this.#inputs[index] = value;
    this.#uses[index] = use;
    while (this.#inputs.length > 0 && this.#inputs.at(-1) === undefined) {
      this.#inputs.pop();
      this.#uses.pop();
    }
  }

  /** Replaces all inputs. */
  setInputs(values: readonly (Value | undefined)[]): void {
    for (let i = this.#inputs.length - 1; i >= values.length; i--) this.setInput(i, undefined);
    values.forEach((value, i) => {
      this.setInput(i, value);
    });
  }

  /** @internal Outputs are set by Graph. */
  linkOutput(index: number, value: Value | undefined): void {
    while (this.#outputs.length <= index) this.#outputs.push(undefined);
    this.#outputs[index]?.link({ producer: null });
    value?.link({ producer: this });
    this.#outputs[index] = value;
    while (this.#outputs.length > 0 && this.#outputs.at(-1) === undefined) this.#outputs.pop();
  }

  /** The value of an attribute of the expected type, undefined when absent. @throws bad-model when it has another type or is an unbound reference. */
  get<T extends AttributeType>(name: string, type: T): ValueOf<T> | undefined {
    const attribute = this.attributes.get(name);
    if (!attribute) return undefined;
    if (isReference(attribute) || attribute.type !== type)
      throw new TersorError(
        "bad-model",
        `${this}: attribute "${name}": expected ${type}, got ${isReference(attribute) ? `reference to "${attribute.reference}"` : attribute.type}.`,
      );
    return attribute.value as ValueOf<T> | undefined;
  }

  /** An integer attribute as a number (saturated to ±2^53 − 1). */
  int(name: string, fallback: number): number;
  int(name: string): number | undefined;
  int(name: string, fallback?: number): number | undefined {
    const value = this.get(name, "int");
    return value === undefined ? fallback : toSafeNumber(value);
  }

  /** A list of integers as numbers (each saturated to ±2^53 − 1). */
  ints(name: string): number[] | undefined {
    return this.get(name, "ints")?.map(toSafeNumber);
  }

  float(name: string, fallback: number): number;
  float(name: string): number | undefined;
  float(name: string, fallback?: number): number | undefined {
    return this.get(name, "float") ?? fallback;
  }

  string(name: string, fallback: string): string;
  string(name: string): string | undefined;
  string(name: string, fallback?: string): string | undefined {
    const value = this.get(name, "string");
    return value === undefined ? fallback : utf8.decode(value);
  }

  tensor(name: string): Tensor | undefined {
    return this.get(name, "tensor");
  }

  /** The graphs among its attributes (branches of If, bodies of Loop and Scan). */
  subgraphs(): Graph[] {
    return [...this.attributes.values()].flatMap((attribute) => {
      if (isReference(attribute)) return [];
      if (attribute.type === "graph") return [attribute.value];
      return attribute.type === "graphs" ? attribute.value : [];
    });
  }

  /** How messages name a node: `Conv "layer1/conv"`, or by its first output when it has no name. */
  toString(): string {
    const op = this.domain ? `${this.domain}.${this.opType}` : this.opType;
    return this.name ? `${op} "${this.name}"` : `${op} (output "${this.#outputs.find((v) => v)?.name ?? ""}")`;
  }
}

/** A 64-bit integer as a number, saturated to the safe range: ONNX uses INT64_MAX for "to the end". */
export function toSafeNumber(value: bigint): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) return Number.MAX_SAFE_INTEGER;
  if (value < BigInt(Number.MIN_SAFE_INTEGER)) return Number.MIN_SAFE_INTEGER;
  return Number(value);
}
