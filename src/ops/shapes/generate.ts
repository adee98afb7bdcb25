/** @file Shape rules: constants, shapes as data, ranges, random numbers. */
import type { Attribute } from "../../ir/attribute.ts";
import type { Dim, Shape } from "../../ir/types.ts";
import { type DType, dtypeOfCode } from "../../tensor/dtype.ts";
import { own } from "../../util/own.ts";
import { addDims, ceilDivideDims, floorDivideDims, maxDim, subtractDims } from "../symbolic/dim.ts";
import { type Call, type MaybeType, type ShapeRule, type ShapeRules, unknownShape } from "./call.ts";
import { rankFrom } from "./reshape.ts";

/** The type that an attribute of Constant stands for, by attribute name. */
const constantTypes: Readonly<Record<string, (attribute: Attribute) => readonly [DType, Shape] | undefined>> = {
  value: (a) => ("value" in a && a.type === "tensor" ? [a.value.dtype, a.value.dims] : undefined),
  sparse_value: (a) => ("value" in a && a.type === "sparse-tensor" ? [a.value.values.dtype, a.value.dims] : undefined),
  value_float: () => ["float32", []],
  value_int: () => ["int64", []],
  value_string: () => ["string", []],
  value_floats: (a) => ("value" in a && a.type === "floats" ? ["float32", [a.value.length]] : undefined),
  value_ints: (a) => ("value" in a && a.type === "ints" ? ["int64", [a.value.length]] : undefined),
  value_strings: (a) => ("value" in a && a.type === "strings" ? ["string", [a.value.length]] : undefined),
};

const constant: ShapeRule = (call) => {
  for (const [name, attribute] of call.node.attributes) {
    const type = own(constantTypes, name)?.(attribute);
    if (type) return [call.out(type[1], type[0])];
  }
  return call.fail("attributes", "a value", "none", "bad-model");
};

/** An attribute that holds an element type, or `fallback` when left out. */
export function dtypeAttribute(call: Call, name: string, fallback: DType | undefined): DType | undefined {
  const code = call.node.int(name);
  return code === undefined || code === 0 ? fallback : dtypeOfCode(code, `${call.node}`);
}

const shapeOp: ShapeRule = (call) => {
  const rank = call.rank(0);
  if (rank === undefined) return [call.out([null])];
  const [from, to] = shapeRange(call, rank);
  return [call.out([Math.max(0, to - from)])];
};

/** The part of the shape that Shape gives, from opset 15 on by `start` and `end`. */
export function shapeRange(call: Call, rank: number): readonly [number, number] {
  const at = (index: number) => Math.min(rank, Math.max(0, index < 0 ? index + rank : index));
  return [at(call.int("start", 0)), at(call.int("end", rank))];
}

const constantOfShape: ShapeRule = (call) => {
  const dtype = call.node.tensor("value")?.dtype ?? "float32";
  return [call.out(call.values(0) ?? rankFrom(call, 0), dtype)];
};

/** max(ceil((limit − start) / delta), 0) numbers. */
const range: ShapeRule = (call) => {
  const delta = call.has(2) ? call.scalar(2) : 1;
  const span = subtractDims(call.scalar(1), call.scalar(0));
  const count = typeof delta === "number" ? ceilDivideDims(span, delta) : null;
  return [call.out([maxDim(count, 0)])];
};

const random: ShapeRule = (call) => [call.out(call.node.ints("shape"), dtypeAttribute(call, "dtype", "float32"))];

const like: ShapeRule = (call) => [call.out(call.shape(0), dtypeAttribute(call, "dtype", call.dtype(0)))];

/** Windows of `size` elements. */
const windowFunction: ShapeRule = (call) => [
  call.out([call.scalar(0)], dtypeAttribute(call, "output_datatype", "float32")),
];

/** [dft_length / 2 + 1, mel bins]. */
const melWeights: ShapeRule = (call) => {
  const bins: Dim = addDims(floorDivideDims(call.scalar(1), 2), 1);
  return [call.out([bins, call.scalar(0)], dtypeAttribute(call, "output_datatype", "float32"))];
};

const multinomial: ShapeRule = (call): readonly MaybeType[] => [
  call.out([call.shape(0)?.[0] ?? null, call.int("sample_size", 1)], dtypeAttribute(call, "dtype", "int32")),
];

export const generate: ShapeRules = {
  Constant: constant,
  ConstantOfShape: constantOfShape,
  Shape: shapeOp,
  Size: (call) => [call.out([])],
  Range: range,
  EyeLike: (call) => [call.out(call.shape(0) ?? unknownShape(2), dtypeAttribute(call, "dtype", call.dtype(0)))],
  RandomNormal: random,
  RandomUniform: random,
  RandomNormalLike: like,
  RandomUniformLike: like,
  Bernoulli: like,
  Multinomial: multinomial,
  HannWindow: windowFunction,
  HammingWindow: windowFunction,
  BlackmanWindow: windowFunction,
  MelWeightMatrix: melWeights,
};

export const contribGenerate: ShapeRules = { Range: range };
