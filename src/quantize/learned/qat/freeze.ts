/** @file Closes a model that was thawed for training: its weights become integers again, those that training computed with. */
import type { Model } from "../../../ir/model.ts";
import { removeDeadCode } from "../../../passes/dead-code.ts";
import { float32, fromNumbers, fromTypedArray, type Tensor } from "../../../tensor/tensor.ts";
import type { Thawed, ThawedBias } from "./thaw.ts";

/** Computes a model without inputs: its outputs, in order. */
export type Evaluate = (model: Model) => Promise<readonly Tensor[]>;

/** An int32 bias stays below this many steps, so that what is added to it can't overflow. */
const BIAS_LIMIT = 2 ** 30;

/**
 * The quantized model with the weights of a trained one: graph, names and metadata are those that it had before. Codes and learned scales
 * are computed by the runtime, with the operators that training ran: they are equal to those of the last step, bit for bit. Biases are
 * rounded to int32, in steps of the scales of their layers' inputs and weights. Weights that were float all along are taken over.
 * @param trained the model of `thawed` with other weights
 */
export async function freeze(thawed: Thawed, trained: Model, evaluate: Evaluate): Promise<Model> {
  const { quantized, weights, biases, scales } = thawed;
  const wanted = [...weights.map((each) => each.quantized), ...scales.map(({ value }) => value)];
  const results = await evaluate(without(trained, wanted));
  const computed = new Map(wanted.map((name, i) => [name, results[i] as Tensor]));
  const result = quantized.clone();
  const { graph } = result;
  const set = (name: string, tensor: Tensor) => {
    const value = graph.find(name);
    if (value) value.tensor = tensor;
  };
  for (const value of graph.initializers) {
    const twin = trained.graph.find(value.name)?.tensor;
    const isSame = twin?.dtype === value.tensor?.dtype && `${twin?.dims}` === `${value.tensor?.dims}`;
    if (twin && isSame) value.tensor = twin;
  }
  for (const { quantized: codes, slot } of weights) set(slot.codes.name, slot.encode(numbersOf(computed, codes)));
  const steps = new Map<string, Float32Array>();
  for (const { name, value } of scales) {
    const tensor = quantized.graph.find(name)?.tensor;
    const numbers = Float32Array.from(numbersOf(computed, value));
    steps.set(name, numbers);
    set(name, float32(tensor?.dims ?? [], numbers));
  }
  for (const bias of biases) {
    const { codes, scale } = frozenBias(bias, thawed, trained, steps);
    set(bias.slot.codes.name, codes);
    set(bias.slot.scale.name, scale);
  }
  return result;
}

/** The part of a model that computes values from its weights alone. */
function without(model: Model, outputs: readonly string[]): Model {
  const copy = model.clone();
  const { graph } = copy;
  for (const output of [...graph.outputs]) graph.removeOutput(output);
  for (const name of outputs) {
    const value = graph.find(name);
    if (value) graph.addOutput(value);
  }
  const part = removeDeadCode(copy).model;
  for (const input of [...part.graph.inputs]) part.graph.removeInput(input);
  return part;
}

const numbersOf = (tensors: ReadonlyMap<string, Tensor>, name: string) => tensors.get(name)?.toNumbers() ?? [];

/** A bias that did not change keeps its codes: float32 holds no more than 24 of their bits. */
function frozenBias(
  { name, slot, scales }: ThawedBias,
  thawed: Thawed,
  trained: Model,
  steps: ReadonlyMap<string, Float32Array>,
) {
  const codes = slot.codes.tensor as Tensor;
  const scale = slot.scale.tensor as Tensor;
  const values = trained.graph.find(name)?.tensor?.toFloat32() ?? new Float32Array(codes.size);
  const before = thawed.model.graph.find(name)?.tensor?.toFloat32();
  const [input, weight] = scales.map(
    (each) => steps.get(each) ?? thawed.quantized.graph.find(each)?.tensor?.toFloat32(),
  );
  const isLearned = scales.some((each) => steps.has(each));
  const old = scale.toFloat32();
  const step =
    isLearned && input && weight
      ? old.map((_, i) => (input[0] as number) * (weight[weight.length === 1 ? 0 : i] as number))
      : old;
  const rounded = Int32Array.from(values, (value, i) => {
    const at = step.length === 1 ? 0 : i;
    if (!isLearned && value === before?.[i]) return (codes.toTypedArray() as Int32Array)[i] as number;
    return Math.min(BIAS_LIMIT, Math.max(-BIAS_LIMIT, Math.round(value / (step[at] as number))));
  });
  return { codes: fromTypedArray("int32", codes.dims, rounded), scale: fromNumbers("float32", scale.dims, step) };
}
