/** @file Sizes of layers, by which their costs are counted. */
import { type Dataset, take } from "../../data/dataset.ts";
import type { Model } from "../../ir/model.ts";
import type { Node } from "../../ir/node.ts";
import type { ValueType } from "../../ir/types.ts";
import type { Value } from "../../ir/value.ts";
import { macsOfNode } from "../../ops/cost.ts";
import type { InputShapes } from "../../ops/infer-inputs.ts";
import type { LayerSize } from "../../targets/costs.ts";
import { elementCount } from "../../tensor/tensor.ts";
import { dimsAt } from "./sites.ts";

type Types = ReadonlyMap<Value, ValueType>;

/** Microseconds of float32: calling the runtime takes as long, and what is won or lost below shows nowhere. */
export const LEAST_TIME = 40;

/** The size of a Conv, MatMul or Gemm for one sample; undefined where a shape is not known. */
export function sizeOf(node: Node, types: Types): LayerSize | undefined {
  const outputs = elementsOf(node.output(), types);
  const macs = macsOfNode(node, types);
  if (outputs === undefined || macs === undefined) return undefined;
  // A place of the kernel is met at every place of the result: channels are counted in the multiply-accumulates.
  const weight = dimsAt(node, 1);
  const channels = weight?.[0] ?? 1;
  const taps = node.opType === "Conv" && weight ? (outputs / channels) * elementCount(weight.slice(2)) : 0;
  return { outputs, macs, weights: weight ? elementCount(weight) : 0, taps };
}

/** Of one sample, where only the batch is open. */
export function elementsOf(value: Value, types: Types): number | undefined {
  const type = types.get(value) ?? value.type;
  if (type?.kind !== "tensor" || !type.shape) return undefined;
  const dims = type.shape.map((dim, axis) => (typeof dim === "number" ? dim : axis === 0 ? 1 : undefined));
  return dims.every((dim) => dim !== undefined) ? elementCount(dims as number[]) : undefined;
}

/** Sizes of the first sample where the model leaves them open. */
export async function shapesOf({ graph }: Model, data: Dataset): Promise<InputShapes> {
  for await (const { inputs } of take(data, 1)) {
    const shapes = graph.inputs.flatMap(({ name, type }) => {
      const dims = inputs[name]?.dims;
      if (!dims || type?.kind !== "tensor" || type.shape?.length !== dims.length) return [];
      return [[name, type.shape.map((dim, axis) => (typeof dim === "number" ? dim : (dims[axis] as number)))] as const];
    });
    return Object.fromEntries(shapes);
  }
  return {};
}
