/**
 * @file Weights whose rounding is learned: each may become the code below or the one above, by a number between 0 and 1 that training moves to
 * an end (Nagel et al. 2020, https://arxiv.org/abs/2004.10568).
 */
import { attr } from "../../../ir/attribute.ts";
import type { Model } from "../../../ir/model.ts";
import type { Node } from "../../../ir/node.ts";
import { tensorType } from "../../../ir/types.ts";
import type { Value } from "../../../ir/value.ts";
import { float32, fromTypedArray, type Tensor } from "../../../tensor/tensor.ts";
import { opKey } from "../../layers/sites.ts";
import { pairBounds, scaleIndices, type WeightSlot } from "../qat/slots.ts";
import { type ThawedBias, type ThawedWeight, thaw } from "../qat/thaw.ts";

/** h(V) = clip(sigmoid(V) (ζ − γ) + γ, 0, 1): it reaches both ends. */
const ZETA = 1.1;
const GAMMA = -0.1;
/** V of a weight that has one code only. */
const DECIDED = 20;

/** Codes further apart than this, end to end, are fine enough: rounding to nearest is kept. */
const FINE = 64;

export interface SoftWeight {
  /** Name of the initializer with its codes in the quantized model. */
  readonly codes: string;
  /** Name of V, which is trained. */
  readonly parameter: string;
  /** The code below each weight. */
  readonly low: Float32Array;
  /** What is added where h(V) ends up above a half: 1, or 0 at the end of the grid. */
  readonly step: Float32Array;
}

/** A bias that is trained along: it takes up the mean error that rounding leaves. */
export interface SoftBias {
  /** Name of what is trained: 0 at first. */
  readonly parameter: string;
  /** Name of the initializer in the quantized model. */
  readonly name: string;
  /** What the initializer becomes. */
  tensor(trained: ArrayLike<number>): Tensor;
}

export interface SoftUnit {
  /** Computes the unit with weights between their codes. */
  readonly model: Model;
  readonly weights: readonly SoftWeight[];
  readonly biases: readonly SoftBias[];
  /** Names of inputs: the exponent and the factor of the penalty. */
  readonly exponent: string;
  readonly pressure: string;
  /** Name of pressure · Σ (1 − |2 h(V) − 1|^exponent). */
  readonly penalty: string;
  /** Number of terms in that sum. */
  readonly count: number;
}

/**
 * @param noise what rounding leaves in the unit's output, as a root mean square: biases change in tenths of it
 * @param isShared whether other parts of the model read a constant too: such a bias stays
 * @returns undefined where no weight of the unit has a grid that is coarse enough and a float original
 */
export function softenUnit(
  unit: Model,
  float: Model,
  noise: number,
  isShared: (name: string) => boolean = () => false,
): SoftUnit | undefined {
  const thawed = thaw(unit, { originals: [float] });
  if (!thawed) return undefined;
  const { model } = thawed;
  const softener = new Softener(model);
  const weights = thawed.weights.flatMap((weight) => softener.weight(weight) ?? []);
  if (weights.length === 0) return undefined;
  const biases = softener.layers
    .flatMap((layer) => softener.bias(layer, thawed.biases, noise / 10) ?? [])
    .filter(({ name }) => !isShared(name));
  const penalty = softener.penalty();
  model.graph.sort();
  const { exponent, pressure } = softener;
  const count = weights.reduce((sum, { step }) => sum + step.length, 0);
  return { model, weights, biases, exponent: exponent.name, pressure: pressure.name, penalty: penalty.name, count };
}

class Softener {
  readonly exponent: Value;
  readonly pressure: Value;
  /** Conv and Gemm whose weights are soft. */
  readonly layers: Node[] = [];
  readonly #model: Model;
  readonly #powers: Value[] = [];
  #count = 0;

  constructor(model: Model) {
    this.#model = model;
    const { graph } = model;
    this.exponent = graph.addValue("rounding.exponent", tensorType("float32", []));
    this.pressure = graph.addValue("rounding.pressure", tensorType("float32", []));
    graph.addInput(this.exponent);
    graph.addInput(this.pressure);
  }

  weight({ name, quantized, slot, isOriginal }: ThawedWeight): SoftWeight | undefined {
    const { graph } = this.#model;
    const codes = slot.numbers();
    const [least, most] = boundsOf(slot, codes);
    if (!isOriginal || !least || !most) return undefined;
    const scales = slot.scale.tensor?.toFloat32() ?? new Float32Array(1);
    const zeros = slot.zeroPoints();
    const index = scaleIndices(slot);
    const values = graph.find(name)?.tensor?.toFloat32() as Float32Array;
    const [low, step, v, base, width] = [0, 1, 2, 3, 4].map(() => new Float32Array(codes.length)) as [
      Float32Array,
      Float32Array,
      Float32Array,
      Float32Array,
      Float32Array,
    ];
    codes.forEach((_, i) => {
      const [scale, zero] = [scales[index[i] as number] as number, zeros[index[i] as number] as number];
      const place = scale === 0 ? zero : (values[i] as number) / scale + zero;
      const bound = (code: number) => Math.min(most(i), Math.max(least(i), code));
      low[i] = bound(Math.floor(place));
      step[i] = bound(Math.floor(place) + 1) - (low[i] as number);
      const share = Math.min(1, Math.max(0, place - Math.floor(place)));
      v[i] = step[i] === 0 ? DECIDED : -Math.log((ZETA - GAMMA) / (share - GAMMA) - 1);
      base[i] = ((low[i] as number) - zero) * scale;
      width[i] = (step[i] as number) * scale;
    });
    const constant = (kind: string, data: Float32Array) =>
      graph.addInitializer(`${name}.${kind}`, float32(slot.dims, data));
    const parameter = constant("rounding", v);
    const h = this.#add("Clip", this.#add("Add", this.#scaled("Sigmoid", parameter, ZETA - GAMMA), GAMMA), 0, 1);
    const soft = this.#add("Add", constant("below", base), this.#add("Mul", constant("width", width), h));
    const reader = graph
      .find(quantized)
      ?.users()
      .find(({ opType }) => opType === "DequantizeLinear");
    for (const { node, index: at } of [...(reader?.output().uses ?? [])]) {
      node.setInput(at, soft);
      if (at === 1 && (opKey(node) === "Conv" || opKey(node) === "Gemm")) this.layers.push(node);
    }
    const distance = this.#add("Abs", this.#add("Sub", this.#add("Mul", h, 2), 1));
    const power = graph
      .addNode({
        opType: "ReduceSum",
        inputs: [this.#add("Pow", distance, this.exponent)],
        outputs: [`${name}.decided`],
        attributes: { keepdims: attr.int(0) },
      })
      .output();
    this.#powers.push(power);
    this.#count += codes.length;
    return { codes: slot.codes.name, parameter: parameter.name, low, step };
  }

  bias(layer: Node, thawed: readonly ThawedBias[], step: number): SoftBias | undefined {
    const bias = layer.inputs[2];
    if (bias?.tensor?.dtype !== "float32" || bias.uses.size > 1) return undefined;
    const { dims, size } = bias.tensor;
    const before = bias.tensor.toFloat32();
    const parameter = this.#model.graph.addInitializer(`${bias.name}.change`, float32(dims, new Float32Array(size)));
    layer.setInput(2, this.#add("Add", bias, this.#add("Mul", parameter, step)));
    const slot = thawed.find(({ name }) => name === bias.name)?.slot;
    const scales = slot?.scale.tensor?.toFloat32();
    const tensor = (trained: ArrayLike<number>) => {
      const values = before.map((value, i) => value + (trained[i] as number) * step);
      if (!scales) return float32(dims, values);
      const at = (i: number) => scales[scales.length === 1 ? 0 : i] as number;
      return fromTypedArray(
        "int32",
        dims,
        Int32Array.from(values, (value, i) => Math.round(value / at(i))),
      );
    };
    return { parameter: parameter.name, name: slot?.codes.name ?? bias.name, tensor };
  }

  penalty(): Value {
    const [first, ...rest] = this.#powers as [Value, ...Value[]];
    const decided = rest.reduce((sum, each) => this.#add("Add", sum, each), first);
    return this.#add("Mul", this.pressure, this.#add("Neg", this.#add("Sub", decided, this.#count)));
  }

  #scaled(opType: string, x: Value, factor: number): Value {
    return this.#add("Mul", this.#add(opType, x), factor);
  }

  #add(opType: string, ...operands: (Value | number)[]): Value {
    const { graph } = this.#model;
    const inputs = operands.map((operand) =>
      typeof operand === "number" ? graph.addInitializer(`rounding.${operand}`, float32([], [operand])) : operand,
    );
    return graph.addNode({ opType, inputs, outputs: [`rounding.${opType.toLowerCase()}`] }).output();
  }
}

/** Least and most code of each weight; none where the grid is fine. */
function boundsOf(
  slot: WeightSlot,
  codes: Float32Array,
): [least?: (i: number) => number, most?: (i: number) => number] {
  const [least, most] = slot.range;
  if (most - least < FINE) return [() => least, () => most];
  // A narrower grid in a wider type is known by the codes that are used.
  const [low, high] = codes.reduce(([a, b], code) => [Math.min(a, code), Math.max(b, code)], [most, least]);
  if (high - low >= FINE) return [];
  const pairs = pairBounds(slot, codes);
  return [(i) => Math.max(low, pairs?.[0][i] ?? low), (i) => Math.min(high, pairs?.[1][i] ?? high)];
}

/** The codes that a trained V decides on. */
export function decidedCodes({ low, step }: SoftWeight, v: ArrayLike<number>): Float32Array {
  return low.map((code, i) => code + ((v[i] as number) >= 0 ? (step[i] as number) : 0));
}
