/**
 * @file Opens a quantized model for training: integer weights become float ones that are rounded in the graph, on every run, as
 * the integers were. What is trained is the quantized model itself.
 */

import { parametersOf } from "../../../autodiff/parameters.ts";
import { attr } from "../../../ir/attribute.ts";
import type { Graph } from "../../../ir/graph.ts";
import type { Model } from "../../../ir/model.ts";
import type { Node } from "../../../ir/node.ts";
import { tensorType } from "../../../ir/types.ts";
import type { Value } from "../../../ir/value.ts";
import { convertOpset } from "../../../passes/convert-opset/convert-opset.ts";
import { exposeWeights } from "../../../passes/expose-weights.ts";
import { foldBatchNorm } from "../../../passes/fold-batch-norm/fold-batch-norm.ts";
import { elementCount, float32, fromNumbers, int64, type Tensor } from "../../../tensor/tensor.ts";
import { opKey } from "../../layers/sites.ts";
import { type LearnedScale, learnScales } from "./learned-scales.ts";
import { type BiasSlot, findSlots, pairBounds, scaleIndices, type WeightSlot } from "./slots.ts";

export interface ThawOptions {
  /** Float models that the quantized one may come from: a weight of the same name, dims and about the same values is taken from there. */
  readonly originals?: readonly Model[];
  /** Whether scales stay as calibration found them, or are learned with the weights; "fixed" when absent. */
  readonly scales?: "fixed" | "learned";
  /** Codes of zero are pruned weights: they begin at exactly zero, which training holds. False when absent. */
  readonly prunedZeros?: boolean;
}

/** One weight while it trains. */
export interface ThawedWeight {
  /** Name of the float weight. */
  readonly name: string;
  /** Name of its codes, int8 or uint8, in the thawed model. */
  readonly quantized: string;
  readonly slot: WeightSlot;
  /** It began as the float weight of an original, not as what its codes stand for. */
  readonly isOriginal: boolean;
}

export interface ThawedBias {
  readonly name: string;
  readonly slot: BiasSlot;
  /** Names of the scales of the layer's input and weight in the quantized model: int32 biases are in steps of their product. */
  readonly scales: readonly string[];
}

export interface Thawed {
  /** The float weights are rounded in it: it computes what the quantized model does, in float operators. */
  readonly model: Model;
  /** The quantized model, its constants as initializers. */
  readonly quantized: Model;
  readonly weights: readonly ThawedWeight[];
  readonly biases: readonly ThawedBias[];
  readonly scales: readonly LearnedScale[];
  /** Names of float constants that belong to the rounding: to be kept from training. */
  readonly fixed: readonly string[];
  /** Names of integer weights that stay as they are. */
  readonly left: readonly string[];
}

/** What is added to bounds so that the outermost codes still round to themselves. */
const ALMOST_HALF = 0.49;

/** In place of zeros that are only rounded ones: weights that are exactly zero count as pruned, and would not train. In steps. */
const NOT_PRUNED = 1e-3;

/**
 * Makes the weights of a quantized model trainable: w → QuantizeLinear → DequantizeLinear with scales and zero points as they are. A code
 * range that is narrower than its type's is kept by clipping in front. Biases in int32 become float. MatMulNBits becomes a MatMul. The
 * gradient passes rounding straight through inside of its range. Undefined where no integer weights are found.
 */
export function thaw(
  model: Model,
  { originals = [], scales = "fixed", prunedZeros = false }: ThawOptions = {},
): Thawed | undefined {
  const quantized = exposeWeights(model).model;
  const found = findSlots(quantized.graph);
  if (found.weights.length === 0) return undefined;
  const hasPacked = found.weights.some(({ nodes }) => nodes[0]?.opType === "MatMulNBits");
  const copy = hasPacked ? convertOpset(quantized, Math.max(21, quantized.opset)).model.clone() : quantized.clone();
  const { graph } = copy;
  const slots = findSlots(graph);
  const originalGraphs = originals.map((each) => foldBatchNorm(exposeWeights(each).model).model.graph);
  const builder = new Thawing(graph, originalGraphs, prunedZeros);
  const biases = slots.biases.map((slot) => builder.bias(slot));
  const weights = slots.weights.map((slot) => builder.weight(slot));
  graph.sort();
  const learned = scales === "learned" ? learnScales(copy, builder.scaleNames) : [];
  graph.sort();
  const trainable = new Set(
    [...weights, ...biases, ...learned.map(({ parameter }) => ({ name: parameter }))].map(({ name }) => name),
  );
  const own = parametersOf(graph).filter(({ name }) => builder.constants.has(name) && !trainable.has(name));
  const slotOf = new Map(found.weights.map((slot) => [slot.codes.name, slot]));
  const biasOf = new Map(found.biases.map((slot) => [slot.codes.name, slot]));
  return {
    model: copy,
    quantized,
    weights: weights.map((each) => ({ ...each, slot: slotOf.get(each.slot.codes.name) ?? each.slot })),
    biases: biases.map((each) => ({ ...each, slot: biasOf.get(each.slot.codes.name) ?? each.slot })),
    scales: learned,
    fixed: own.map(({ name }) => name),
    left: found.left,
  };
}

class Thawing {
  /** Names of float constants that rounding needs. */
  readonly constants = new Set<string>();
  /** Scales in the thawed model and their names in the quantized one. */
  readonly scaleNames = new Map<string, string>();
  readonly #graph: Graph;
  readonly #originals: readonly Graph[];
  readonly #prunedZeros: boolean;

  constructor(graph: Graph, originals: readonly Graph[], prunedZeros: boolean) {
    this.#graph = graph;
    this.#originals = originals;
    this.#prunedZeros = prunedZeros;
    for (const { inputs, opType, domain } of graph.nodes)
      if (domain === "" && (opType === "QuantizeLinear" || opType === "DequantizeLinear"))
        if (inputs[1]?.tensor) this.#declareScale(inputs[1], inputs[1].name);
    // Lookups in codes that stay as they are: no gradient passes to their scales.
    for (const { inputs, opType } of graph.nodes)
      if (opType === "GatherBlockQuantized" && inputs[2]) this.constants.add(inputs[2].name);
  }

  bias(slot: BiasSlot): ThawedBias {
    const { codes, scale, node } = slot;
    const steps = scale.tensor?.toFloat32() ?? [];
    const numbers = codes.tensor?.toNumbers() ?? [];
    const values = Float32Array.from(numbers, (code, i) => code * (steps[steps.length === 1 ? 0 : i] as number));
    const master = this.#graph.addInitializer(plainName(codes.name), float32(codes.tensor?.dims ?? [], values));
    const scales = layerScales(node);
    for (const use of [...node.output().uses]) use.node.setInput(use.index, master);
    this.#graph.removeNodes([node]);
    return { name: master.name, slot, scales };
  }

  weight(slot: WeightSlot): ThawedWeight {
    const graph = this.#graph;
    const codes = slot.numbers();
    const original = this.#originalOf(slot, codes);
    const values = original ?? dequantized(slot, codes);
    if (this.#prunedZeros) clearZeros(values, slot, codes);
    const tensor = float32(slot.dims, values);
    const master = graph.addInitializer(plainName(slot.codes.name), tensor);
    const isPacked = slot.nodes[0]?.opType === "MatMulNBits";
    const scale = isPacked ? this.#scaleOf(slot) : slot.scale;
    const { container, scaleDims } = slot;
    const stored = slot.zeroPoint?.tensor;
    const zeroPoint =
      !isPacked && slot.zeroPoint && stored?.dtype === container
        ? slot.zeroPoint
        : graph.addInitializer(`${master.name}.zero_point`, fromNumbers(container, scaleDims, slot.zeroPoints()));
    const quantized = this.#quantize(slot, { master, scale, zeroPoint, codes });
    for (const node of slot.nodes) {
      if (isPacked) this.#multiply(node, slot, [quantized, scale, zeroPoint]);
      else {
        node.setInput(0, quantized);
        node.setInput(2, zeroPoint);
      }
    }
    return { name: master.name, quantized: quantized.name, slot, isOriginal: original !== undefined };
  }

  /** QuantizeLinear of the weight; where the range is narrower than its type, of codes that were bounded as floats. */
  #quantize(
    slot: WeightSlot,
    { master, scale, zeroPoint, codes }: Record<"master" | "scale" | "zeroPoint", Value> & { codes: Float32Array },
  ): Value {
    const { container, range, dims, axis, blockSize, scaleDims } = slot;
    const pairs = pairBounds(slot, codes);
    const divisor = this.#withoutZeros(scale);
    const isWhole = !pairs && range[1] - range[0] === 255;
    const attributes = {
      ...(scaleDims.length > 0 && { axis: attr.int(axis) }),
      ...(blockSize > 0 && { block_size: attr.int(blockSize) }),
    };
    const output = `${master.name}.codes`;
    if (isWhole) return this.#codes(master, divisor, zeroPoint, { attributes, output, slot });
    const add = (opType: string, ...inputs: Value[]) =>
      this.#graph.addNode({ opType, inputs, outputs: [`${master.name}.${opType.toLowerCase()}`] }).output();
    const steps = add("Div", master, this.#spread(divisor, slot));
    const zeros = slot.zeroPoints();
    const shifted = zeros.every((zero) => zero === 0)
      ? steps
      : add(
          "Sub",
          steps,
          this.#spread(
            this.#constant(
              master,
              "zero",
              float32(
                scaleDims,
                zeros.map((z) => -z),
              ),
            ),
            slot,
          ),
        );
    const [low, high] = pairs ?? [[range[0]], [range[1]]];
    const bound = (kind: string, values: ArrayLike<number>, slack: number) =>
      this.#constant(
        master,
        kind,
        float32(
          pairs ? dims : [],
          Float32Array.from(values, (x) => x + slack),
        ),
      );
    const bounds = [bound("least", low, -ALMOST_HALF), bound("most", high, ALMOST_HALF)] as const;
    const bounded = pairs ? add("Min", add("Max", shifted, bounds[0]), bounds[1]) : add("Clip", shifted, ...bounds);
    const one = this.#constant(master, "one", float32([], [1]));
    const zero = this.#graph.addInitializer(`${master.name}.no_shift`, fromNumbers(container, [], [0]));
    return this.#codes(bounded, one, zero, { attributes: {}, output, slot });
  }

  /** The scale to divide by: where it is 0, as for weights that are all zero, every code stands for zero, whatever it is. */
  #withoutZeros(scale: Value): Value {
    const steps = scale.tensor?.toFloat32();
    if (!steps?.includes(0)) return scale;
    const ones = this.#graph.addInitializer(
      `${scale.name}.no_zeros`,
      float32(
        scale.tensor?.dims ?? [],
        steps.map((step) => Number(step === 0)),
      ),
    );
    this.constants.add(ones.name);
    return this.#graph.addNode({ opType: "Add", inputs: [scale, ones], outputs: [`${scale.name}.divisor`] }).output();
  }

  #codes(
    x: Value,
    scale: Value,
    zeroPoint: Value,
    {
      attributes,
      output,
      slot,
    }: { attributes: Record<string, ReturnType<typeof attr.int>>; output: string; slot: WeightSlot },
  ): Value {
    const value = this.#graph
      .addNode({ opType: "QuantizeLinear", inputs: [x, scale, zeroPoint], outputs: [output], attributes })
      .output();
    value.type = tensorType(slot.container, slot.dims);
    return value;
  }

  /** A value per scale as one that broadcasts with the weight. */
  #spread(value: Value, { dims, scaleDims, axis, blockSize }: WeightSlot): Value {
    if (elementCount(scaleDims) === 1) return value;
    const graph = this.#graph;
    const add = (opType: string, inputs: Value[]) =>
      graph.addNode({ opType, inputs, outputs: [`${value.name}.spread`] }).output();
    const list = (numbers: readonly number[]) =>
      graph.addInitializer(`${value.name}.dims`, int64([numbers.length], numbers));
    if (blockSize === 0) return add("Reshape", [value, list(dims.map((_, i) => (i === axis ? -1 : 1)))]);
    const [before, after] = [scaleDims.slice(0, axis + 1), scaleDims.slice(axis + 1)];
    const blocks = scaleDims[axis] ?? 1;
    const single = add("Reshape", [value, list([...before, 1, ...after])]);
    const repeated = add("Expand", [single, list([...before, blockSize, ...after])]);
    const whole = add("Reshape", [repeated, list(dims.map((dim, i) => (i === axis ? blocks * blockSize : dim)))]);
    if (blocks * blockSize === dims[axis]) return whole;
    return add("Slice", [whole, list([0]), list([dims[axis] ?? 0]), list([axis])]);
  }

  /** y = a wᵀ + bias, as MatMulNBits computes it. */
  #multiply(node: Node, { axis, blockSize }: WeightSlot, inputs: readonly Value[]): void {
    const graph = this.#graph;
    const base = node.output().name;
    const add = (opType: string, from: readonly Value[], attributes = {}) =>
      graph
        .addNode({ opType, inputs: from, outputs: [`${base}.${opType.toLowerCase()}`], attributes }, { before: node })
        .output();
    const floats = add("DequantizeLinear", inputs, { axis: attr.int(axis), block_size: attr.int(blockSize) });
    const weight = add("Transpose", [floats], { perm: attr.ints([1, 0]) });
    const [a, , , , , bias] = node.inputs;
    if (!bias) return void graph.replaceNode(node, { opType: "MatMul", inputs: [a, weight] });
    const product = add("MatMul", [a as Value, weight]);
    graph.replaceNode(node, { opType: "Add", inputs: [product, bias] });
  }

  /** Scales of MatMulNBits in the dims that DequantizeLinear reads. */
  #scaleOf({ scale, scaleDims }: WeightSlot): Value {
    const value = this.#graph.addInitializer(
      `${scale.name}.blocks`,
      float32(scaleDims, scale.tensor?.toFloat32() ?? []),
    );
    this.#declareScale(value, scale.name);
    return value;
  }

  #declareScale(value: Value, name: string): void {
    this.constants.add(value.name);
    this.scaleNames.set(value.name, name);
  }

  #constant(master: Value, kind: string, tensor: Tensor): Value {
    const value = this.#graph.addInitializer(`${master.name}.${kind}`, tensor);
    this.constants.add(value.name);
    return value;
  }

  /** The float weight that was quantized, if an original has it under its name: about one step off on average at most. */
  #originalOf(slot: WeightSlot, codes: Float32Array): Float32Array | undefined {
    const names = [plainName(slot.codes.name), ...slot.nodes.map((node) => plainName(node.output().name))];
    for (const graph of this.#originals)
      for (const name of names) {
        const tensor = graph.find(name)?.tensor;
        if (tensor?.dtype !== "float32") continue;
        // Codes may be stored the other way round: as MatMulNBits has them, or as a Gemm with transB reads them no more.
        const ways = [
          ...(`${tensor.dims}` === `${slot.dims}` ? [tensor.toFloat32().slice()] : []),
          ...(tensor.dims.length === 2 && `${tensor.dims.toReversed()}` === `${slot.dims}` ? [transposed(tensor)] : []),
        ];
        const values = ways.find((each) => isCloseTo(each, slot, codes));
        if (values) return values;
      }
    return undefined;
  }
}

/** Steps that the rounded weights may be off from what a weight rounds to, on average: batch norms and equalizations move weights by more. */
const NEAR = 0.6;

function isCloseTo(values: Float32Array, slot: WeightSlot, codes: Float32Array): boolean {
  const steps = slot.scale.tensor?.toFloat32() ?? new Float32Array(1);
  const zeros = slot.zeroPoints();
  const slices = scaleIndices(slot);
  const [low, high] = slot.range;
  let sum = 0;
  values.forEach((value, i) => {
    const slice = slices[i] as number;
    // With a step of 0 everything rounds to zero.
    const code = value / (steps[slice] || Number.POSITIVE_INFINITY) + (zeros[slice] as number);
    sum += Math.abs(Math.min(high, Math.max(low, code)) - (codes[i] as number));
  });
  return sum <= NEAR * values.length;
}

function clearZeros(values: Float32Array, slot: WeightSlot, codes: Float32Array): void {
  const zeros = slot.zeroPoints();
  const slices = scaleIndices(slot);
  codes.forEach((code, i) => {
    if (code === zeros[slices[i] as number]) values[i] = 0;
  });
}

/** What codes stand for. */
function dequantized(slot: WeightSlot, codes: Float32Array): Float32Array {
  const steps = slot.scale.tensor?.toFloat32() ?? new Float32Array(1);
  const zeros = slot.zeroPoints();
  const slices = scaleIndices(slot);
  return codes.map((code, i) => {
    const slice = slices[i] as number;
    return (code - (zeros[slice] as number) || NOT_PRUNED) * (steps[slice] as number);
  });
}

function transposed(tensor: Tensor): Float32Array {
  const [rows = 1, columns = 1] = tensor.dims;
  const values = tensor.toFloat32();
  return Float32Array.from(values, (_, i) => values[(i % rows) * columns + Math.floor(i / rows)] as number);
}

/** The name of a weight, by that of its codes or of what they are turned into. */
function plainName(name: string): string {
  return name.replace(/(_quantized|_dequantized|_Q\d+G\d+|_DequantizeLinear_Output)$/, "") || name;
}

/** Names of the scales of the input and the weight of the layer that a bias belongs to. */
function layerScales(bias: Node): readonly string[] {
  const [user] = bias.output().users();
  if (!user) return [];
  const product = opKey(user) === "Add" ? user.inputs.find((input) => input !== bias.output())?.producer : user;
  return (product?.inputs.slice(0, 2) ?? []).flatMap((input) => {
    const { producer } = input ?? {};
    const name = producer && opKey(producer) === "DequantizeLinear" ? producer.inputs[1]?.name : undefined;
    return name === undefined ? [] : [name];
  });
}
