/** @file What the operators' rules write with: integer operands of activations and weights, each made once. */
import { attr } from "../../ir/attribute.ts";
import type { Graph } from "../../ir/graph.ts";
import type { Model } from "../../ir/model.ts";
import type { Node } from "../../ir/node.ts";
import type { Value } from "../../ir/value.ts";
import { fixedTensor } from "../../passes/constants.ts";
import { dtypeInfo } from "../../tensor/dtype.ts";
import { int64, Tensor } from "../../tensor/tensor.ts";
import { firstUser } from "../formats/format.ts";
import type { CodedWeight, WeightForm } from "./codes.ts";
import type { DynamicUnit, Operand, PlannedLayer, UnitWriter } from "./rule.ts";
import { WrittenWeight } from "./written-weight.ts";

export class DynamicWriter implements UnitWriter {
  readonly model: Model;
  readonly #measure: boolean;
  /** Graphs whose units read a value. */
  readonly #readers = new Map<Value, Set<Graph>>();
  readonly #activations = new Map<Value, Operand>();
  readonly #vectors = new Map<Value, Map<number, Value>>();
  readonly #weights = new Map<PlannedLayer, WrittenWeight>();

  constructor(model: Model, units: readonly DynamicUnit[], measure: boolean) {
    this.model = model;
    this.#measure = measure;
    for (const { node, rule } of units)
      for (const input of rule.activations) {
        const value = node.inputs[input];
        if (!value) continue;
        const graphs = this.#readers.get(value) ?? new Set();
        this.#readers.set(value, graphs.add(node.graph));
      }
  }

  /** The operand at `input` of a unit's node: its weight, or the activation quantized as it comes. */
  operand({ node, weights }: DynamicUnit, input: number, form: WeightForm): Operand {
    const layer = weights.get(input);
    return layer ? this.weight(layer, form) : this.activation(node.input(input));
  }

  /** One DynamicQuantizeLinear for all units that read a value; in their own graph where they share one. */
  activation(value: Value): Operand {
    const known = this.#activations.get(value);
    if (known) return known;
    const graphs = this.#readers.get(value);
    const [only] = graphs?.size === 1 ? [...graphs] : [];
    const graph = only ?? value.graph;
    const { name } = value;
    const before = graph === value.graph ? firstUser(graph, value) : readerIn(graph, value);
    const outputs = [`${name}_quantized`, `${name}_scale`, `${name}_zero_point`];
    const node = graph.addNode({ opType: "DynamicQuantizeLinear", inputs: [value], outputs }, { before });
    const operand = { codes: node.output(0), scale: node.output(1), zeroPoint: node.output(2) };
    this.#activations.set(value, operand);
    return operand;
  }

  /** The codes of a weight, shared by all units that count its channels along the same axis. */
  weight(planned: PlannedLayer, form: WeightForm): Operand {
    const written = this.#weights.get(planned) ?? new WrittenWeight(planned, this.#measure);
    this.#weights.set(planned, written);
    return written.operand(form);
  }

  /** Lets everything that still reads a weight as floats decode the codes of its units; gives what was written for it. */
  finish(planned: PlannedLayer): readonly CodedWeight[] {
    const written = this.#weights.get(planned);
    written?.readAsFloats();
    written?.settle();
    return written?.parts ?? [];
  }

  /**
   * The integer node in place of `node`, its sums scaled back to float: Cast(sums) · (aScale · bScale) + bias. The order of
   * the factors is the one that ONNX Runtime fuses to DynamicQuantizeMatMul.
   */
  scaledSums(node: Node, integer: { opType: string; a: Operand; b: Operand }, bias?: Value): void {
    const { graph } = node;
    const base = node.output().name;
    const place = { before: node };
    const { opType, a, b } = integer;
    const attributes = opType === "ConvInteger" ? node.attributes : new Map();
    const add = (op: string, inputs: Value[], name: string, own = {}) =>
      graph.addNode({ opType: op, inputs, outputs: [`${base}_${name}`], attributes: own }, place).output();
    const sums = graph.addNode(
      {
        opType,
        name: node.name && graph.uniqueNodeName(`${node.name}_quantized`),
        inputs: [a.codes, b.codes, a.zeroPoint, b.zeroPoint],
        outputs: [`${base}_sums`],
        attributes,
      },
      place,
    );
    const floats = add("Cast", [sums.output()], "sums_float", { to: attr.int(dtypeInfo("float32").code) });
    const scale = add("Mul", [a.scale, b.scale], "scale");
    if (!bias) {
      graph.replaceNode(node, { opType: "Mul", inputs: [floats, scale] });
      return;
    }
    const scaled = add("Mul", [floats, scale], "scaled");
    graph.replaceNode(node, { opType: "Add", inputs: [scaled, bias] });
  }

  /** A vector per output channel with dims that broadcast to [N, channels, …] of `spatial` more dims. */
  channelVector(vector: Value, spatial: number, before: Node): Value {
    const { name } = vector;
    const dims = [-1, ...Array<number>(spatial).fill(1)];
    const tensor = fixedTensor(vector);
    if (!tensor) {
      const { graph } = before;
      const shape = graph.addInitializer(`${name}_channels_shape`, int64([dims.length], dims));
      const spec = { opType: "Reshape", inputs: [vector, shape], outputs: [`${name}_channels`] };
      return graph.addNode(spec, { before }).output();
    }
    const ranks = this.#vectors.get(vector) ?? new Map<number, Value>();
    this.#vectors.set(vector, ranks);
    const known = ranks.get(spatial);
    if (known) return known;
    const shaped = new Tensor(tensor.dtype, [tensor.size, ...dims.slice(1)], tensor.bytes);
    const value = vector.graph.addInitializer(`${name}_channels`, shaped);
    ranks.set(spatial, value);
    return value;
  }

  /** A node of com.microsoft in place of a standard one. */
  replace(node: Node, opType: string, inputs: readonly (Value | undefined)[]): void {
    const { model } = this;
    if (!model.opsetImports.has("com.microsoft")) model.opsetImports.set("com.microsoft", 1);
    node.graph.replaceNode(node, { opType, domain: "com.microsoft", inputs, attributes: node.attributes });
  }
}

/** The first node of `graph` itself that reads a value. */
function readerIn(graph: Graph, value: Value): Node {
  return graph.nodes.find((node) => node.inputs.includes(value)) as Node;
}
