/**
 * @file How each operator is quantized: one row per operator. What ONNX Runtime 1.30 makes of it was checked with dumped
 * graphs, operator by operator (static.run.test.ts).
 */
import type { Node } from "../../ir/node.ts";
import type { Value } from "../../ir/value.ts";
import type { KernelName } from "../../targets/target.ts";
import { own } from "../../util/own.ts";
import { dimsAt, opKey } from "../layers/sites.ts";

/** An operator that computes with integers. */
export interface IntegerRule {
  /** anchor: quantized for its own sake; follower: only between operators that are integer anyway. */
  readonly role: "anchor" | "follower";
  /** Inputs whose codes it reads: activations and constants alike. */
  readonly inputs: (node: Node) => readonly number[];
  /** Slot of a constant weight, which has a type of its own and a scale per channel where asked. */
  readonly weight?: number;
  /** Whether the weight may stand behind a Transpose. */
  readonly seesThroughTranspose?: boolean;
  /** Slot of a bias that is stored as int32. */
  readonly bias?: number;
  /** required: without QuantizeLinear right after it, it runs in float. optional: it can also give floats. */
  readonly output: "required" | "optional";
  /** The range of its results where that is known beforehand. */
  readonly range?: { readonly min: number; readonly max: number };
  /** The kernel that the target is asked about. */
  readonly kernel: (node: Node) => KernelName;
  /** Why this form of the operator has no integer kernel. */
  readonly obstacle?: (node: Node) => string | undefined;
}

const first = () => [0];
const both = () => [0, 1];
const every = (node: Node) => node.inputs.map((_, index) => index);
const always = (name: KernelName) => () => name;

const follower = (name: KernelName, inputs: IntegerRule["inputs"] = first): IntegerRule => ({
  role: "follower",
  inputs,
  output: "required",
  kernel: always(name),
});

/** Whether every channel of a Conv is on its own: runtimes have kernels for that, whose sums do not saturate. */
export function isDepthwise(node: Node): boolean {
  const group = node.int("group", 1);
  const dims = node.inputs[1]?.tensor?.dims;
  return opKey(node) === "Conv" && group > 1 && dims?.[0] === group && dims[1] === 1;
}

/** Whether the bias of a Gemm is one number per output channel: [n] or [1, n]. */
function isPerChannel(node: Node, dims: readonly number[]): boolean {
  const weight = dimsAt(node, 1);
  return (
    dims.length > 0 &&
    dims.at(-1) === weight?.[node.int("transB", 0) === 1 ? 0 : 1] &&
    dims.slice(0, -1).every((dim) => dim === 1)
  );
}

export const integerRules: Readonly<Record<string, IntegerRule>> = {
  Conv: {
    role: "anchor",
    inputs: both,
    weight: 1,
    bias: 2,
    output: "required",
    kernel: (node) => (isDepthwise(node) ? "Conv depthwise" : "Conv"),
  },
  MatMul: {
    role: "anchor",
    inputs: both,
    weight: 1,
    seesThroughTranspose: true,
    output: "optional",
    kernel: always("MatMul"),
    obstacle: (node) =>
      node.inputs.some((input) => input?.tensor?.dims.length === 1)
        ? "a product with a vector: there are no channels"
        : undefined,
  },
  Gemm: {
    role: "anchor",
    inputs: both,
    weight: 1,
    seesThroughTranspose: true,
    bias: 2,
    output: "optional",
    kernel: always("Gemm"),
    obstacle: (node) => {
      if (node.float("alpha", 1) !== 1 || (node.inputs[2] && node.float("beta", 1) !== 1))
        return "alpha or beta is not 1: there is no integer kernel";
      const bias = node.inputs[2];
      if (bias && (!bias.tensor || bias.isInput)) return "its bias is computed at run time: there is no integer kernel";
      if (bias?.tensor && !isPerChannel(node, bias.tensor.dims))
        return "its bias differs from row to row: there is no integer kernel";
      return undefined;
    },
  },
  Add: follower("Add", both),
  Mul: follower("Mul", both),
  Concat: follower("Concat", every),
  LeakyRelu: follower("LeakyRelu"),
  AveragePool: follower("AveragePool"),
  GlobalAveragePool: follower("GlobalAveragePool"),
  Sigmoid: { ...follower("Sigmoid"), range: { min: 0, max: 255 / 256 } },
};

/** An operator that only moves elements: it works on codes as it does on floats, and shares scale and zero point with its input. */
export interface MovingRule {
  readonly obstacle?: (node: Node) => string | undefined;
}

const oneOutput: MovingRule = {
  obstacle: (node) => (node.outputs.length > 1 ? "it also gives the places of the largest elements" : undefined),
};
const plain: MovingRule = {};

export const movingRules: Readonly<Record<string, MovingRule>> = {
  MaxPool: oneOutput,
  Resize: {
    obstacle: (node) =>
      node.string("mode", "nearest") === "cubic" ? "cubic interpolation leaves the range of its input" : undefined,
  },
  Transpose: plain,
  Reshape: plain,
  Gather: plain,
  Flatten: plain,
  Split: plain,
  Slice: plain,
  Squeeze: plain,
  Unsqueeze: plain,
  Expand: plain,
  Tile: plain,
  DepthToSpace: plain,
};

/** A product with, or a quotient by, one positive constant: the same codes with another scale, so that nothing is left to compute. */
export function rescaleOf(node: Node): { readonly input: Value; readonly factor: number } | undefined {
  return own(rescales, opKey(node))?.(node);
}

const rescales: Readonly<Record<string, (node: Node) => { input: Value; factor: number } | undefined>> = {
  Mul: (node) =>
    scaled(node.inputs[0], positiveScalar(node.inputs[1])) ?? scaled(node.inputs[1], positiveScalar(node.inputs[0])),
  Div: (node) => scaled(node.inputs[0], 1 / (positiveScalar(node.inputs[1]) ?? 0)),
};

function scaled(input: Value | undefined, factor: number | undefined) {
  const isUsable = input && !input.isConstant && factor !== undefined && Number.isFinite(factor);
  return isUsable ? { input, factor } : undefined;
}

function positiveScalar(value: Value | undefined): number | undefined {
  const tensor = value?.isInput ? undefined : value?.tensor;
  if (tensor?.dtype !== "float32" || tensor.size !== 1 || tensor.dims.length > 1) return undefined;
  const [factor = 0] = tensor.toFloat32();
  return factor > 2 ** -40 && factor < 2 ** 40 ? factor : undefined;
}

/** Operators that candidates for a float island belong to, with the reason. Those not named here are not remarked on. */
export const floatReasons: Readonly<Record<string, string>> = {
  ConvTranspose: "there is no integer kernel",
  LSTM: "recurrent: errors of 8-bit states add up; quantize its weights only",
  GRU: "recurrent: there is no integer kernel; quantize its weights only",
  RNN: "recurrent: there is no integer kernel; quantize its weights only",
  Softmax: "stays float: 8 bits are too few for probabilities",
  LayerNormalization: "stays float: there is no integer kernel",
  "com.microsoft.Attention": "stays float: quantize its weights only",
};

export const ruleOf = (node: Node): IntegerRule | undefined => own(integerRules, opKey(node));
export const movingRuleOf = (node: Node): MovingRule | undefined => own(movingRules, opKey(node));
export const floatReasonOf = (node: Node): string | undefined => own(floatReasons, opKey(node));

/** The bounds that Relu or Clip with constant limits cut its input to, when 0 lies in them: QuantizeLinear can then do it. */
export function clampOf(node: Node): { readonly min: number; readonly max: number } | undefined {
  return own(clamps, opKey(node))?.(node);
}

const clamps: Readonly<Record<string, (node: Node) => { min: number; max: number } | undefined>> = {
  Relu: () => ({ min: 0, max: Number.POSITIVE_INFINITY }),
  Clip: (node) => {
    const limits = [1, 2].map((index) => {
      const value = node.inputs[index];
      if (value && value.tensor?.dtype !== "float32") return undefined;
      return value?.tensor?.toFloat32()[0] ?? (index === 1 ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY);
    });
    const [min, max] = limits;
    return min !== undefined && max !== undefined && min <= 0 && max > 0 ? { min, max } : undefined;
  },
};
