/** @file Layer: a plain object that adds itself to a graph; and what it is given to do so. */
import type { Emitter } from "../autodiff/emitter.ts";
import { typeToString } from "../ir/types.ts";
import type { Value } from "../ir/value.ts";
import { TersorError } from "../util/errors.ts";
import { type Fans, type Init, initialTensor } from "./init.ts";

export interface Layer {
  /** What it is called, with a number behind: `conv` makes conv1, conv2, …. */
  readonly kind: string;
  /** Adds its nodes and parameters behind `x` and gives its output. @throws shape-mismatch when `x` does not fit */
  build(graph: LayerGraph, x: Value): Value;
}

/** One layer's place in a graph under construction. */
export class LayerGraph {
  /** Emits operators, and knows the type of every value. */
  readonly op: Emitter;
  /** Where the layer stands: `encoder1.linear2`; parameters are named after it. */
  readonly path: string;
  readonly #seed: number;
  readonly #counts = new Map<string, number>();

  constructor(op: Emitter, seed: number, path = "") {
    this.op = op;
    this.path = path;
    this.#seed = seed;
  }

  /** Adds a layer that this one is made of, or of whose kind it is the next. */
  add(layer: Layer, x: Value): Value {
    const number = (this.#counts.get(layer.kind) ?? 0) + 1;
    this.#counts.set(layer.kind, number);
    const path = this.#inside(`${layer.kind}${number}`);
    const inner = new LayerGraph(this.op, this.#seed, path);
    this.op.subject = path;
    const y = layer.build(inner, x);
    const { graph } = this.op;
    // The output goes by the layer's name: the graph reads as the list of layers.
    if (y !== x && y.producer && !graph.find(path)) graph.rename(y, path);
    this.op.subject = this.path;
    return y;
  }

  addAll(layers: readonly Layer[], x: Value): Value {
    return layers.reduce((value, layer) => this.add(layer, value), x);
  }

  /** A float32 parameter, seeded by its full name: other layers don't change it. */
  parameter(name: string, dims: readonly number[], init: Init, fans: Fans = { in: 1, out: 1 }): Value {
    const { op } = this;
    const full = this.#inside(name);
    const value = op.graph.addInitializer(full, initialTensor(init, { dims, fans, seed: this.#seed, name: full }));
    op.declare(value, value.type);
    return value;
  }

  /** The size of an axis that parameters depend on. @throws shape-mismatch when it is not fixed */
  size(x: Value, axis: number): number {
    const dim = this.op.symbolicShape(x).at(axis);
    if (typeof dim === "number") return dim;
    throw this.misfit(x, `a fixed size of axis ${axis}`, "Give the input that size as a number.");
  }

  /** @throws shape-mismatch unless `x` has one of these forms, such as `[N, C, H, W]`: the number of names counts */
  expectRank(x: Value, forms: readonly string[], advice: string): void {
    const rank = this.op.rank(x);
    if (!forms.some((form) => form.split(",").length === rank)) throw this.misfit(x, forms.join(" or "), advice);
  }

  misfit(x: Value, expected: string, advice: string): TersorError {
    const type = typeToString(this.op.typeOf(x));
    return new TersorError(
      "shape-mismatch",
      `${this.path}: input "${x.name}" ${type}: expected ${expected}. ${advice}`,
    );
  }

  #inside(name: string): string {
    return this.path === "" ? name : `${this.path}.${name}`;
  }
}
