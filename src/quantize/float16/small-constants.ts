/**
 * @file Constants that float16 is too coarse for. Below 6e-5 its numbers are 6e-8 apart, and below 3e-8 there is none but 0: an epsilon
 * that keeps a logarithm from infinity, a variance that is divided by, a factor of 1e-10.
 */
import type { Node } from "../../ir/node.ts";
import { floatToHalf, halfToFloat } from "../../tensor/half.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { own } from "../../util/own.ts";
import { opKey } from "../layers/sites.ts";
import type { ConstantRange } from "./constants.ts";

/** Where float16 keeps too little of a constant: what is wrong, and whether what is computed of it is small as well. */
export interface TooSmall {
  readonly reason: string;
  readonly isSmall: boolean;
}

/** How far float16 may move a number, as a share of it. */
interface Tolerance {
  /** Of single numbers, and of tensors whose largest element this concerns. */
  readonly share: number;
  /** Whether each element counts by itself, not the largest alone: what divides by it makes the smallest the most important. */
  readonly each?: boolean;
  /** Whether the result is as small as the constant. */
  readonly isSmall?: boolean;
}

/** A number that is added or compared with: it need not be exact, but it must be there. */
const bound: Tolerance = { share: 1 / 8, isSmall: true };
const factor: Tolerance = { share: 2 ** -8, isSmall: true };
const divisor: Tolerance = { share: 2 ** -8, each: true };

/** By operator and input; others hold weights, of which the largest must be more than a few steps of 6e-8, and behind them biases. */
const tolerances: Readonly<Record<string, Readonly<Record<number, Tolerance>>>> = {
  Add: { 0: bound, 1: bound },
  Sub: { 0: bound, 1: bound },
  Max: { 0: bound, 1: bound, 2: bound },
  Min: { 0: bound, 1: bound, 2: bound },
  Clip: { 1: bound, 2: bound },
  Where: { 1: bound, 2: bound },
  Concat: { 0: bound, 1: bound, 2: bound, 3: bound },
  Pad: { 2: bound },
  Expand: { 0: bound },
  Mul: { 0: factor, 1: factor },
  Div: { 0: factor, 1: divisor },
  Reciprocal: { 0: divisor },
  Log: { 0: divisor },
  Sqrt: { 0: divisor },
  Pow: { 0: divisor },
};
const weight: Tolerance = { share: 2 ** -8 };

/** How far float16 may move what a batch norm divides by. */
const VARIANCE = 2 ** -7;

export function tooSmall(node: Node, input: number, tensor: Tensor, { largest }: ConstantRange): TooSmall | undefined {
  const name = node.inputs[input]?.name ?? "";
  if (opKey(node) === "BatchNormalization" && input === 4) return smallVariance(node, tensor);
  const tolerance = own(tolerances, opKey(node))?.[input] ?? (input <= 1 ? weight : undefined);
  if (!tolerance) return undefined;
  const { share, each = false, isSmall = false } = tolerance;
  const worst = each ? firstMoved(tensor, share) : moved(largest) > share ? largest : undefined;
  if (worst === undefined || worst === 0) return undefined;
  const what = tensor.size === 1 ? "is" : each ? "holds" : "holds no more than";
  return { reason: `"${name}" ${what} ${show(worst)}, too small for float16`, isSmall };
}

/** A constant that an attribute holds. */
export function vanishes(tensor: Tensor | undefined): boolean {
  return tensor?.dtype === "float32" && firstMoved(tensor, bound.share) !== undefined;
}

/** How far float16 moves a number, as a share of it. */
function moved(x: number): number {
  return x === 0 || Math.abs(x) > 1 ? 0 : Math.abs(halfToFloat(floatToHalf(x)) - x) / Math.abs(x);
}

function firstMoved(tensor: Tensor, share: number): number | undefined {
  return tensor.toFloat32().find((x) => moved(x) > share);
}

function smallVariance(node: Node, tensor: Tensor): TooSmall | undefined {
  const epsilon = node.float("epsilon", 1e-5);
  const isOff = (x: number) => Math.abs(halfToFloat(floatToHalf(x)) - x) > VARIANCE * (x + epsilon);
  const worst = tensor.toFloat32().find((x) => x < 1 && isOff(x));
  if (worst === undefined) return undefined;
  const reason = `its variance holds ${show(worst)} beside an epsilon of ${show(epsilon)}, too small for float16`;
  return { reason, isSmall: false };
}

const show = (x: number) => Number(x.toPrecision(3)).toString();
