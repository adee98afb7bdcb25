/** @file Shape rules: sequences and optional values. */
import type { Dim, Shape, ValueType } from "../../ir/types.ts";
import { tensorType } from "../../ir/types.ts";
import { floorDivideDims, multiplyDims, sameDim } from "../symbolic/dim.ts";
import type { Call, MaybeType, ShapeRule, ShapeRules } from "./call.ts";
import { dtypeAttribute } from "./generate.ts";
import { eitherType } from "./merge.ts";

function sequenceOf(element: MaybeType): readonly MaybeType[] {
  return [element && { kind: "sequence", element }];
}

/** The element type of a sequence input. @throws bad-model when it is no sequence. */
function elementOf(call: Call, index: number): MaybeType {
  const type = call.types[index];
  if (!type || type.kind === "sequence") return type?.element;
  return call.fail(`input ${index}`, "a sequence", type.kind, "bad-model");
}

const construct: ShapeRule = (call) => sequenceOf(call.types.reduce(eitherType));

const insert: ShapeRule = (call) => sequenceOf(eitherType(elementOf(call, 0), call.types[1]));

/** Parts of 1 by default, of one size, or of the sizes given; without keepdims parts of 1 lose the axis. */
const splitToSequence: ShapeRule = (call) => {
  const type = call.tensor(0);
  if (!type?.shape) return sequenceOf(type && tensorType(type.dtype));
  const axis = call.axis(call.int("axis", 0), type.shape.length);
  const keep = call.flag("keepdims", true) || call.has(1);
  return sequenceOf(
    tensorType(
      type.dtype,
      type.shape.map((dim, i) => (i === axis ? partSize(call, dim) : dim)).filter((_, i) => keep || i !== axis),
    ),
  );
};

/** The size that all parts have, if they have one. */
function partSize(call: Call, dim: Dim): Dim {
  if (!call.has(1)) return 1;
  const sizes = call.values(1);
  const [first = null] = sizes ?? [];
  if (call.rank(1) !== 0) return sizes?.every((size) => sameDim(size, first)) ? first : null;
  return sameDim(multiplyDims(floorDivideDims(dim, first), first), dim) ? first : null;
}

const concatFromSequence: ShapeRule = (call) => {
  const element = elementOf(call, 0);
  if (element?.kind !== "tensor") return [];
  const { shape, dtype } = element;
  if (!shape) return [tensorType(dtype)];
  const stacks = call.flag("new_axis");
  const axis = call.axis(call.int("axis", 0), shape.length, stacks ? 1 : 0);
  const dims: Shape = stacks
    ? [...shape.slice(0, axis), null, ...shape.slice(axis)]
    : shape.map((dim, i) => (i === axis ? null : dim));
  return [tensorType(dtype, dims)];
};

const makeOptional: ShapeRule = (call) => {
  const type = call.has(0) ? call.types[0] : call.node.get("type", "type");
  return [type && { kind: "optional", element: type }];
};

/** From opset 18 on a value that is no optional is its own element. */
const getElement: ShapeRule = (call) => {
  const type: ValueType | undefined = call.types[0];
  return [type?.kind === "optional" ? type.element : type];
};

export const sequences: ShapeRules = {
  SequenceEmpty: (call) => sequenceOf(tensorType(dtypeAttribute(call, "dtype", undefined) ?? "float32")),
  SequenceConstruct: construct,
  SequenceInsert: insert,
  SequenceErase: (call) => [call.types[0]],
  SequenceAt: (call) => [elementOf(call, 0)],
  SequenceLength: (call) => [call.out([], "int64")],
  SplitToSequence: splitToSequence,
  ConcatFromSequence: concatFromSequence,
  Optional: makeOptional,
  OptionalHasElement: (call) => [call.out([], "bool")],
  OptionalGetElement: getElement,
};
