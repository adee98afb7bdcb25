/** @file Graph: nodes in order, named values, and the edits that keep links and names consistent. */
import type { Tensor } from "../tensor/tensor.ts";
import { invariant, TersorError } from "../util/errors.ts";
import type { Attribute, SparseTensor } from "./attribute.ts";
import { Node } from "./node.ts";
import { tensorType, type ValueType } from "./types.ts";
import { Value } from "./value.ts";

export interface NodeSpec {
  readonly opType: string;
  readonly domain?: string;
  readonly overload?: string;
  readonly name?: string;
  readonly inputs: readonly (Value | undefined)[];
  /** Values without a producer, or names to create values by (made unique when taken). Default: one value named after the node. */
  readonly outputs?: readonly (Value | string | undefined)[];
  readonly attributes?: Readonly<Record<string, Attribute>> | ReadonlyMap<string, Attribute>;
}

/** Where a node goes in the order; at the end by default. */
export type Position = { readonly before: Node } | { readonly after: Node };

/**
 * A graph or subgraph. Every value and node name is unique among a model's graph and all its subgraphs; a subgraph's
 * nodes may use values of the graphs around it. Node order is the file's order and must be topological to be encoded.
 */
export class Graph {
  name: string;
  docString = "";
  metadata: ReadonlyMap<string, string> = new Map();
  /** Fields of the file that this version does not know, kept as they are. */
  unknown: Uint8Array | undefined;
  /** The graph around a subgraph. */
  readonly parent: Graph | undefined;
  /** How many values of the model have a name: branches of one If may use the same. */
  readonly #names: Map<string, number>;
  /** The number last given to a hint, so that thousands of values may share one. */
  readonly #lastNumbers: Map<string, number>;
  readonly #values = new Map<string, Value>();
  #nodes: Node[] = [];
  #inputs: Value[] = [];
  #outputs: Value[] = [];

  constructor(name: string, parent?: Graph) {
    this.name = name;
    this.parent = parent;
    this.#names = parent ? parent.#names : new Map();
    this.#lastNumbers = parent ? parent.#lastNumbers : new Map();
  }

  get nodes(): readonly Node[] {
    return this.#nodes;
  }

  get inputs(): readonly Value[] {
    return this.#inputs;
  }

  get outputs(): readonly Value[] {
    return this.#outputs;
  }

  /** Every value of this graph (not of its subgraphs), in order of creation. */
  get values(): Iterable<Value> {
    return this.#values.values();
  }

  /** The constants of this graph, in order of creation. */
  get initializers(): Value[] {
    return [...this.#values.values()].filter((value) => value.isConstant);
  }

  /** The value of this name here or, with `outer`, in the graphs around. */
  find(name: string, outer = false): Value | undefined {
    return this.#values.get(name) ?? (outer ? this.parent?.find(name, true) : undefined);
  }

  /** A name that no value of the model has yet: the hint itself, or the hint with a number. */
  uniqueName(hint: string): string {
    if (!this.#names.has(hint)) return hint;
    let number = this.#lastNumbers.get(hint) ?? 1;
    while (this.#names.has(`${hint}_${number}`)) number++;
    this.#lastNumbers.set(hint, number);
    return `${hint}_${number}`;
  }

  /** A name that no node of this graph has yet, which runtimes refuse to see twice: the hint itself, or the hint with a number. */
  uniqueNodeName(hint: string): string {
    const taken = new Set(this.#nodes.map(({ name }) => name));
    if (!taken.has(hint)) return hint;
    let number = 1;
    while (taken.has(`${hint}_${number}`)) number++;
    return `${hint}_${number}`;
  }

  /** Makes a value; its name is made unique. */
  addValue(hint: string, type?: ValueType): Value {
    return this.declare(this.uniqueName(hint), type);
  }

  /** Makes a value of exactly this name. @throws bad-model when this graph already has one. */
  declare(name: string, type?: ValueType): Value {
    if (this.#values.has(name))
      throw new TersorError(
        "bad-model",
        `value "${name}": defined twice in graph "${this.name}". Names must be unique.`,
      );
    const value = new Value(this, name, type);
    this.#values.set(name, value);
    this.#take(name);
    return value;
  }

  addInput(value: Value): void {
    value.link({ inputs: 1 });
    this.#inputs.push(value);
  }

  addOutput(value: Value): void {
    value.link({ outputs: 1 });
    this.#outputs.push(value);
  }

  setOutput(index: number, value: Value): void {
    this.#outputs[index]?.link({ outputs: -1 });
    value.link({ outputs: 1 });
    this.#outputs[index] = value;
  }

  removeInput(value: Value): void {
    if (!value.isInput) return;
    const kept = this.#inputs.filter((input) => input !== value);
    value.link({ inputs: kept.length - this.#inputs.length });
    this.#inputs = kept;
  }

  removeOutput(value: Value): void {
    const kept = this.#outputs.filter((output) => output !== value);
    value.link({ outputs: kept.length - this.#outputs.length });
    this.#outputs = kept;
  }

  /** A constant under a unique name. */
  addInitializer(hint: string, tensor: Tensor): Value {
    const value = this.addValue(hint);
    value.tensor = tensor;
    return value;
  }

  /** Adds a node; its outputs are created or adopted. */
  addNode(spec: NodeSpec, position?: Position): Node {
    const attributes =
      spec.attributes instanceof Map ? spec.attributes : new Map(Object.entries(spec.attributes ?? {}));
    const outputs = spec.outputs ?? [spec.name || spec.opType.toLowerCase()];
    const adopted = new Set<Value>();
    outputs.forEach((output) => {
      const isFree = !(output instanceof Value) || (!output.producer && !adopted.has(output));
      if (output instanceof Value) adopted.add(output);
      invariant(isFree, `value "${output instanceof Value ? output.name : ""}" already has a producer`);
    });
    const at = this.#indexOf(position);
    const header = { opType: spec.opType, domain: spec.domain ?? "", overload: spec.overload ?? "" };
    const node = new Node(this, header, spec.name ?? "", attributes);
    node.setInputs(spec.inputs);
    outputs.forEach((output, index) => {
      node.linkOutput(index, typeof output === "string" ? this.addValue(output) : output);
    });
    if (at === this.#nodes.length) this.#nodes.push(node);
    else this.#nodes.splice(at, 0, node);
    return node;
  }

  #indexOf(position: Position | undefined): number {
    if (!position) return this.#nodes.length;
    const neighbour = "before" in position ? position.before : position.after;
    const index = this.#nodes.indexOf(neighbour);
    invariant(index >= 0, `${neighbour} is not in graph "${this.name}"`);
    return "before" in position ? index : index + 1;
  }

  /** Removes nodes whose outputs are used by nothing outside the set. @throws internal when one is still used; nothing is removed then. */
  removeNodes(nodes: Iterable<Node>): void {
    const gone = new Set(nodes);
    const goneGraphs = new Set([...gone].flatMap((node) => node.subgraphs()));
    for (const node of gone)
      for (const output of node.outputs) {
        const used =
          output && (output.isOutput || [...output.uses].some((use) => !isInside(use.node, gone, goneGraphs)));
        invariant(!used, `${node} can't be removed: its output "${output?.name}" is still used`);
      }
    for (const graph of goneGraphs) graph.#unlink();
    for (const node of gone) node.setInputs([]);
    // From the end: there the list shrinks without a search.
    for (const node of gone) for (const output of node.outputs.toReversed()) if (output) this.dropOutput(output);
    this.#nodes = this.#nodes.filter((node) => !gone.has(node));
  }

  /** Puts nodes of this graph in the places of others, which go: many at once, since each place alone costs a look through all nodes. */
  substitute(places: ReadonlyMap<Node, readonly Node[]>): void {
    const moved = new Set([...places.values()].flat());
    this.#nodes = this.#nodes.flatMap((node) => {
      const instead = places.get(node);
      if (instead) return [...instead, node];
      return moved.has(node) ? [] : [node];
    });
    this.removeNodes(places.keys());
  }

  /** Removes a value that nothing produces or uses; its name is free again. */
  removeValue(value: Value): void {
    invariant(value.isUnused && !value.producer, `value "${value.name}" can't be removed: it is still used`);
    this.removeInput(value);
    this.#values.delete(value.name);
    this.#free(value.name);
  }

  rename(value: Value, name: string): void {
    if (value.name === name) return;
    invariant(!this.#names.has(name), `value name "${name}" is taken`);
    this.#values.delete(value.name);
    this.#free(value.name);
    value.link({ name });
    this.#values.set(name, value);
    this.#take(name);
  }

  /** Whether a value can take over the name of an output: where a graph inside or around has that name too, it stays where it is. */
  canTakeOver(output: Value, value: Value): boolean {
    const isFree = value.producer !== undefined && !value.isOutput && !value.isInput && value.graph === this;
    return isFree && this.#outputs.includes(output) && this.#names.get(output.name) === 1;
  }

  /**
   * Makes every use of `from` a use of `to`. An output of a graph keeps its name: `to` takes it over. Where it can't (it
   * is itself an input, a constant, an output or of another graph), an Identity node in front of the output does.
   */
  replaceUses(from: Value, to: Value): void {
    for (const use of [...from.uses]) use.node.setInput(use.index, to);
    if (!from.isOutput) return;
    const owner = from.graph;
    if (owner.canTakeOver(from, to)) {
      const { name, type } = from;
      owner.rename(from, owner.uniqueName(`${name}_replaced`));
      owner.rename(to, name);
      to.type = type ?? to.type;
      owner.#outputs.forEach((output, i) => {
        if (output === from) owner.setOutput(i, to);
      });
      return;
    }
    const index = from.producer?.outputs.indexOf(from) ?? -1;
    from.producer?.linkOutput(index, undefined);
    const { type } = from;
    from.tensor = undefined;
    from.sparse = undefined;
    from.type = type;
    owner.addNode({ opType: "Identity", inputs: [to], outputs: [from] });
  }

  /** Puts a node in the place of another: it takes over outputs, name and metadata. The old one must have no subgraphs. */
  replaceNode(node: Node, spec: Omit<NodeSpec, "outputs">): Node {
    const outputs = [...node.outputs];
    outputs.forEach((_, i) => {
      node.linkOutput(i, undefined);
    });
    const twin = this.addNode({ name: node.name, ...spec, outputs }, { before: node });
    twin.docString = node.docString;
    twin.metadata = node.metadata;
    this.removeNodes([node]);
    return twin;
  }

  /** Gives a node an output that it left out until now; the value's name is made unique. */
  addNodeOutput(node: Node, index: number, hint: string): Value {
    invariant(node.graph === this && !node.outputs[index], `${node} has an output ${index} already`);
    const value = this.addValue(hint);
    node.linkOutput(index, value);
    return value;
  }

  /** Takes an output that nothing uses off the node that computes it. */
  dropOutput(value: Value): void {
    value.producer?.linkOutput(value.producer.outputs.lastIndexOf(value), undefined);
    this.removeValue(value);
  }

  /** Turns a computed value into a constant of the same name. Its producer stays, without that output. */
  fixValue(value: Value, constant: Tensor | SparseTensor): void {
    value.producer?.linkOutput(value.producer.outputs.indexOf(value), undefined);
    if ("dtype" in constant) {
      value.tensor = constant;
    } else {
      value.sparse = constant;
      value.type = tensorType(constant.values.dtype, constant.dims);
    }
  }

  /** Puts the nodes into a topological order that keeps the present order where it can. @throws bad-model naming a node on a cycle. */
  sort(): void {
    const waiting = new Map<Node, number>();
    const dependents = new Map<Node, Node[]>();
    for (const node of this.#nodes) {
      const needs = new Set(this.#producersFor(node));
      waiting.set(node, needs.size);
      for (const need of needs) {
        const list = dependents.get(need);
        if (list) list.push(node);
        else dependents.set(need, [node]);
      }
    }
    const position = new Map(this.#nodes.map((node, i) => [node, i]));
    const ready = new MinHeap<Node>((node) => position.get(node) as number);
    for (const [node, count] of waiting) if (count === 0) ready.push(node);
    const sorted: Node[] = [];
    for (let node = ready.pop(); node; node = ready.pop()) {
      sorted.push(node);
      for (const dependent of dependents.get(node) ?? []) {
        const left = (waiting.get(dependent) as number) - 1;
        waiting.set(dependent, left);
        if (left === 0) ready.push(dependent);
      }
    }
    const stuck = this.#nodes.find((node) => (waiting.get(node) as number) > 0);
    if (stuck)
      throw new TersorError(
        "bad-model",
        `${stuck}: its inputs depend on its own outputs (a cycle). The model is not valid ONNX.`,
      );
    this.#nodes = sorted;
  }

  /** The nodes of this graph whose outputs `node` needs, also through its subgraphs. */
  *#producersFor(node: Node): Iterable<Node> {
    for (const input of node.inputs) if (input?.graph === this && input.producer) yield input.producer;
    for (const graph of node.subgraphs()) {
      for (const output of graph.outputs) if (output.graph === this && output.producer) yield output.producer;
      for (const inner of graph.nodes) yield* this.#producersFor(inner);
    }
  }

  /** Lets go of everything inside, so that values of outer graphs are no longer used from here. */
  #unlink(): void {
    for (const output of this.#outputs) output.link({ outputs: -1 });
    this.#outputs = [];
    for (const node of this.#nodes) {
      for (const graph of node.subgraphs()) graph.#unlink();
      node.setInputs([]);
    }
    for (const value of this.#values.values()) this.#free(value.name);
  }

  #take(name: string): void {
    this.#names.set(name, (this.#names.get(name) ?? 0) + 1);
  }

  #free(name: string): void {
    const count = this.#names.get(name) ?? 0;
    if (count > 1) this.#names.set(name, count - 1);
    else this.#names.delete(name);
  }
}

/** Whether a node is in the set, or lies in one of the graphs or their subgraphs. */
function isInside(node: Node, nodes: ReadonlySet<Node>, graphs: ReadonlySet<Graph>): boolean {
  if (nodes.has(node)) return true;
  for (let graph: Graph | undefined = node.graph; graph; graph = graph.parent) if (graphs.has(graph)) return true;
  return false;
}

/** A binary heap; keeps sort() at n log n. */
class MinHeap<T> {
  readonly #items: T[] = [];
  readonly #key: (item: T) => number;

  constructor(key: (item: T) => number) {
    this.#key = key;
  }

  push(item: T): void {
    const items = this.#items;
    let i = items.push(item) - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (this.#before(parent, i)) break;
      this.#swap(i, parent);
      i = parent;
    }
  }

  pop(): T | undefined {
    const items = this.#items;
    const top = items[0];
    const last = items.pop();
    if (items.length === 0 || last === undefined) return top;
    items[0] = last;
    for (let i = 0; ; ) {
      let least = i;
      for (const child of [2 * i + 1, 2 * i + 2]) if (child < items.length && this.#before(child, least)) least = child;
      if (least === i) return top;
      this.#swap(i, least);
      i = least;
    }
  }

  #before(a: number, b: number): boolean {
    return this.#key(this.#items[a] as T) < this.#key(this.#items[b] as T);
  }

  #swap(a: number, b: number): void {
    const items = this.#items;
    [items[a], items[b]] = [items[b] as T, items[a] as T];
  }
}
