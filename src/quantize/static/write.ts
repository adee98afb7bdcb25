/** @file Puts QuantizeLinear and DequantizeLinear where the plan says, with the ranges that calibration found. */
import type { Range } from "../../calibrate/collector.ts";
import { attr } from "../../ir/attribute.ts";
import type { Graph, NodeSpec, Position } from "../../ir/graph.ts";
import type { Node } from "../../ir/node.ts";
import type { Value } from "../../ir/value.ts";
import { dtypeInfo } from "../../tensor/dtype.ts";
import { float32, fromNumbers, type Tensor } from "../../tensor/tensor.ts";
import { largestOf, leastOf } from "../../util/append.ts";
import { TersorError } from "../../util/errors.ts";
import { analyticCorrection } from "../equalize/bias-correction.ts";
import { type MethodStats, methodRun } from "../method-stats.ts";
import { nodeName, opKey, type WeightLayer } from "../sites.ts";
import { moveUses } from "../write/format.ts";
import type { CodeClass } from "./classes.ts";
import { isFixed, type Unit } from "./flow.ts";
import type { ActivationDType } from "./options.ts";
import type { PlannedWeight, StaticPlan } from "./plan.ts";
import { type ActivationParams, activationCodes, activationParams } from "./qparams.ts";
import { rescaleOf } from "./rules.ts";
import { shieldFloatLayers } from "./shield.ts";
import { dequantized, quantizeBias, quantizeStaticWeight, type StaticWeight } from "./weights.ts";

/** Scale and zero point as values of the graph. */
interface Params extends ActivationParams {
  readonly scaleValue: Value;
  readonly zeroPointValue: Value;
}

/** A value's codes in the graph. */
interface Coded extends Params {
  readonly codes: Value;
  /** The value read back. */
  readonly floats: Value;
}

/** A constant bias: input `index` of `node`. */
interface Bias {
  readonly node: Node;
  readonly index: number;
  readonly value: Value;
}

export interface WrittenStatic {
  readonly weights: ReadonlyMap<PlannedWeight, StaticWeight>;
  readonly notes: readonly string[];
}

const unbounded: Range = { min: Number.NEGATIVE_INFINITY, max: Number.POSITIVE_INFINITY };

/** What calibration found, by name of the value. */
export interface StaticStats {
  readonly ranges: ReadonlyMap<string, Range>;
  /** Means per channel of the layers' inputs; biases of layers without them are left as they are. */
  readonly means?: ReadonlyMap<string, Float32Array>;
  /** What methods know about the layers' inputs, by the name of the weight. */
  readonly moments?: MethodStats;
}

/** Rewrites the plan's model, which is done once. @param stats of the values that the plan's collectors watch */
export function writeStatic(plan: StaticPlan, stats: StaticStats): WrittenStatic {
  const writer = new StaticWriter(plan, stats);
  writer.write();
  return { weights: writer.weights, notes: writer.notes };
}

class StaticWriter {
  readonly weights = new Map<PlannedWeight, StaticWeight>();
  readonly notes: string[] = [];
  readonly #plan: StaticPlan;
  readonly #graph: Graph;
  readonly #dtype: ActivationDType;
  readonly #stats: StaticStats;
  readonly #coded = new Map<Value, Coded>();
  readonly #classes = new Map<CodeClass, Params>();
  readonly #operands = new Map<Value, Value>();
  /** Scale of the first input of units, whose inputs are replaced later. */
  readonly #inputScales = new Map<Unit, number>();
  readonly #inputMeans = new Map<Unit, Float32Array>();

  constructor(plan: StaticPlan, stats: StaticStats) {
    this.#plan = plan;
    this.#graph = plan.model.graph;
    this.#dtype = plan.settings.activations ?? plan.settings.target.activations;
    this.#stats = stats;
  }

  write(): void {
    const { flow, coded, weights } = this.#plan;
    const rescaled = new Set(flow.rescaling.map((node) => node.output()));
    for (const value of coded.keys()) if (!rescaled.has(value)) this.#addCodes(value);
    for (const node of flow.rescaling) this.#rescale(node.output(), rescaleOf(node)?.input as Value);
    for (const unit of flow.units) {
      const scale = this.#coded.get(unit.node.input(0))?.scale;
      if (scale !== undefined) this.#inputScales.set(unit, scale);
      const means = this.#stats.means?.get(unit.node.input(0).name);
      if (means) this.#inputMeans.set(unit, means);
    }
    const entries = new Set(flow.entries);
    for (const [value, each] of this.#coded) this.#read(value, each, entries.has(value));
    this.#graph.removeNodes(flow.rescaling);
    for (const unit of flow.units) this.#addOperands(unit);
    for (const planned of weights) if (planned.choice) this.#addWeight(planned);
    shieldFloatLayers(this.#graph);
    this.#graph.sort();
  }

  /** QuantizeLinear and DequantizeLinear behind a value. */
  #addCodes(value: Value): void {
    const params = this.#params(value);
    const place = this.#behind(value);
    const codes = this.#add(
      {
        opType: "QuantizeLinear",
        inputs: [value, params.scaleValue, params.zeroPointValue],
        outputs: [`${value.name}_quantized`],
      },
      place,
    ).output();
    this.#coded.set(value, { ...params, codes, floats: this.#dequantize(value, codes, params) });
  }

  /** Reads the codes of `input` with a scale that is larger by a factor. */
  #rescale(value: Value, input: Value): void {
    const { codes, zeroPoint, zeroPointValue } = this.#coded.get(input) as Coded;
    const scale = Math.fround(this.#params(value).scale * (this.#plan.coded.get(value)?.factor ?? 1));
    const scaleValue = this.#graph.addInitializer(`${value.name}_scale`, float32([], [scale]));
    const params = { scale, zeroPoint, scaleValue, zeroPointValue };
    this.#coded.set(value, { ...params, codes, floats: this.#dequantize(value, codes, params) });
  }

  #dequantize(value: Value, codes: Value, { scaleValue, zeroPointValue }: Params): Value {
    const node = this.#add(
      {
        opType: "DequantizeLinear",
        inputs: [codes, scaleValue, zeroPointValue],
        outputs: [`${value.name}_dequantized`],
      },
      this.#behind(codes),
    );
    const floats = node.output();
    floats.type = value.type;
    return floats;
  }

  /** A node named after its result. */
  #add(spec: NodeSpec, place: Position | undefined): Node {
    const node = this.#graph.addNode(spec, place);
    node.name = this.#graph.uniqueNodeName(`${node.output().name}_${spec.opType}`);
    return node;
  }

  #behind(value: Value): Position | undefined {
    if (value.producer) return { after: value.producer };
    const [first] = this.#graph.nodes;
    return first && { before: first };
  }

  #params(value: Value): Params {
    const coded = this.#plan.coded.get(value);
    if (!coded) throw new TersorError("internal", `value "${value.name}" has no codes.`);
    const known = this.#classes.get(coded.class);
    if (known) return known;
    const { observed, bounds, known: fixed } = coded.class;
    const range = fixed ?? this.#rangeOf(observed);
    if (!(range.max > range.min))
      this.notes.push(`"${value.name}" was ${range.min} for all of the data: its scale is a guess`);
    const params = this.#declare(
      value.name,
      activationParams(range, bounds, this.#dtype, this.#plan.settings.symmetric),
    );
    this.#classes.set(coded.class, params);
    return params;
  }

  /** @throws bad-data where calibration did not see a value */
  #rangeOf(observed: readonly Value[]): Range {
    const ranges = observed.map(({ name }) => {
      const range = this.#stats.ranges.get(name);
      if (range && Number.isFinite(range.min) && Number.isFinite(range.max)) return range;
      throw new TersorError(
        "bad-data",
        `value "${name}": no range: expected one from calibration. Calibrate with the plan's collectors.`,
      );
    });
    return { min: leastOf(ranges.map(({ min }) => min)), max: largestOf(ranges.map(({ max }) => max)) };
  }

  #declare(name: string, { scale, zeroPoint }: ActivationParams): Params {
    const scaleValue = this.#graph.addInitializer(`${name}_scale`, float32([], [scale]));
    const zeroPointValue = this.#graph.addInitializer(`${name}_zero_point`, fromNumbers(this.#dtype, [], [zeroPoint]));
    return { scale, zeroPoint, scaleValue, zeroPointValue };
  }

  /** Lets those who read a value read its codes: all of them, or of a value that is float the integer operators only. */
  #read(value: Value, { codes, floats }: Coded, isEntry: boolean): void {
    const units = new Map(this.#plan.flow.units.map((unit) => [unit.node, unit]));
    for (const use of [...value.uses]) {
      const reads = units.get(use.node)?.rule.inputs(use.node).includes(use.index);
      if (use.node !== codes.producer && (reads || !isEntry)) use.node.setInput(use.index, floats);
    }
    if (isEntry || !value.isOutput) return;
    const { name } = value;
    this.#graph.rename(value, this.#graph.uniqueName(`${name}_float`));
    this.#graph.rename(floats, name);
    this.#graph.outputs.forEach((output, index) => {
      if (output === value) this.#graph.setOutput(index, floats);
    });
  }

  /** Constants that are read like activations. */
  #addOperands({ node, rule }: Unit): void {
    for (const index of rule.inputs(node)) {
      const value = node.inputs[index];
      if (index !== rule.weight && value && isFixed(value)) node.setInput(index, this.#operand(value));
    }
  }

  #operand(value: Value): Value {
    const known = this.#operands.get(value);
    if (known) return known;
    const tensor = value.tensor as Tensor;
    const numbers = tensor.toFloat32();
    const range = {
      min: numbers.reduce((a, b) => Math.min(a, b), 0),
      max: numbers.reduce((a, b) => Math.max(a, b), 0),
    };
    const params = this.#declare(
      value.name,
      activationParams(range, unbounded, this.#dtype, this.#plan.settings.symmetric),
    );
    const { qmin, qmax } = activationCodes[this.#dtype];
    const codes = Array.from(numbers, (x) =>
      Math.min(qmax, Math.max(qmin, Math.round(x / params.scale) + params.zeroPoint)),
    );
    const stored = this.#graph.addInitializer(`${value.name}_quantized`, fromNumbers(this.#dtype, tensor.dims, codes));
    const floats = this.#dequantize(value, stored, params);
    this.#operands.set(value, floats);
    return floats;
  }

  #addWeight(planned: PlannedWeight): void {
    const { layer, choice } = planned;
    if (!choice) return;
    const units = this.#plan.flow.units.filter(
      ({ node, rule }) => rule.weight !== undefined && node.inputs[rule.weight] === layer.value,
    );
    const biases = units.flatMap((unit) => {
      const bias = this.#biasOf(unit);
      return bias
        ? [
            {
              unit,
              bias,
              values: (bias.value.tensor as Tensor).toFloat32().slice(),
              inputScale: this.#inputScales.get(unit) as number,
            },
          ]
        : [];
    });
    const run = choice.method === "rtn" ? undefined : methodRun(layer, choice.method, this.#stats.moments);
    if (typeof run === "string") this.notes.push(`"${layer.name}": ${run}`);
    const found = typeof run === "string" ? undefined : run;
    const weight = quantizeStaticWeight(layer, choice, this.#plan.settings.measure, biases, found);
    this.weights.set(planned, weight);
    this.#correct(layer, weight, biases);
    const { name } = layer.value;
    const graph = this.#graph;
    const scale = graph.addInitializer(`${name}_scale`, fromNumbers("float32", weight.slices.scaleDims, weight.scales));
    const isPacked = choice.dtype === "int4" || choice.dtype === "int2";
    const zeros = new Array(weight.scales.length).fill(choice.dtype === "uint8" ? 128 : 0);
    const stored = isPacked ? "int8" : choice.dtype;
    const zeroPoint = graph.addInitializer(`${name}_zero_point`, fromNumbers(stored, weight.slices.scaleDims, zeros));
    let codes = graph.addInitializer(`${name}_quantized`, weight.codes);
    const [first] = graph.nodes;
    const place = first && { before: first };
    if (isPacked) {
      // Runtimes have no integer kernels for weights of 4 or 2 bits, but they widen constants when they load a model.
      const attributes = { to: attr.int(dtypeInfo("int8").code) };
      codes = this.#add({ opType: "Cast", inputs: [codes], outputs: [`${name}_widened`], attributes }, place).output();
    }
    const { axis } = weight.slices;
    const node = this.#add(
      {
        opType: "DequantizeLinear",
        inputs: [codes, scale, zeroPoint],
        outputs: [`${name}_dequantized`],
        attributes: axis === undefined ? {} : { axis: attr.int(axis) },
      },
      codes.producer ? { after: codes.producer } : place,
    );
    node.output().type = layer.value.type;
    moveUses(layer.value, node.output());
    dropUnused(layer.value);
    for (const { bias, values, inputScale } of biases)
      this.#addBias(bias, quantizeBias(values, inputScale, weight.scales));
  }

  /** Adds to biases what the weights' rounding takes from the mean of the results. */
  #correct(layer: WeightLayer, weight: StaticWeight, biases: readonly { unit: Unit; values: Float32Array }[]): void {
    const means = new Map(
      biases.flatMap(({ unit }) => {
        const known = this.#inputMeans.get(unit);
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

  /** The constant bias of a unit, one number per channel. */
  #biasOf(unit: Unit): Bias | undefined {
    const { node, rule } = unit;
    const bias = rule.bias === undefined ? this.#addedBias(unit) : { node, index: rule.bias };
    const value = bias?.node.inputs[bias.index];
    if (!bias || !value || !isFixed(value) || !this.#inputScales.has(unit)) return undefined;
    const channels = this.#plan.weights.find(({ layer }) => layer.value === node.inputs[rule.weight as number])?.layer;
    const count = channels?.weight.dims[channels.axes.channel];
    const { size, dtype } = value.tensor as Tensor;
    return size === count && dtype === "float32" ? { ...bias, value } : undefined;
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
    const floats = this.#add(
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

function dropUnused(value: Value): void {
  if (!value.isUnused) return;
  value.tensor = undefined;
  value.graph.removeValue(value);
}
