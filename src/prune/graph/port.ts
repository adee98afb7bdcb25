/** @file Ports: axes of values, and the links that tie their indices to each other. */
import type { Node } from "../../ir/node.ts";
import type { Dim, ValueType } from "../../ir/types.ts";
import type { Value } from "../../ir/value.ts";
import type { Contents } from "../../ops/shapes/call.ts";

/** One axis, of a fixed size, of one value. */
export interface Port {
  readonly value: Value;
  readonly axis: number;
  readonly size: number;
}

/**
 * Indices that stay or go together: index i of `from` with index map(i) of `to`, the same index where there is no map. Several may
 * map to one; -1 is tied to nothing. What `to` has and no link reaches is free to go.
 */
export interface Link {
  readonly from: Port;
  readonly to: Port;
  readonly map?: (index: number) => number;
}

/** What a node asks of the axes it touches. An axis of an input or output that is not mentioned is never cut. */
export interface Channels {
  readonly links: readonly Link[];
  /** Axes of weights along which the node computes its channels: what criteria look at. */
  readonly made?: readonly Port[];
  /** Axes of operands that are summed over: to remove an index is to multiply it with zero. */
  readonly summed?: readonly Port[];
  /** Axes that may be cut without a link, such as those that are broadcast. */
  readonly free?: readonly Port[];
}

/** Axes above this size are not followed. */
const SIZE_LIMIT = 1 << 20;

/** What rules ask about a node. */
export class RuleContext {
  readonly node: Node;
  /** Of ai.onnx. */
  readonly opset: number;
  readonly #types: ReadonlyMap<Value, ValueType>;
  readonly #contents: ReadonlyMap<Value, Contents>;

  constructor(
    node: Node,
    opset: number,
    known: { readonly types: ReadonlyMap<Value, ValueType>; readonly contents: ReadonlyMap<Value, Contents> },
  ) {
    this.node = node;
    this.opset = opset;
    this.#types = known.types;
    this.#contents = known.contents;
  }

  /** The dims of a value, undefined where the rank is unknown. */
  shape(value: Value | undefined): readonly Dim[] | undefined {
    return value && shapeOf(value, this.#types);
  }

  /** The axis of a value, from the end where negative; undefined where its size is not fixed. */
  port(value: Value | undefined, axis: number): Port | undefined {
    return portOf(value, axis, this.#types);
  }

  /** The axis of an input. */
  in(index: number, axis: number): Port | undefined {
    return this.port(this.node.inputs[index], axis);
  }

  /** The axis of an output. */
  out(index: number, axis: number): Port | undefined {
    return this.port(this.node.outputs[index], axis);
  }

  rank(value: Value | undefined): number | undefined {
    return this.shape(value)?.length;
  }

  /** The elements of a small integer input, null where one is not known before the model runs. */
  integers(input: number): readonly (number | null)[] | undefined {
    const value = this.node.inputs[input];
    const contents = value && this.#contents.get(value);
    return contents?.values.map((x) => (typeof x === "number" ? x : null));
  }

  /** Axes that are an attribute in old operator sets and an input in later ones; undefined where not given, null where not known. */
  axes(attribute: string, input: number): readonly number[] | undefined | null {
    const given = this.node.ints(attribute);
    if (given) return given;
    if (!this.node.inputs[input]) return undefined;
    const known = this.integers(input);
    return known?.every((x) => x !== null) ? known : null;
  }
}

export function shapeOf(value: Value, types: ReadonlyMap<Value, ValueType>): readonly Dim[] | undefined {
  const type = value.tensor ? value.type : (types.get(value) ?? value.type);
  return type?.kind === "tensor" ? type.shape : undefined;
}

export function portOf(value: Value | undefined, axis: number, types: ReadonlyMap<Value, ValueType>): Port | undefined {
  const shape = value && shapeOf(value, types);
  const at = shape && axis < 0 ? axis + shape.length : axis;
  const size = shape?.[at];
  return value && typeof size === "number" && size <= SIZE_LIMIT ? { value, axis: at, size } : undefined;
}

type MaybePort = Port | undefined;

/** Ties axes of one size index by index. Axes without a fixed size, and of another size, are not tied. */
export function same(...ports: readonly MaybePort[]): Link[] {
  const known = ports.filter((port) => port !== undefined);
  const [first, ...others] = known;
  if (!first) return [];
  return others.filter(({ size }) => size === first.size).map((to) => ({ from: first, to }));
}

/** Ties index i of one axis with index map(i) of another, where both have a fixed size. */
export function mapped(from: MaybePort, to: MaybePort, map: (index: number) => number): Link[] {
  return from && to ? [{ from, to, map }] : [];
}

/** The ports that are there. */
export function present(...ports: readonly MaybePort[]): Port[] {
  return ports.filter((port) => port !== undefined);
}
