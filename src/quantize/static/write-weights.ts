/** @file Writes the weights of integer layers as codes with DequantizeLinear, and their biases as int32. */
import type { Range } from "../../calibrate/collector.ts";
import { attr } from "../../ir/attribute.ts";
import type { Graph, NodeSpec, Position } from "../../ir/graph.ts";
import type { Node } from "../../ir/node.ts";
import type { Value } from "../../ir/value.ts";
import { dtypeInfo } from "../../tensor/dtype.ts";
import { fromNumbers, type Tensor } from "../../tensor/tensor.ts";
import { analyticCorrection } from "../equalize/bias-correction.ts";
import { type CodedTable, readCodes } from "../formats/dequantize.ts";
import { nodeName, opKey, type WeightLayer, type WeightSite } from "../layers/sites.ts";
import type { MethodRun } from "../lazy/by-method.ts";
import { type MethodStats, methodRun, type Observation } from "../weights/method-stats.ts";
import { isFixed, type Unit, weightOf } from "./flow.ts";
import type { PlannedWeight, StaticPlan } from "./plan.ts";
import { copiesOf, type Reader, type WeightCopy } from "./weight-copies.ts";
import { dequantized, quantizeBias, quantizeStaticWeight, type StaticWeight, type WeightChoice } from "./weights.ts";

/** What calibration found, by name of the value. */
export interface StaticStats {
  readonly ranges: ReadonlyMap<string, Range>;
  /** Means per channel of the layers' inputs; biases of layers without them are left as they are. */
  readonly means?: ReadonlyMap<string, Float32Array>;
  /** What methods know about the layers' inputs, by the name of the weight. */
  readonly moments?: MethodStats;
}

/** A constant bias: input `index` of `node`. */
interface Bias {
  readonly node: Node;
  readonly index: number;
  readonly value: Value;
}

/** Scale and means of the first input of units, whose inputs are replaced by their codes. */
interface UnitInputs {
  readonly scales: ReadonlyMap<Unit, number>;
  readonly means: ReadonlyMap<Unit, Float32Array>;
}

export class WeightWriter {
  readonly weights = new Map<PlannedWeight, readonly StaticWeight[]>();
  readonly notes: string[] = [];
  readonly #plan: StaticPlan;
  readonly #graph: Graph;
  readonly #stats: StaticStats;
  readonly #inputs: UnitInputs;
  readonly #observed: ReadonlyMap<string, Observation>;

  constructor(plan: StaticPlan, stats: StaticStats, inputs: UnitInputs) {
    this.#plan = plan;
    this.#graph = plan.model.graph;
    this.#stats = stats;
    this.#inputs = inputs;
    this.#observed = plan.observations();
  }

  /** Codes of a weight for each axis along which units count its channels; whoever else reads it decodes the first. */
  add(planned: PlannedWeight): void {
    const { layer, choice } = planned;
    if (!choice) return;
    const units = this.#plan.flow.units.filter((unit) => weightOf(unit) === layer.value);
    const readers = layer.sites.flatMap((site): Reader[] => {
      const unit = units.find(({ node, rule }) => node === site.node && rule.weight === site.input);
      return unit ? [{ site, unit }] : [];
    });
    const tables = copiesOf(layer, choice, readers, this.notes).map((copy) => this.#addCodesOf(planned, copy));
    const [first] = tables;
    if (first && layer.value.uses.size > 0) readCodes({ value: layer.value, sites: [] }, first);
    dropUnused(layer.value);
  }

  #addCodesOf(planned: PlannedWeight, { layer, choice, readers }: WeightCopy): CodedTable {
    const biases = readers.flatMap(({ unit }) => {
      const bias = this.#biasOf(unit, layer);
      const inputScale = this.#inputs.scales.get(unit) as number;
      return bias ? [{ unit, bias, values: perChannelBias(bias.value, layer), inputScale }] : [];
    });
    const weight = quantizeStaticWeight(layer, choice, this.#plan.settings.measure, biases, this.#run(layer, choice));
    this.weights.set(planned, [...(this.weights.get(planned) ?? []), weight]);
    this.#correct(layer, weight, biases);
    const table = this.#store(layer, choice, weight);
    const straight = readers.filter(({ site }) => !site.turn);
    const turned = readers.filter(({ site }) => site.turn);
    if (straight.length > 0) setInputs(straight, this.#decode(layer.value.name, table));
    if (turned.length > 0) setInputs(turned, this.#decode(layer.value.name, table, true));
    for (const { site } of turned) if (site.turn?.outputs[0]?.isUnused) this.#graph.removeNodes([site.turn]);
    for (const { bias, values, inputScale } of biases)
      this.#addBias(bias, quantizeBias(values, inputScale, weight.scales));
    return table;
  }

  #run(layer: WeightLayer, { method }: WeightChoice): MethodRun | undefined {
    if (method === "rtn") return undefined;
    const observed = this.#observed.get(layer.value.name)?.node;
    // What was seen of a reader along the other axis are other inputs.
    const fits = layer.sites.some(({ node, axes }) => node === observed && axes.channel === layer.axes.channel);
    const moments = fits ? this.#stats.moments : undefined;
    const run = methodRun(layer, method, moments, this.#plan.settings.methodOptions);
    if (typeof run !== "string") return run;
    this.notes.push(`"${layer.name}": ${run}`);
    return undefined;
  }

  #store(
    { value: { name }, weight: { dims, dtype } }: WeightLayer,
    choice: WeightChoice,
    weight: StaticWeight,
  ): CodedTable {
    const graph = this.#graph;
    const { scaleDims, axis } = weight.slices;
    const isPacked = choice.dtype === "int4" || choice.dtype === "int2";
    const zeros = new Array(weight.scales.length).fill(choice.dtype === "uint8" ? 128 : 0);
    const scale = graph.addInitializer(`${name}_scale`, fromNumbers("float32", scaleDims, weight.scales));
    const zeroPoint = graph.addInitializer(
      `${name}_zero_point`,
      fromNumbers(isPacked ? "int8" : choice.dtype, scaleDims, zeros),
    );
    const codes = graph.addInitializer(`${name}_quantized`, weight.codes);
    const read = { float: dtype, zeroIsMiddle: choice.dtype !== "uint8", byRow: true, dims };
    return { codes: this.#widened(name, codes, isPacked), scale, zeroPoint, axis, ...read };
  }

  /** Runtimes have no integer kernels for weights of 4 or 2 bits, but they widen constants when they load a model. */
  #widened(name: string, codes: Value, isPacked: boolean): Value {
    if (!isPacked) return codes;
    const attributes = { to: attr.int(dtypeInfo("int8").code) };
    return addNamed(
      this.#graph,
      { opType: "Cast", inputs: [codes], outputs: [`${name}_widened`], attributes },
      this.#first,
    ).output();
  }

  get #first(): Position | undefined {
    const [first] = this.#graph.nodes;
    return first && { before: first };
  }

  /** The codes read as floats, perhaps with the two axes exchanged, which runtimes do when they load a model. */
  #decode(name: string, { codes, scale, zeroPoint, axis, dims, float }: CodedTable, turn = false): Value {
    const place = (value: Value) => (value.producer ? { after: value.producer } : this.#first);
    const attributes = { perm: attr.ints([1, 0]) };
    const spec = { opType: "Transpose", inputs: [codes], outputs: [`${name}_turned`], attributes };
    const source = turn ? addNamed(this.#graph, spec, place(codes)).output() : codes;
    const node = addNamed(
      this.#graph,
      {
        opType: "DequantizeLinear",
        inputs: [source, scale, zeroPoint],
        outputs: [`${name}_dequantized`],
        attributes: axis === undefined ? {} : { axis: attr.int(turn ? 1 - axis : axis) },
      },
      place(source),
    );
    node.output().type = { kind: "tensor", dtype: float, shape: turn ? dims.toReversed() : dims };
    return node.output();
  }

  /** Adds to biases what the weights' rounding takes from the mean of the results. */
  #correct(layer: WeightLayer, weight: StaticWeight, biases: readonly { unit: Unit; values: Float32Array }[]): void {
    const means = new Map(
      biases.flatMap(({ unit }) => {
        const known = this.#inputs.means.get(unit);
        return known ? [[unit.node.input(0).name, known] as const] : [];
      }),
    );
    if (means.size === 0) return;
    const after = new Map([[layer.value.name, dequantized(layer.weight, weight)]]);
    const corrections = analyticCorrection(this.#plan.model, after, means);
    for (const { unit, values } of biases) {
      const correction = corrections.get(nodeName(unit.node));
      if (correction)
        for (let i = 0; i < values.length; i++) values[i] = (values[i] as number) + (correction[i] as number);
    }
  }

  /** The constant bias of a unit: one number per channel, or one for all. */
  #biasOf(unit: Unit, { weight, axes }: WeightLayer): Bias | undefined {
    const { node, rule } = unit;
    const bias = rule.bias === undefined ? this.#addedBias(unit) : { node, index: rule.bias };
    const value = bias?.node.inputs[bias.index];
    if (!bias || !value || !isFixed(value) || !this.#inputs.scales.has(unit)) return undefined;
    const { size, dtype } = value.tensor as Tensor;
    const fits = size === weight.dims[axes.channel] || (size === 1 && rule.bias !== undefined);
    return fits && dtype === "float32" ? { ...bias, value } : undefined;
  }

  /**
   * Where a product of matrices adds its bias. ONNX Runtime makes a Gemm of the two before it looks for integers, and one
   * with a float bias and float results stays float.
   */
  #addedBias(unit: Unit): Omit<Bias, "value"> | undefined {
    const [add] = unit.absorbed;
    const { type } = unit.node.output();
    const rank = type?.kind === "tensor" ? type.shape?.length : undefined;
    if (!add || opKey(add) !== "Add" || this.#plan.flow.coded.has(unit) || (rank ?? 2) !== 2) return undefined;
    return { node: add, index: add.inputs[0] === unit.node.output() ? 1 : 0 };
  }

  #addBias({ node, index, value }: Bias, { codes, scale }: ReturnType<typeof quantizeBias>): void {
    const graph = this.#graph;
    const { name } = value;
    const stored = graph.addInitializer(`${name}_quantized`, codes);
    const scaleValue = graph.addInitializer(`${name}_scale`, scale);
    const zeros = fromNumbers("int32", scale.dims, new Array(scale.size).fill(0));
    const floats = addNamed(
      this.#graph,
      {
        opType: "DequantizeLinear",
        inputs: [stored, scaleValue, graph.addInitializer(`${name}_zero_point`, zeros)],
        outputs: [`${name}_dequantized`],
        attributes: scale.dims.length === 0 ? {} : { axis: attr.int(0) },
      },
      { before: node },
    ).output();
    node.setInput(index, floats);
    dropUnused(value);
  }
}

/** A node named after its result. */
export function addNamed(graph: Graph, spec: NodeSpec, place: Position | undefined): Node {
  const node = graph.addNode(spec, place);
  node.name = graph.uniqueNodeName(`${node.output().name}_${spec.opType}`);
  return node;
}

function setInputs(readers: readonly { site: WeightSite }[], value: Value): void {
  for (const { site } of readers) site.node.setInput(site.input, value);
}

/** A bias as one number per output channel. */
function perChannelBias({ tensor }: Value, { weight, axes }: WeightLayer): Float32Array {
  const values = (tensor as Tensor).toFloat32().slice();
  const count = weight.dims[axes.channel] as number;
  return values.length === count ? values : new Float32Array(count).fill(values[0] as number);
}

function dropUnused(value: Value): void {
  if (!value.isUnused) return;
  value.tensor = undefined;
  value.graph.removeValue(value);
}
