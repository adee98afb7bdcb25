/** @file Puts QuantizeLinear and DequantizeLinear where the plan says, with the ranges that calibration found. */
import type { Range } from "../../calibrate/collector.ts";
import type { Graph, Position } from "../../ir/graph.ts";
import type { Value } from "../../ir/value.ts";
import { float32, fromNumbers, type Tensor } from "../../tensor/tensor.ts";
import { largestOf, leastOf } from "../../util/append.ts";
import { TersorError } from "../../util/errors.ts";
import type { CodeClass } from "./classes.ts";
import { isFixed, type Unit } from "./flow.ts";
import type { ActivationDType } from "./options.ts";
import type { PlannedWeight, StaticPlan } from "./plan.ts";
import { type ActivationParams, activationCodes, activationParams } from "./qparams.ts";
import { rescaleOf } from "./rules.ts";
import { shieldFloatLayers, shieldMovedCodes } from "./shield.ts";
import type { StaticWeight } from "./weights.ts";
import { addNamed, type StaticStats, WeightWriter } from "./write-weights.ts";

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

export interface WrittenStatic {
  /** What was written for a weight, once for each axis of scales. */
  readonly weights: ReadonlyMap<PlannedWeight, readonly StaticWeight[]>;
  readonly notes: readonly string[];
}

const unbounded: Range = { min: Number.NEGATIVE_INFINITY, max: Number.POSITIVE_INFINITY };

/** Rewrites the plan's model, which is done once. @param stats of the values that the plan's collectors watch */
export function writeStatic(plan: StaticPlan, stats: StaticStats): WrittenStatic {
  const writer = new StaticWriter(plan, stats);
  writer.write();
  return { weights: writer.weights, notes: writer.notes };
}

class StaticWriter {
  readonly weights = new Map<PlannedWeight, readonly StaticWeight[]>();
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
    const writer = new WeightWriter(this.#plan, this.#stats, { scales: this.#inputScales, means: this.#inputMeans });
    for (const planned of weights) if (planned.choice) writer.add(planned);
    for (const [planned, written] of writer.weights) this.weights.set(planned, written);
    this.notes.push(...writer.notes);
    shieldFloatLayers(this.#graph);
    if (this.#dtype === "int8") shieldMovedCodes(this.#plan.model);
    this.#graph.sort();
  }

  /** QuantizeLinear and DequantizeLinear behind a value. */
  #addCodes(value: Value): void {
    const params = this.#params(value);
    const place = this.#behind(value);
    const codes = addNamed(
      this.#graph,
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
    const node = addNamed(
      this.#graph,
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
}
