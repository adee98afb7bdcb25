/**
 * @file Layers in stages: a layer's stage comes after those of all layers that its input depends on. A model is run from the values that
 * reach from one stage into the next, so that every node runs about once, however many stages there are.
 */
import type { Unfolding } from "../../calibrate/gram.ts";
import { Graph } from "../../ir/graph.ts";
import { cloneAttribute, Model } from "../../ir/model.ts";
import type { Node } from "../../ir/node.ts";
import { tensorType, type ValueType } from "../../ir/types.ts";
import type { Value } from "../../ir/value.ts";
import type { HostTensor } from "../../tensor/host-tensor.ts";
import { append } from "../../util/append.ts";
import { capturedBy } from "./join.ts";

/** A layer in the graph that computes both models. */
export interface JoinedLayer {
  /** Name of the weight. */
  readonly weight: string;
  readonly unfolding: Unfolding;
  /** What the layer reads in the original, and in the quantized model; their types are known. */
  readonly original: Value;
  readonly changed: Value;
  /** The nodes that use the weight in either model: they run in later stages. */
  readonly nodes: readonly Node[];
}

/** Depends on constants alone: such a node is part of every stage that needs it. */
const ALWAYS = -1;

/** Before the first stage: where the inputs of the model come from. */
export const START = -1;

export interface Section {
  readonly model: Model;
  /** Names of the values that later stages need; undefined where one is no tensor, which can't be handed over. */
  readonly carried: readonly string[] | undefined;
  readonly layers: readonly JoinedLayer[];
}

export class Stages {
  readonly count: number;
  readonly #model: Model;
  readonly #layers: readonly JoinedLayer[];
  readonly #stageOf = new Map<JoinedLayer, number>();
  readonly #levels = new Map<Node, number>();

  constructor(model: Model, layers: readonly JoinedLayer[]) {
    this.#model = model;
    this.#layers = layers;
    const needed = ancestorsOf(layers.flatMap(({ original, changed }) => [original, changed]));
    const layersOf = new Map<Node, JoinedLayer[]>();
    for (const layer of layers)
      for (const node of layer.nodes) layersOf.set(node, [...(layersOf.get(node) ?? []), layer]);
    for (const node of model.graph.nodes) {
      if (!needed.has(node)) continue;
      const own = layersOf.get(node) ?? [];
      const after = own.map((layer) => this.#stage(layer) + 1);
      this.#levels.set(node, Math.max(ALWAYS, ...readBy(node).map((value) => this.#level(value)), ...after));
    }
    this.count = 1 + Math.max(START, ...layers.map((layer) => this.#stage(layer)));
  }

  /** The stage at which both of a layer's inputs are known; as far as nodes were visited. */
  #stage(layer: JoinedLayer): number {
    const known = this.#stageOf.get(layer);
    if (known !== undefined) return known;
    const stage = Math.max(0, this.#level(layer.original), this.#level(layer.changed));
    const visited = [layer.original, layer.changed].every(({ producer }) => !producer || this.#levels.has(producer));
    if (visited) this.#stageOf.set(layer, stage);
    return stage;
  }

  #level(value: Value): number {
    if (value.isConstant) return ALWAYS;
    return value.producer ? (this.#levels.get(value.producer) ?? ALWAYS) : 0;
  }

  /** What has to run from the end of stage `from` to the end of stage `to`. @param given what `from` carried over; none at the start */
  section(from: number, to: number, given: Readonly<Record<string, HostTensor>> = {}): Section {
    const source = this.#model;
    const graph = new Graph(source.graph.name);
    const map = new Map<Value, Value>();
    const inputs = from === START ? source.graph.inputs.filter((value) => !value.isConstant) : this.#carriedAt(from);
    for (const value of inputs) {
      const input = graph.declare(value.name, value.type ?? typeOfHost(given[value.name]));
      graph.addInput(input);
      map.set(value, input);
    }
    const inside = this.#nodesBetween(from, to, map);
    for (const node of source.graph.nodes) if (inside.has(node)) copyNode(graph, node, map);
    const model = new Model(graph);
    model.irVersion = source.irVersion;
    model.opsetImports = new Map(source.opsetImports);
    model.functions = source.functions;
    const layers = this.#layers.filter((layer) => this.#stage(layer) > from && this.#stage(layer) <= to);
    const carried = this.#carriedAt(to);
    const portable = carried.every(({ type }) => !type || type.kind === "tensor");
    return { model, layers, carried: portable ? carried.map(({ name }) => name) : undefined };
  }

  /** Values known at the end of a stage that later ones read. */
  #carriedAt(stage: number): Value[] {
    const carried = new Set<Value>();
    const carry = (value: Value) => {
      const level = this.#level(value);
      if (level !== ALWAYS && level <= stage) carried.add(value);
    };
    for (const [node, level] of this.#levels) if (level > stage) for (const value of readBy(node)) carry(value);
    for (const layer of this.#layers)
      if (this.#stage(layer) > stage) for (const value of [layer.original, layer.changed]) carry(value);
    return [...carried];
  }

  #nodesBetween(from: number, to: number, known: ReadonlyMap<Value, Value>): Set<Node> {
    const inside = new Set<Node>();
    const add = (node: Node) => {
      if (inside.has(node)) return;
      inside.add(node);
      for (const { producer } of readBy(node)) if (producer && this.#levels.get(producer) === ALWAYS) add(producer);
    };
    for (const [node, level] of this.#levels)
      if (
        level > from &&
        level <= to &&
        level !== ALWAYS &&
        !node.outputs.some((output) => output && known.has(output))
      )
        add(node);
    return inside;
  }
}

function copyNode(graph: Graph, node: Node, map: Map<Value, Value>): void {
  for (const value of readBy(node)) {
    if (map.has(value) || !value.isConstant) continue;
    const constant = graph.declare(value.name);
    constant.tensor = value.tensor;
    constant.sparse = value.sparse;
    map.set(value, constant);
  }
  const attributes = new Map([...node.attributes].map(([name, each]) => [name, cloneAttribute(each, graph, map)]));
  const { opType, domain, overload, name } = node;
  const inputs = node.inputs.map((input) => input && map.get(input));
  const outputs = node.outputs.map((output) => output && graph.declare(output.name, output.type));
  graph.addNode({ opType, domain, overload, name, inputs, outputs, attributes });
  node.outputs.forEach((output, index) => {
    const copy = outputs[index];
    if (output && copy) map.set(output, copy);
  });
}

/** What a node reads, its subgraphs included. */
function readBy(node: Node): Value[] {
  return [...node.inputs.filter((input) => input !== undefined), ...capturedBy(node)];
}

function ancestorsOf(values: readonly Value[]): Set<Node> {
  const found = new Set<Node>();
  const pending = [...values];
  for (let value = pending.pop(); value; value = pending.pop()) {
    const { producer } = value;
    if (!producer || found.has(producer)) continue;
    found.add(producer);
    append(pending, readBy(producer));
  }
  return found;
}

function typeOfHost(tensor: HostTensor | undefined): ValueType | undefined {
  return (
    tensor &&
    tensorType(
      tensor.dtype,
      tensor.dims.map(() => null),
    )
  );
}
