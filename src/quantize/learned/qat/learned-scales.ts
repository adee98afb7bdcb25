/** @file Scales that are learned with the weights (learned step size quantization). */
import type { Model } from "../../../ir/model.ts";
import type { Node } from "../../../ir/node.ts";
import type { Value } from "../../../ir/value.ts";
import { infer } from "../../../ops/infer.ts";
import { dtypeInfo } from "../../../tensor/dtype.ts";
import { elementCount, float32, int64 } from "../../../tensor/tensor.ts";

export interface LearnedScale {
  /** Name of the scale in the quantized model. */
  readonly name: string;
  /** Name of what is trained: all 1 at first. */
  readonly parameter: string;
  /** Name of the scale that it makes, in the thawed model. */
  readonly value: string;
}

/**
 * Makes the scales of QuantizeLinear and DequantizeLinear trainable. Esser et al. 2020, https://arxiv.org/abs/1902.08153: the gradient of a
 * scale is that of rounding passed straight through, times g = 1 / √(n · qmax) for the n elements that share it.
 *
 * A deliberate deviation: what is trained is p in s = s₀ · exp(c (p − 1)). Scales stay above 0, and Adam, to which the size of a gradient is
 * nothing, changes them by c times its rate at most, whatever their size. With c = √g / s₀ a step of plain gradient descent on p
 * changes s as g does; c is 1 where that is larger.
 */
export function learnScales(model: Model, names: ReadonlyMap<string, string>): LearnedScale[] {
  const { graph } = model;
  const { types } = infer(model);
  /** Elements of one sample. */
  const features = (value: Value) => {
    const type = value.tensor ? value.type : (types.get(value) ?? value.type);
    const dims = type?.kind === "tensor" ? type.shape : undefined;
    const known = (dims ?? []).filter((dim) => typeof dim === "number");
    return elementCount(value.isConstant || known.length < (dims?.length ?? 0) ? known : known.slice(1));
  };
  return [...names].flatMap(([own, name]) => {
    const scale = graph.find(own);
    const tensor = scale?.tensor;
    const reader = scale?.users().find((node) => isRounding(node) && node.inputs[1] === scale);
    if (!scale || !tensor || !reader) return [];
    const steps = tensor.toFloat32();
    const mean = steps.reduce((sum, step) => sum + step, 0) / steps.length;
    const n = features(roundedValue(reader)) / steps.length;
    const factor = Math.min(1, 1 / Math.sqrt(Math.sqrt(Math.max(1, n) * largestCode(reader))) / mean);
    const uses = [...scale.uses];
    const add = (opType: string, ...inputs: Value[]) =>
      graph.addNode({ opType, inputs, outputs: [`${own}.${opType.toLowerCase()}`] }).output();
    const constant = (value: number) => graph.addInitializer(`${own}.constant`, float32([], [value]));
    const parameter = graph.addInitializer(
      `${own}.learned`,
      float32([steps.length], new Float32Array(steps.length).fill(1)),
    );
    const power = add("Exp", add("Mul", add("Add", parameter, constant(-1)), constant(factor)));
    const dims = graph.addInitializer(`${own}.dims`, int64([tensor.dims.length], tensor.dims));
    const learned = add("Mul", scale, add("Reshape", power, dims));
    for (const { node, index } of uses) node.setInput(index, learned);
    return [{ name, parameter: parameter.name, value: learned.name }];
  });
}

const isRounding = ({ opType, domain }: Node) =>
  domain === "" && (opType === "QuantizeLinear" || opType === "DequantizeLinear");

/** What is rounded with a scale: of codes that were read back with another one, the codes. */
function roundedValue(node: Node): Value {
  const [x] = node.inputs;
  const { producer } = x ?? {};
  const before = producer?.domain === "" && producer.opType === "QuantizeLinear" ? producer.input(0) : undefined;
  return before ?? node.input(0);
}

/** qmax: of the zero point's type, since codes are always declared by one. */
function largestCode(node: Node): number {
  const dtype = node.inputs[2]?.tensor?.dtype ?? "uint8";
  return dtypeInfo(dtype).range?.[1] ?? 255;
}
