/** @file The types that inference starts from: the graph's inputs, with sizes bound to symbols. */
import type { Graph } from "../ir/graph.ts";
import type { Dim, Shape, ValueType } from "../ir/types.ts";
import { tensorType } from "../ir/types.ts";
import type { Value } from "../ir/value.ts";
import { TersorError } from "../util/errors.ts";
import { nearestNames } from "../util/nearest.ts";
import { own } from "../util/own.ts";
import { type Bindings, bindDim, canonicalDim, dimSymbols } from "./symbolic/dim.ts";

/** Sizes for what the file leaves open: the dims of an input, by its name, or one size for a symbol, by its name. */
export type InputShapes = Readonly<Record<string, number | Shape>>;

/** Sizes by symbol. @throws bad-data for a name that the model does not have; shape-mismatch where sizes contradict each other. */
export function bindingsOf(graph: Graph, shapes: InputShapes): Bindings {
  const bindings = new Map<string, number | string>();
  const symbols = new Set(
    graph.inputs.flatMap(({ type }) => shapeOf(type).flatMap((dim) => [dim, ...dimSymbols(dim)])),
  );
  for (const [name, sizes] of Object.entries(shapes)) {
    const input = graph.inputs.find((candidate) => candidate.name === name);
    if (Array.isArray(sizes) && input) bindInput(input, sizes, bindings);
    else if (typeof sizes === "number" && symbols.has(name)) bind(name, sizes, bindings, name);
    else throw unknownName(graph, symbols, name, sizes);
  }
  return bindings;
}

function bindInput(input: Value, sizes: Shape, bindings: Map<string, number | string>): void {
  const declared = input.type?.kind === "tensor" ? input.type.shape : undefined;
  if (declared && declared.length !== sizes.length)
    throw new TersorError(
      "shape-mismatch",
      `input "${input.name}": rank: expected ${declared.length} ([${declared}]), got [${sizes}].`,
    );
  sizes.forEach((size, i) => {
    const dim = declared?.[i] ?? null;
    if (size === null || dim === null || dim === size) return;
    if (typeof dim === "string") bind(dim, size, bindings, input.name);
    else throw contradiction(input.name, dim, size);
  });
}

function bind(symbol: string, size: number | string, bindings: Map<string, number | string>, subject: string): void {
  const old = bindings.get(symbol);
  if (old !== undefined && old !== size) throw contradiction(subject, old, size);
  if (typeof size === "number" && !(Number.isSafeInteger(size) && size >= 0))
    throw new TersorError("bad-data", `size of "${symbol}": expected a whole number from 0, got ${size}.`);
  bindings.set(symbol, size);
}

function contradiction(subject: string, a: Dim, b: Dim): TersorError {
  return new TersorError("shape-mismatch", `input shape "${subject}": contradictory sizes: expected ${a}, got ${b}.`);
}

function unknownName(graph: Graph, symbols: Iterable<Dim>, name: string, sizes: number | Shape): TersorError {
  const inputs = graph.inputs.map((input) => input.name);
  const names = typeof sizes === "number" ? [...symbols].filter((dim) => typeof dim === "string") : inputs;
  const what = typeof sizes === "number" ? "symbolic size" : "input";
  const [guess] = nearestNames(name, names);
  const hint = guess === undefined ? `The model has: ${names.join(", ") || "none"}.` : `Did you mean "${guess}"?`;
  return new TersorError("bad-data", `input shape "${name}": the model has no such ${what}. ${hint}`);
}

function shapeOf(type: ValueType | undefined): Shape {
  return type?.kind === "tensor" ? (type.shape ?? []) : [];
}

/** The type of a graph input: as declared, with sizes in place of symbols, a name for every dim that has none. */
export function inputType(
  input: Value,
  shapes: InputShapes,
  bindings: Bindings,
  freshName: (hint: string) => string,
): ValueType | undefined {
  const { type } = input;
  if (type?.kind !== "tensor") return boundType(type, bindings);
  const given = own(shapes, input.name);
  const sizes = typeof given === "object" ? given : undefined;
  const shape = type.shape ?? sizes;
  return tensorType(
    type.dtype,
    shape?.map((dim, i) => bindDim(dim, bindings) ?? sizes?.[i] ?? freshName(`${input.name}_dim${i}`)),
  );
}

/** A declared type with sizes in place of symbols and expressions in canonical spelling. */
export function boundType(type: ValueType | undefined, bindings: Bindings): ValueType | undefined {
  return mapDims(type, (dim) => (bindings.size > 0 ? bindDim(dim, bindings) : canonicalDim(dim)));
}

/** A declared type without symbols: outside of the main graph they may mean something else every time. */
export function withoutSymbols(type: ValueType | undefined): ValueType | undefined {
  return mapDims(type, (dim) => (typeof dim === "string" ? null : dim));
}

export function mapDims(type: ValueType | undefined, map: (dim: Dim, axis: number) => Dim): ValueType | undefined {
  if (!type || type.kind === "map") return type;
  if ("element" in type) {
    const element = mapDims(type.element, map);
    return element && { kind: type.kind, element };
  }
  return type.shape ? { ...type, shape: type.shape.map(map) } : type;
}
