/** @file Layers without windows or steps: linear, activations, norms, dropout, flatten, embeddings. */
import type { Attributes } from "../autodiff/operators.ts";
import type { Value } from "../ir/value.ts";
import { dtypeInfo } from "../tensor/dtype.ts";
import { TersorError } from "../util/errors.ts";
import type { Init } from "./init.ts";
import type { Layer } from "./layer.ts";

export interface LinearOptions {
  /** Default true. */
  readonly bias?: boolean;
  readonly init?: Init;
  readonly biasInit?: Init;
}

/** Every vector of [N, features] or [N, steps, features] times a weight; [out, features] as Gemm has it, or [features, out] as MatMul. */
export function linear(
  out: number,
  { bias = true, init = "default", biasInit = "default" }: LinearOptions = {},
): Layer {
  return {
    kind: "linear",
    build: (graph, x) => {
      const { op } = graph;
      const sizes = op.symbolicShape(x).slice(1);
      const total = sizes.every((dim) => typeof dim === "number") ? sizes.reduce((a, b) => a * b, 1) : "features";
      graph.expectRank(
        x,
        ["[N, features]", "[N, steps, features]"],
        `Put flatten() in front of it: it makes [N, ${total}] of this.`,
      );
      const features = graph.size(x, -1);
      const fans = { in: features, out };
      const flat = op.rank(x) === 2;
      const w = graph.parameter("weight", flat ? [out, features] : [features, out], init, fans);
      const b = bias ? graph.parameter("bias", [out], biasInit, fans) : undefined;
      if (flat) return op.Gemm(x, w, ...(b ? [b] : []), { transB: 1 });
      const y = op.MatMul(x, w);
      return b ? op.Add(y, b) : y;
    },
  };
}

/** Activations of one operator, with its attributes. */
const activations = {
  relu: ["Relu", {}],
  gelu: ["Gelu", {}],
  sigmoid: ["Sigmoid", {}],
  tanh: ["Tanh", {}],
  elu: ["Elu", {}],
  selu: ["Selu", {}],
  softplus: ["Softplus", {}],
  mish: ["Mish", {}],
  hardSwish: ["HardSwish", {}],
  hardSigmoid: ["HardSigmoid", { alpha: 1 / 6 }],
  softmax: ["Softmax", { axis: -1 }],
} as const satisfies Readonly<Record<string, readonly [string, Attributes]>>;

export type ActivationName = keyof typeof activations | "silu";

/** The activation of this name. */
export function activation(name: ActivationName): Layer {
  if (name === "silu") return { kind: "silu", build: ({ op }, x) => op.Mul(x, op.Sigmoid(x)) };
  const [opType, attributes] = activations[name];
  return { kind: name.toLowerCase(), build: ({ op }, x) => op.emit(opType, [x, attributes])[0] as Value };
}

export const relu = (): Layer => activation("relu");
/** With the exact error function, not tanh. */
export const gelu = (): Layer => activation("gelu");
/** x times its sigmoid, also called swish. */
export const silu = (): Layer => activation("silu");
export const sigmoid = (): Layer => activation("sigmoid");
export const tanh = (): Layer => activation("tanh");
export const elu = (): Layer => activation("elu");
export const selu = (): Layer => activation("selu");
export const softplus = (): Layer => activation("softplus");
export const mish = (): Layer => activation("mish");
export const hardSwish = (): Layer => activation("hardSwish");
export const hardSigmoid = (): Layer => activation("hardSigmoid");
/** Along the last axis. Cross-entropy takes logits and needs none. */
export const softmax = (): Layer => activation("softmax");

/** x where it is positive, else `slope` times it. */
export function leakyRelu(slope = 0.01): Layer {
  return { kind: "leakyrelu", build: ({ op }, x) => op.LeakyRelu(x, { alpha: slope }) };
}

/** [N, …] to [N, product of the rest]. */
export function flatten(): Layer {
  return { kind: "flatten", build: ({ op }, x) => op.emit("Flatten", [x, { axis: 1 }])[0] as Value };
}

/** Drops elements in training, with probability `rate`, and scales the others up; what the file holds passes everything on. */
export function dropout(rate = 0.5): Layer {
  if (!(rate >= 0 && rate < 1))
    throw new TersorError(
      "bad-recipe",
      `dropout: rate: expected from 0 to below 1, got ${rate}. Give a share to drop.`,
    );
  const build: Layer["build"] = ({ op }, x) => op.emit("Dropout", [x, op.constant("float32", [], [rate])])[0] as Value;
  return { kind: "dropout", build: rate === 0 ? (_, x) => x : build };
}

/** Normalizes channels of [N, C, …] by the batch in training, by running statistics after it. `momentum`: the batch's share in these. */
export function batchNorm({ epsilon = 1e-5, momentum = 0.1 } = {}): Layer {
  return {
    kind: "batchnorm",
    build: (graph, x) => {
      const channels = [graph.size(x, 1)];
      const inputs = [
        graph.parameter("weight", channels, "ones"),
        graph.parameter("bias", channels, "zeros"),
        graph.parameter("mean", channels, "zeros"),
        graph.parameter("variance", channels, "ones"),
      ];
      return graph.op.emit("BatchNormalization", [x, ...inputs, { epsilon, momentum: 1 - momentum }])[0] as Value;
    },
  };
}

/** Normalizes every vector along the last axis. */
export function layerNorm({ epsilon = 1e-5 } = {}): Layer {
  return {
    kind: "layernorm",
    build: (graph, x) => {
      const features = [graph.size(x, -1)];
      const [weight, bias] = [graph.parameter("weight", features, "ones"), graph.parameter("bias", features, "zeros")];
      return graph.op.emit("LayerNormalization", [x, weight, bias, { axis: -1, epsilon }])[0] as Value;
    },
  };
}

/** A learned vector for each of `count` integers: [N, …] to [N, …, features]. */
export function embedding(count: number, features: number, { init = "normal" }: { readonly init?: Init } = {}): Layer {
  return {
    kind: "embedding",
    build: (graph, x) => {
      const { kind } = dtypeInfo(graph.op.dtype(x));
      if (kind !== "int") throw graph.misfit(x, "integers", 'Give the model\'s input dtype "int64".');
      return graph.op.Gather(graph.parameter("weight", [count, features], init, { in: count, out: features }), x);
    },
  };
}
