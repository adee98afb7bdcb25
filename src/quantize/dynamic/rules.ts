/** @file Operators with an integer form that quantizes its input as it comes: one row each. */

import { isTurned } from "../formats/products.ts";
import { isDepthwise } from "../static/rules.ts";
import type { WeightForm } from "./codes.ts";
import type { DynamicRule, DynamicUnit } from "./rule.ts";

const last = (rank: number) => rank - 1;
const first = () => 0;

const perColumn: WeightForm = { channel: last, turned: false, zeroPoints: "any" };
const perColumnTurned: WeightForm = { channel: first, turned: true, zeroPoints: "any" };
/** MatMulInteger takes one zero point for stacks of matrices. */
const stack: WeightForm = { channel: last, turned: false, zeroPoints: "one" };
const firstOperand: WeightForm = { channel: first, turned: false, zeroPoints: "any", asActivation: true };
const filters: WeightForm = {
  channel: first,
  turned: false,
  zeroPoints: "one",
  scaleDims: (dims, perChannel) => (perChannel ? [dims[0] ?? 1, ...dims.slice(2).map(() => 1)] : []),
};
const gates: WeightForm = { channel: () => 1, turned: true, zeroPoints: "middle", stacked: true };

/** Whether the constant on the right is stored as [outputs, inputs]. */
function isTurnedWeight({ node, weights }: DynamicUnit): boolean {
  return (
    weights.get(1)?.layer.sites.some((site) => site.node === node && isTurned(site)) ?? node.int("transB", 0) === 1
  );
}

/** Inputs of Attention after the bias, at their places in QAttention. */
const attentionInputs = { maskIndex: 3, past: 4, attentionBias: 5, pastLength: 6 };

export const dynamicRules: Readonly<Record<string, DynamicRule>> = {
  MatMul: {
    activations: [0, 1],
    obstacle: (_, weights, { activationProducts }) =>
      weights.has(0) && !activationProducts
        ? "its weight is the first operand: activationProducts takes those"
        : undefined,
    write(unit, writer) {
      const { node } = unit;
      const form =
        (node.inputs[1]?.tensor?.dims.length ?? 2) > 2 ? stack : isTurnedWeight(unit) ? perColumnTurned : perColumn;
      const [a, b] = [writer.operand(unit, 0, firstOperand), writer.operand(unit, 1, form)];
      writer.scaledSums(node, { opType: "MatMulInteger", a, b });
    },
  },
  Gemm: {
    activations: [0],
    obstacle(node, weights) {
      if (weights.has(0)) return "its weight is the first operand";
      if (node.int("transA", 0) !== 0) return "its first operand is transposed (transA)";
      if (node.float("alpha", 1) !== 1 || (node.inputs[2] && node.float("beta", 1) !== 1))
        return "alpha or beta is not 1";
      return undefined;
    },
    write(unit, writer) {
      const { node } = unit;
      const form = isTurnedWeight(unit) ? perColumnTurned : perColumn;
      const [a, b] = [writer.operand(unit, 0, perColumn), writer.operand(unit, 1, form)];
      writer.scaledSums(node, { opType: "MatMulInteger", a, b }, node.inputs[2]);
    },
  },
  Conv: {
    activations: [0],
    obstacle: (node, _, { depthwise }) =>
      isDepthwise(node) && !depthwise ? "depthwise: slower as integers than as float" : undefined,
    write(unit, writer) {
      const { node } = unit;
      const [a, b] = [writer.operand(unit, 0, filters), writer.operand(unit, 1, filters)];
      const spatial = (node.inputs[1]?.tensor?.dims.length ?? 2) - 2;
      const bias = node.inputs[2] && writer.channelVector(node.inputs[2], spatial, node);
      writer.scaledSums(node, { opType: "ConvInteger", a, b }, bias);
    },
  },
  LSTM: {
    activations: [],
    obstacle(node, weights) {
      if (weights.size < 2) return "its other weight stays float";
      return node.int("layout", 0) === 0 ? undefined : "layout 1: DynamicQuantizeLSTM has the sequence first";
    },
    write(unit, writer) {
      const { node } = unit;
      const [w, r] = [writer.operand(unit, 1, gates), writer.operand(unit, 2, gates)];
      const rest = Array.from({ length: 5 }, (_, i) => node.inputs[i + 3]);
      const parameters = [w.scale, w.zeroPoint, r.scale, r.zeroPoint];
      node.attributes.delete("layout");
      writer.replace(node, "DynamicQuantizeLSTM", [node.input(0), w.codes, r.codes, ...rest, ...parameters]);
    },
  },
  "com.microsoft.Attention": {
    activations: [0],
    obstacle(node) {
      if (!node.inputs[2]) return "QAttention needs a bias";
      if (node.inputs[attentionInputs.attentionBias]) return "QAttention has no attention bias";
      if (node.inputs[attentionInputs.pastLength]) return "QAttention has no length of the past";
      const unknown = ["qkv_hidden_sizes", "rotary_embedding_dim"].find((name) => node.attributes.has(name));
      return unknown && `QAttention has no attribute ${unknown}`;
    },
    write(unit, writer) {
      const { node } = unit;
      const [x, w] = [writer.operand(unit, 0, stack), writer.operand(unit, 1, stack)];
      const [mask, past] = [node.inputs[attentionInputs.maskIndex], node.inputs[attentionInputs.past]];
      const codes = [x.codes, w.codes, node.inputs[2], x.scale, w.scale];
      writer.replace(node, "QAttention", [...codes, mask, x.zeroPoint, w.zeroPoint, past]);
    },
  },
};

/** Why operators that hold weights have no row. */
export const noInteger: Readonly<Record<string, string>> = {
  GRU: "there is no quantized GRU",
  RNN: "there is no quantized RNN",
  ConvTranspose: "there is no integer ConvTranspose",
};
