/** @file Why constants that are no weights stay float: a row for each operator and input. What has no row is said to have none. */
import type { Node } from "../../ir/node.ts";
import { opKey } from "./sites.ts";
import { weightRules } from "./weight-rules.ts";

const bias = "a bias, which is added in float and hardly counts";
const norm = "scale or shift of a normalization, which is computed in float";
const scales = "scales of codes";
const operand = "an operand of element-wise arithmetic, which no kernel takes as codes";
const moved = "it is moved, not multiplied";
const state = "initial states or peepholes, which the operator takes as floats";

/** From this input on, one reason. */
type Row = readonly (readonly [from: number, reason: string])[];

const rows: Readonly<Record<string, Row>> = {
  Conv: [[2, bias]],
  ConvTranspose: [[2, bias]],
  Gemm: [[2, bias]],
  "com.microsoft.FusedConv": [[2, bias]],
  "com.microsoft.FusedGemm": [[2, bias]],
  "com.microsoft.Attention": [[2, bias]],
  "com.microsoft.MultiHeadAttention": [[3, bias]],
  "com.microsoft.BiasGelu": [[1, bias]],
  "com.microsoft.FastGelu": [[1, bias]],
  ConvInteger: [[0, scales]],
  LSTM: [
    [3, bias],
    [5, state],
  ],
  GRU: [
    [3, bias],
    [5, state],
  ],
  RNN: [
    [3, bias],
    [5, state],
  ],
  ...Object.fromEntries(
    [
      "BatchNormalization",
      "InstanceNormalization",
      "LayerNormalization",
      "GroupNormalization",
      "RMSNormalization",
      "SimplifiedLayerNormalization",
      "com.microsoft.SimplifiedLayerNormalization",
      "com.microsoft.GroupNorm",
    ].map((op) => [op, [[1, norm]]] as const),
  ),
  "com.microsoft.SkipLayerNormalization": [[2, norm]],
  "com.microsoft.SkipSimplifiedLayerNormalization": [[2, norm]],
  DequantizeLinear: [[1, scales]],
  QuantizeLinear: [[1, scales]],
  "com.microsoft.DequantizeLinear": [[1, scales]],
  "com.microsoft.QuantizeLinear": [[1, scales]],
  QLinearConv: [[1, scales]],
  QLinearMatMul: [[1, scales]],
  ...Object.fromEntries(
    ["MatMulNBits", "MatMulBnb4", "GatherBlockQuantized", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM", "QAttention"]
      .concat(["MatMulIntegerToFloat", "QGemm", "QLinearAdd", "QLinearMul", "QMoE"])
      .map((op) => [`com.microsoft.${op}`, [[1, scales]]] as const),
  ),
  PRelu: [[1, "slopes, which no kernel takes as codes"]],
  ...Object.fromEntries(
    "Add Sub Mul Div Pow Max Min Sum Mean Where Mod Clip And Or Equal Less Greater LessOrEqual GreaterOrEqual"
      .split(" ")
      .map((op) => [op, [[0, operand]]] as const),
  ),
  ...Object.fromEntries(
    "Concat Reshape Transpose Squeeze Unsqueeze Flatten Split Expand Tile Pad Identity Slice GatherND GatherElements ScatterND ScatterElements"
      .split(" ")
      .map((op) => [op, [[0, moved]]] as const),
  ),
  Gather: [[0, moved]],
};

/** Why an input of a node is read as floats. */
export function floatReason(node: Node, input: number): string {
  const row = rows[opKey(node)]?.findLast(([from]) => input >= from);
  if (row) return row[1];
  const dims = node.inputs[input]?.tensor?.dims ?? [];
  const rule = weightRules[opKey(node)];
  const axes = rule?.inputs.includes(input) ? rule.axes(node, input, dims) : undefined;
  return typeof axes === "string"
    ? axes
    : `${opKey(node)} "${node.name || node.outputs.find((output) => output)?.name}" reads it: no row for this operator and input`;
}
