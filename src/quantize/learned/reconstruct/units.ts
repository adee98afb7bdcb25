/**
 * @file What is reconstructed at once: a layer with its activation, or a block: the layers between two values that everything after
 * depends on alone, such as those of a residual block or of an attention with its projections.
 */
import type { Graph } from "../../../ir/graph.ts";
import type { Model } from "../../../ir/model.ts";
import type { Node } from "../../../ir/node.ts";
import type { Value } from "../../../ir/value.ts";
import { findLayers, opKey } from "../../layers/sites.ts";
import { findSlots, type WeightSlot } from "../qat/slots.ts";

export type UnitKind = "layer" | "block";

export interface Unit {
  /** Names of the initializers with the codes of its weights. */
  readonly codes: readonly string[];
  /** Names of its layers' outputs. */
  readonly layers: readonly string[];
  /** Name of its output in the quantized model, and of the same value in the float one. */
  readonly output: string;
  readonly target: string;
}

/** Above this many layers between two values that everything depends on, there are no blocks. */
const LARGEST_BLOCK = 12;

/** What belongs to the layer in front of it. */
const activations = new Set([
  ...["Relu", "LeakyRelu", "PRelu", "Clip", "Elu", "Gelu", "HardSigmoid", "HardSwish", "Sigmoid", "Softplus", "Tanh"],
  ...["QuantizeLinear", "DequantizeLinear"],
]);

/** The units of a quantized model, in the order in which they run. Weights that several nodes multiply with are in none. */
export function reconstructionUnits(float: Model, quantized: Model, kind: UnitKind): Unit[] {
  const { graph } = quantized;
  graph.sort();
  const varying = varyingValues(graph);
  const slotOf = new Map<Node, WeightSlot>();
  for (const slot of findSlots(graph).weights) {
    const [layer, ...others] = layersOf(slot.codes, varying);
    if (layer && others.length === 0 && layer.graph === graph) slotOf.set(layer, slot);
  }
  const units: Unit[] = [];
  const add = (layers: readonly Node[], end: Value) => {
    const output = behindActivations(end, float);
    if (!output) return;
    units.push({
      codes: layers.map((layer) => (slotOf.get(layer) as WeightSlot).codes.name),
      layers: layers.map((layer) => layer.output().name),
      output: output.name,
      target: twinName(output),
    });
  };
  const single = (layers: readonly Node[]) => {
    for (const layer of layers) add([layer], layer.output());
  };
  const cuts = kind === "block" ? cutsOf(graph, layerValues(float, graph)) : new Set<Value>();
  let open: Node[] = [];
  for (const node of graph.nodes) {
    if (slotOf.has(node)) open.push(node);
    const end = node.outputs.find((output) => output && cuts.has(output));
    if (open.length === 0 || (kind === "block" && !end)) continue;
    if (end && open.length > 1 && open.length <= LARGEST_BLOCK) add(open, end);
    else single(open);
    open = [];
  }
  single(open);
  return units;
}

/** The nodes that compute something varying with a weight. */
function layersOf(codes: Value, varying: ReadonlySet<Value>): Node[] {
  const users = new Set(codes.users());
  const isLayer = (node: Node) => node.inputs.some((input) => input && varying.has(input));
  return [...users].flatMap((node) =>
    isLayer(node) ? [node] : node.outputs.flatMap((output) => (output ? layersOf(output, varying) : [])),
  );
}

/** Values that depend on what the model is given. */
export function varyingValues(graph: Graph): Set<Value> {
  return dependents(
    graph,
    graph.inputs.filter((value) => !value.isConstant),
  );
}

/** Values that depend on some of these, or on graphs inside of nodes. */
export function dependents(graph: Graph, from: Iterable<Value>): Set<Value> {
  const found = new Set(from);
  for (const node of graph.nodes)
    if (node.inputs.some((input) => input && found.has(input)) || node.subgraphs().length > 0)
      for (const output of node.outputs) if (output) found.add(output);
  return found;
}

/** What layers compute, lookups in tables of weights included, and inputs of the model that they read. */
function layerValues(float: Model, graph: Graph): Value[] {
  const nodes = findLayers(float).layers.flatMap(({ sites }) => sites.map(({ node }) => node));
  const read = nodes.flatMap(({ inputs }) => inputs.filter((value) => value?.isInput && isFloat32(value)));
  return [...nodes.map((node) => node.output()), ...read].flatMap((value) => graph.find(value?.name ?? "") ?? []);
}

const isFloat32 = ({ type }: Value) => type?.kind === "tensor" && type.dtype === "float32";

/** Values at which nothing else that depends on layers is still to be read: all that follows depends on them alone. */
function cutsOf(graph: Graph, layers: readonly Value[]): Set<Value> {
  const depending = dependents(graph, layers);
  const cuts = new Set<Value>();
  const live = new Map(layers.filter(({ isInput }) => isInput).map((value) => [value, value.uses.size]));
  for (const node of graph.nodes) {
    for (const input of node.inputs) {
      const left = input && live.get(input);
      if (!input || left === undefined) continue;
      if (left > 1) live.set(input, left - 1);
      else live.delete(input);
    }
    for (const output of node.outputs)
      if (output && depending.has(output) && (output.uses.size > 0 || output.isOutput))
        live.set(output, output.uses.size + Number(output.isOutput));
    const [only, ...others] = live.keys();
    if (only && others.length === 0 && node.outputs.includes(only)) cuts.add(only);
  }
  return cuts;
}

/** The last value behind activations that the float model has too. */
function behindActivations(value: Value, float: Model): Value | undefined {
  const twin = float.graph.find(twinName(value));
  const own = twin?.producer && isFloat(value) ? value : undefined;
  const [user, ...others] = value.users();
  const isEnd = value.isOutput || others.length > 0 || user?.domain !== "" || !activations.has(user.opType);
  const next = isEnd ? undefined : user.outputs[0];
  return (next && behindActivations(next, float)) ?? own;
}

const isFloat = ({ producer }: Value) => producer !== undefined && opKey(producer) !== "QuantizeLinear";

/** The name of what was rounded, of a value that was read back from its codes. */
function twinName(value: Value): string {
  const [codes] = value.producer && opKey(value.producer) === "DequantizeLinear" ? value.producer.inputs : [];
  const rounding = codes?.producer && opKey(codes.producer) === "QuantizeLinear" ? codes.producer : undefined;
  return rounding?.input(0).name ?? value.name;
}
