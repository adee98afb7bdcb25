/** @file Where a changed model rounds: activations with codes, layers with coded weights, values in float16, clamps that are gone. */
import type { Model } from "../../ir/model.ts";
import type { Node } from "../../ir/node.ts";
import type { ValueType } from "../../ir/types.ts";
import type { Use, Value } from "../../ir/value.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { own } from "../../util/own.ts";
import { type CodedWeight, codedWeight, type WeightLayout, weightLayout } from "./weights.ts";

/** Codes of an activation: value = (code − zeroPoint) · scale, code from qmin to qmax. */
export interface Codes {
  readonly dtype: string;
  readonly scale: number;
  readonly zeroPoint: number;
  readonly qmin: number;
  readonly qmax: number;
  /** The smallest and largest number that the codes stand for. */
  readonly low: number;
  readonly high: number;
}

/** An activation of the original that the changed model rounds to codes. */
export interface CodedSite {
  /** Its name in the original. */
  readonly value: string;
  /** "dynamic": measured while the model runs. */
  readonly codes: Codes | "dynamic";
  /** Nodes of the changed model that read the rounded value. */
  readonly readers: readonly Use[];
  /** Axis of the channels; undefined where the rank is not known. */
  readonly axis: number | undefined;
  /** Sizes along `axis` of what a Concat joined, where one gives the value; a null is one not known. */
  readonly parts?: readonly (number | null)[];
  readonly isInput: boolean;
}

/** A layer with weights of the changed model. */
export interface LayerSite {
  /** Name of its output in both models. */
  readonly value: string;
  readonly node: Node;
  /** The operator, as the original has it. */
  readonly opType: string;
  /** What it reads, in the original. */
  readonly input: string | undefined;
  /** The rounding of what it reads. */
  readonly coded: CodedSite | undefined;
  readonly weight: CodedWeight | undefined;
  readonly layout: WeightLayout | undefined;
  /** The float weight of the original, where it is the same constant. */
  readonly original: Tensor | undefined;
  /** Bits of a weight, also where its codes are not read here. */
  readonly bits: number;
}

/** A Relu or Clip of the original that the changed model leaves to the codes behind it. */
export interface ClampSite {
  readonly input: string;
  readonly output: string;
  readonly codes: Codes;
  readonly bounds: { readonly min: number; readonly max: number };
  /** The clamp is still there: the codes reach beyond it, which costs speed alone. */
  readonly kept: boolean;
}

export interface Sites {
  readonly coded: readonly CodedSite[];
  readonly layers: readonly LayerSite[];
  readonly clamps: readonly ClampSite[];
  /** Values that are float32 in the original and float16 in the changed model. */
  readonly halves: readonly string[];
}

export type Types = ReadonlyMap<Value, ValueType>;

const limits: Readonly<Record<string, readonly [number, number]>> = {
  uint8: [0, 255],
  int8: [-128, 127],
  uint16: [0, 65_535],
  int16: [-32_768, 32_767],
  uint4: [0, 15],
  int4: [-8, 7],
};

/** Finds them. @param types of the original's values; `changedTypes` of the other's */
export function findSites(original: Model, changed: Model, types: Types, changedTypes: Types): Sites {
  const isFloat = (name: string) => {
    const value = original.graph.find(name);
    return value !== undefined && !value.tensor && dtypeOf(value, types) === "float32";
  };
  const coded = changed.graph.nodes.flatMap((node) => codedSite(node, original, types, isFloat));
  return {
    coded,
    layers: changed.graph.nodes.flatMap((node) => layerSite(node, original, coded, isFloat)),
    clamps: original.graph.nodes.flatMap((node) => clampSite(node, changed)),
    halves: [...changed.graph.values]
      .filter((value) => value.producer && dtypeOf(value, changedTypes) === "float16" && isFloat(value.name))
      .map(({ name }) => name),
  };
}

function dtypeOf(value: Value, types: Types): string | undefined {
  const type = types.get(value) ?? value.type;
  return type?.kind === "tensor" ? type.dtype : undefined;
}

function rankOf(value: Value, types: Types): number | undefined {
  const type = types.get(value) ?? value.type;
  return type?.kind === "tensor" ? type.shape?.length : undefined;
}

/** Codes with one scale for the whole tensor, of a QuantizeLinear or DequantizeLinear; undefined for others. */
function codesOf(node: Node): Codes | undefined {
  const scale = node.inputs[1]?.tensor;
  const zero = node.inputs[2]?.tensor;
  const dtype = zero?.dtype ?? "uint8";
  const range = limits[dtype];
  if (scale?.size !== 1 || (zero && zero.size !== 1) || !range) return undefined;
  const [step = 1] = scale.toFloat32();
  const [zeroPoint = 0] = zero?.toNumbers() ?? [];
  const [qmin, qmax] = range;
  const [low, high] = [(qmin - zeroPoint) * step, (qmax - zeroPoint) * step];
  return { dtype, scale: step, zeroPoint, qmin, qmax, low, high };
}

function codedSite(node: Node, original: Model, types: Types, isFloat: (name: string) => boolean): CodedSite[] {
  const isDynamic = node.opType === "DynamicQuantizeLinear";
  if (!isDynamic && node.opType !== "QuantizeLinear") return [];
  const codes = isDynamic ? "dynamic" : codesOf(node);
  const back = node
    .output()
    .users()
    .filter((user) => user.opType === "DequantizeLinear");
  const names = [node.input(0).name, ...back.map((each) => each.output().name)];
  const name = names.find(isFloat);
  if (!codes || name === undefined) return [];
  const readers = isDynamic ? [...node.output().uses] : back.flatMap((each) => [...each.output().uses]);
  const value = original.graph.find(name) as Value;
  const rank = rankOf(value, types);
  const concat = value.producer?.opType === "Concat" ? value.producer : undefined;
  const isConv = readers.some((use) => use.node.opType.startsWith("Conv"));
  const isMatMul = readers.some((use) => /^(MatMul|Gemm)/.test(use.node.opType));
  const usual = isConv || (!isMatMul && (rank ?? 0) > 3) ? 1 : -1;
  const axis = concat ? concat.int("axis", 1) : usual;
  const size = (part: Value | undefined) => {
    const type = part && (types.get(part) ?? part.type);
    const dim = type?.kind === "tensor" ? type.shape?.at(axis) : undefined;
    return typeof dim === "number" ? dim : null;
  };
  return [
    {
      value: name,
      codes,
      readers,
      axis: rank === undefined || rank === 0 ? undefined : axis < 0 ? axis + rank : axis,
      isInput: value.isInput,
      ...(concat && { parts: concat.inputs.map(size) }),
    },
  ];
}

/** The slots of weights, by operator, and what the original calls the operator. */
const forms: Readonly<Record<string, string>> = {
  Conv: "Conv",
  ConvInteger: "Conv",
  MatMul: "MatMul",
  MatMulInteger: "MatMul",
  MatMulNBits: "MatMul",
  Gemm: "Gemm",
};

function layerSite(
  node: Node,
  original: Model,
  coded: readonly CodedSite[],
  isFloat: (name: string) => boolean,
): LayerSite[] {
  const opType = own(forms, node.opType);
  if (!opType || !isWeight(node)) return [];
  const { value, scales } = followSums(node, isFloat);
  if (value === undefined) return [];
  const before = original.graph.find(value)?.producer;
  const weight = node.opType.endsWith("Integer") ? integerWeight(node, scales) : codedWeight(node.inputs[1]);
  const known = before?.inputs[1]?.tensor;
  const same = weight && known?.dtype === "float32" && known.dims.join() === weight.dims.join();
  const rounded = coded.find(({ readers }) => readers.some((use) => use.node === node && use.index === 0));
  const input = rounded?.value ?? (before?.opType === opType ? before.inputs[0]?.name : node.input(0).name);
  return [
    {
      value,
      node,
      opType,
      input: input !== undefined && isFloat(input) ? input : undefined,
      coded: rounded,
      weight,
      layout: weight && weightLayout(node.opType, node, weight.dims),
      original: same ? known : undefined,
      bits: weight?.bits ?? (node.opType === "MatMulNBits" ? node.int("bits", 4) : 32),
    },
  ];
}

function isWeight(node: Node): boolean {
  const value = node.inputs[1];
  const stored = value?.producer?.opType === "DequantizeLinear" ? value.producer.inputs[0] : value;
  return Boolean(stored?.tensor ?? stored?.producer?.inputs[0]?.tensor);
}

/** From an integer operator on to the value that the original knows, with the constant scales on the way. */
function followSums(node: Node, isFloat: (name: string) => boolean): { value: string | undefined; scales?: Tensor } {
  let output = node.output();
  let scales: Tensor | undefined;
  for (let steps = 0; steps < 5; steps++) {
    if (isFloat(output.name)) return { value: output.name, ...(scales && { scales }) };
    const [next, ...more] = output.users();
    if (!next || more.length > 0 || !["Cast", "Mul", "Add", "Reshape"].includes(next.opType)) break;
    const other = next.inputs.find((input) => input !== output);
    if (next.opType === "Mul") scales ??= other?.producer?.inputs.find((input) => input?.tensor)?.tensor;
    output = next.output();
  }
  return { value: undefined };
}

function integerWeight(node: Node, scales: Tensor | undefined): CodedWeight | undefined {
  const { name, tensor } = node.input(1);
  if (!tensor || !scales) return undefined;
  const axis = node.opType === "ConvInteger" ? 0 : tensor.dims.length - 1;
  const zeroPoints = node.inputs[3]?.tensor;
  return { name, dims: tensor.dims, codes: tensor, scales, zeroPoints, axis, block: 0, bits: 8 };
}

const clamps: Readonly<Record<string, (node: Node) => { min: number; max: number }>> = {
  Relu: () => ({ min: 0, max: Number.POSITIVE_INFINITY }),
  Clip: (node) => ({
    min: node.inputs[1]?.tensor?.toFloat32()[0] ?? node.float("min", Number.NEGATIVE_INFINITY),
    max: node.inputs[2]?.tensor?.toFloat32()[0] ?? node.float("max", Number.POSITIVE_INFINITY),
  }),
};

function clampSite(node: Node, changed: Model): ClampSite[] {
  const bounds = own(clamps, node.opType)?.(node);
  if (!bounds) return [];
  const [input, output] = [node.input(0).name, node.output().name];
  const twin = changed.graph.find(output);
  const kept = twin?.producer?.opType === node.opType;
  const quantizers = (kept ? twin : changed.graph.find(input))
    ?.users()
    .filter((user) => user.opType === "QuantizeLinear");
  const codes = quantizers?.[0] && codesOf(quantizers[0]);
  if (!codes) return [];
  const step = codes.scale / 2;
  const reaches = codes.low < bounds.min - step || codes.high > bounds.max + step;
  return reaches ? [{ input, output, codes, bounds, kept }] : [];
}
