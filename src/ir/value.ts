/** @file Value: one named result, input or constant of a graph. It knows its producer and every use. */
import type { Tensor } from "../tensor/tensor.ts";
import type { SparseTensor } from "./attribute.ts";
import type { Graph } from "./graph.ts";
import type { Node } from "./node.ts";
import { tensorType, type ValueType } from "./types.ts";

/** One input slot of one node; the node may lie in a subgraph of the value's graph. */
export interface Use {
  readonly node: Node;
  readonly index: number;
}

/** Made by {@link Graph}; links are kept consistent by Graph and Node methods only. */
export class Value {
  readonly graph: Graph;
  /** Constant data: the value is an initializer. It may also be listed as a graph input (IR version 3 and older style). */
  tensor: Tensor | undefined;
  sparse: SparseTensor | undefined;
  docString = "";
  metadata: ReadonlyMap<string, string> = new Map();
  /** Fields of its description that this version does not know, kept as they are. */
  unknown: Uint8Array | undefined;
  #name: string;
  #type: ValueType | undefined;
  #producer: Node | undefined;
  readonly #uses = new Set<Use>();
  #outputCount = 0;
  #inputCount = 0;

  constructor(graph: Graph, name: string, type?: ValueType) {
    this.graph = graph;
    this.#name = name;
    this.#type = type;
  }

  get name(): string {
    return this.#name;
  }

  /** The declared or inferred type; of a constant, that of its tensor. */
  get type(): ValueType | undefined {
    if (this.tensor) return tensorType(this.tensor.dtype, this.tensor.dims);
    if (this.sparse) return tensorType(this.sparse.values.dtype, this.sparse.dims);
    return this.#type;
  }

  set type(type: ValueType | undefined) {
    this.#type = type;
  }

  /** The node that computes it; undefined for inputs and constants. */
  get producer(): Node | undefined {
    return this.#producer;
  }

  get uses(): ReadonlySet<Use> {
    return this.#uses;
  }

  /** Whether some graph lists it among its outputs. */
  get isOutput(): boolean {
    return this.#outputCount > 0;
  }

  get isInput(): boolean {
    return this.#inputCount > 0;
  }

  get isConstant(): boolean {
    return this.tensor !== undefined || this.sparse !== undefined;
  }

  /** Used by no node and no output. */
  get isUnused(): boolean {
    return this.#uses.size === 0 && this.#outputCount === 0;
  }

  /** The nodes that use it, each once. */
  users(): Node[] {
    return [...new Set([...this.#uses].map((use) => use.node))];
  }

  /** @internal */
  link(change: {
    name?: string;
    producer?: Node | null;
    addUse?: Use;
    dropUse?: Use;
    outputs?: number;
    inputs?: number;
  }): void {
    if (change.name !== undefined) this.#name = change.name;
    if (change.producer !== undefined) this.#producer = change.producer ?? undefined;
    if (change.addUse) this.#uses.add(change.addUse);
    if (change.dropUse) this.#uses.delete(change.dropUse);
    this.#outputCount += change.outputs ?? 0;
    this.#inputCount += change.inputs ?? 0;
  }
}
