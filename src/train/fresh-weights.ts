/** @file Weights drawn anew: the graph as it would be before any training. */
import { parametersOf } from "../autodiff/parameters.ts";
import type { Model } from "../ir/model.ts";
import type { Node } from "../ir/node.ts";
import type { Fans, Init } from "../nn/init.ts";
import { initialTensor } from "../nn/init.ts";
import { exposeWeights } from "../passes/expose-weights.ts";
import { dtypeInfo } from "../tensor/dtype.ts";
import { fromNumbers } from "../tensor/tensor.ts";
import { own } from "../util/own.ts";

interface Beginning {
  readonly init: Init;
  /** From the weight's dims; needless where the rule has no use for them. */
  fans?(dims: readonly number[], node: Node): Fans;
}

const product = (dims: readonly number[]) => dims.reduce((all, dim) => all * dim, 1);
const ones: Beginning = { init: "ones" };
const zeros: Beginning = { init: "zeros" };
const layer = (fans: NonNullable<Beginning["fans"]>): Beginning => ({ init: "default", fans });
const normed = { 1: ones, 2: zeros };
const recurrent: Beginning = layer(([, , size = 1], node) => ({ in: node.int("hidden_size", size), out: size }));

/** By operator, then by input. */
const beginnings: Readonly<Record<string, Readonly<Record<number, Beginning>>>> = {
  // [out, in / groups, kernel], before a ReLU as a rule
  Conv: {
    1: { init: "kaiming-normal", fans: ([out = 1, ...rest]) => ({ in: product(rest), out }) },
    2: zeros,
  },
  // [in, out / groups, kernel]
  ConvTranspose: {
    1: { init: "kaiming-normal", fans: ([inputs = 1, out = 1, ...kernel]) => ({ in: inputs * product(kernel), out }) },
    2: zeros,
  },
  Gemm: {
    1: layer(([rows = 1, columns = 1], node) =>
      node.int("transB", 0) === 1 ? { in: columns, out: rows } : { in: rows, out: columns },
    ),
    2: zeros,
  },
  MatMul: {
    0: layer((dims) => ({ in: dims.at(-1) ?? 1, out: dims.at(-2) ?? 1 })),
    1: layer((dims) => ({ in: dims.at(-2) ?? 1, out: dims.at(-1) ?? 1 })),
  },
  Add: { 0: zeros, 1: zeros },
  Gather: { 0: { init: "xavier-normal", fans: (dims) => ({ in: dims.at(-1) ?? 1, out: dims.at(-1) ?? 1 }) } },
  BatchNormalization: { ...normed, 3: zeros, 4: ones },
  InstanceNormalization: normed,
  GroupNormalization: normed,
  LayerNormalization: normed,
  SkipLayerNormalization: { 2: ones, 3: zeros, 4: zeros },
  RMSNormalization: { 1: ones },
  LSTM: { 1: recurrent, 2: recurrent, 3: recurrent },
  GRU: { 1: recurrent, 2: recurrent, 3: recurrent },
  RNN: { 1: recurrent, 2: recurrent, 3: recurrent },
};

export interface FreshModel {
  readonly model: Model;
  /** Names of parameters that stay as they were: nobody knows how they begin. */
  readonly kept: readonly string[];
}

/** The same graph with weights as they would begin, by the rules of {@link beginnings}; the seed and their names decide. */
export function freshWeights(given: Model, seed: number): FreshModel {
  const model = exposeWeights(given).model.clone();
  const { graph } = model;
  const drawn = new Set<string>();
  for (const node of graph.nodes)
    for (const [index, { init, fans }] of Object.entries(own(beginnings, node.opType) ?? {})) {
      const value = node.inputs[Number(index)];
      const { tensor } = value ?? {};
      // A single number is a constant of the formula.
      if (!value || !tensor || tensor.size < 2 || dtypeInfo(tensor.dtype).kind !== "float" || drawn.has(value.name))
        continue;
      const { dims, dtype } = tensor;
      const drawing = { dims, fans: fans?.(dims, node) ?? { in: 1, out: 1 }, seed, name: value.name };
      value.tensor = fromNumbers(dtype, dims, initialTensor(init, drawing).toNumbers());
      drawn.add(value.name);
    }
  return { model, kept: parametersOf(graph).flatMap(({ name }) => (drawn.has(name) ? [] : [name])) };
}
