/** @file When a node gives back its input unchanged: one row per op type. */
import type { Node } from "../../ir/node.ts";
import type { TensorType, ValueType } from "../../ir/types.ts";
import type { Value } from "../../ir/value.ts";
import { dtypeInfo } from "../../tensor/dtype.ts";
import { fixedIntegers, fixedNumbers, fixedTensor } from "../constants.ts";

export interface RuleContext {
  /** Version of the standard operators that the node's graph is written in. */
  readonly opset: number;
  typeOf(value: Value | undefined): ValueType | undefined;
}

/** The value that the node's first output always equals, undefined where that can't be shown. */
export type IdentityRule = (node: Node, ctx: RuleContext) => Value | undefined;

/** Ends of a Slice from here on mean "to the end", whatever the size of the axis. */
const TO_THE_END = 2 ** 31 - 1;

const onlyInput: IdentityRule = (node) => (node.inputs.length === 1 ? node.inputs[0] : undefined);

export const identityRules: Readonly<Record<string, IdentityRule>> = {
  Identity: (node) => node.input(0),
  Concat: onlyInput,
  Max: onlyInput,
  Min: onlyInput,
  Mean: onlyInput,
  Sum: onlyInput,
  // Inference: since opset 7 Dropout is the identity unless training_mode (opset 12) is true.
  Dropout: (node, { opset }) => {
    if (opset < 7) return undefined;
    if (node.inputs[2] && fixedNumbers(node.inputs[2])?.[0] !== 0) return undefined;
    return node.input(0);
  },
  Cast: (node, { typeOf }) => {
    const from = tensorTypeOf(typeOf(node.input(0)))?.dtype;
    return from && dtypeInfo(from).code === node.int("to") ? node.input(0) : undefined;
  },
  CastLike: (node, { typeOf }) => {
    const from = tensorTypeOf(typeOf(node.input(0)))?.dtype;
    return from && from === tensorTypeOf(typeOf(node.input(1)))?.dtype ? node.input(0) : undefined;
  },
  Transpose: (node, { typeOf }) => {
    // Without perm the axes are reversed.
    const keeps = node.ints("perm")?.every((axis, i) => axis === i) ?? (rankOf(typeOf(node.input(0))) ?? 2) < 2;
    return keeps ? node.input(0) : undefined;
  },
  Flatten: (node, { typeOf }) =>
    node.int("axis", 1) === 1 && rankOf(typeOf(node.input(0))) === 2 ? node.input(0) : undefined,
  Reshape: (node, { typeOf }) => {
    const shape = fixedIntegers(node.inputs[1]);
    const dims = tensorTypeOf(typeOf(node.input(0)))?.shape;
    if (!shape || !dims || shape.length !== dims.length) return undefined;
    const copiesZero = node.int("allowzero", 0) === 0;
    const rest = shape.filter((size, i) => !((size === 0 && copiesZero) || size === dims[i]));
    // One size left to be worked out is the input's own, since all the others are.
    const same = rest.length === 0 || (rest.length === 1 && rest[0] === -1 && !dims.includes(0));
    return same ? node.input(0) : undefined;
  },
  Expand: (node, { typeOf }) => {
    const shape = fixedIntegers(node.inputs[1]);
    return shape && broadcastsInto(shape, typeOf(node.input(0))) ? node.input(0) : undefined;
  },
  Tile: (node) => (fixedIntegers(node.inputs[1])?.every((count) => count === 1) ? node.input(0) : undefined),
  Pad: (node) => {
    const pads = node.ints("pads") ?? fixedIntegers(node.inputs[1]);
    return pads?.every((pad) => pad === 0) ? node.input(0) : undefined;
  },
  Slice: (node, { typeOf }) => {
    const [starts, ends, axes, steps] = (["starts", "ends", "axes", "steps"] as const).map(
      (name, i) => node.ints(name) ?? fixedIntegers(node.inputs[i + 1]),
    );
    const dims = tensorTypeOf(typeOf(node.input(0)))?.shape;
    if (!starts || !ends || (node.inputs[3] && !axes) || (node.inputs[4] && !steps)) return undefined;
    const takesAll = starts.every((start, i) => {
      const axis = axes?.[i] ?? i;
      const size = dims?.[axis < 0 ? axis + dims.length : axis];
      const end = ends[i] ?? 0;
      return start === 0 && (steps?.[i] ?? 1) === 1 && (end >= TO_THE_END || (typeof size === "number" && end >= size));
    });
    return takesAll ? node.input(0) : undefined;
  },
  // x + 0 turns -0 into +0; ONNX Runtime drops it at load just the same.
  Add: (node, ctx) => neutral(node, ctx, 1, 0) ?? neutral(node, ctx, 0, 0),
  Sub: (node, ctx) => neutral(node, ctx, 1, 0),
  Mul: (node, ctx) => neutral(node, ctx, 1, 1) ?? neutral(node, ctx, 0, 1),
  Div: (node, ctx) => neutral(node, ctx, 1, 1),
  Pow: (node, ctx) => neutral(node, ctx, 1, 1),
  Squeeze: (node) => undoes(node, "Unsqueeze"),
  Unsqueeze: (node) => undoes(node, "Squeeze"),
};

/** The other operand when the one at `index` is constant, all `value`, and doesn't broadcast the other. */
function neutral(node: Node, ctx: RuleContext, index: number, value: number): Value | undefined {
  const constant = fixedTensor(node.inputs[index]);
  const other = node.input(1 - index);
  if (!constant || constant.size === 0 || !broadcastsInto(constant.dims, ctx.typeOf(other))) return undefined;
  return fixedNumbers(node.inputs[index])?.every((x) => x === value) ? other : undefined;
}

/** Whether a broadcast with these dims leaves the shape of a value as it is. */
function broadcastsInto(dims: readonly number[], type: ValueType | undefined): boolean {
  if (dims.length === 0) return true;
  const shape = tensorTypeOf(type)?.shape;
  if (!shape || dims.length > shape.length) return false;
  const offset = shape.length - dims.length;
  return dims.every((dim, i) => dim === 1 || dim === shape[offset + i]);
}

/** What went into the node before, when that is the inverse: both name the same axes of the longer shape. */
function undoes(node: Node, inverse: string): Value | undefined {
  const before = node.input(0).producer;
  if (before?.opType !== inverse || before.domain !== "") return undefined;
  const axes = axesOf(node);
  const others = axesOf(before);
  if (!axes || !others || axes.length !== others.length) return undefined;
  return axes.every((axis) => others.includes(axis)) ? before.input(0) : undefined;
}

/** The axes of Squeeze or Unsqueeze as attribute (before opset 13) or constant input. */
function axesOf(node: Node): number[] | undefined {
  return node.ints("axes") ?? fixedIntegers(node.inputs[1]);
}

function tensorTypeOf(type: ValueType | undefined): TensorType | undefined {
  return type?.kind === "tensor" ? type : undefined;
}

function rankOf(type: ValueType | undefined): number | undefined {
  return tensorTypeOf(type)?.shape?.length;
}
