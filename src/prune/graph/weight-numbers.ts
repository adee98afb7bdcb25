/** @file The numbers of a constant as its layer gets them: integers are what DequantizeLinear makes of them. */
import type { Node } from "../../ir/node.ts";
import type { Value } from "../../ir/value.ts";
import { elementCount, type Tensor } from "../../tensor/tensor.ts";

/** What a constant stands for, in the order in which it is stored. */
export function numbersOf(value: Value): Float32Array {
  const tensor = value.tensor as Tensor;
  const reader = [...value.uses].find(({ node, index }) => node.opType === "DequantizeLinear" && index === 0)?.node;
  return reader ? dequantized(tensor, reader) : tensor.toFloat32();
}

function dequantized(tensor: Tensor, node: Node): Float32Array {
  const [, scale, zero] = node.inputs;
  const scales = scale?.tensor?.toNumbers();
  const codes = Float32Array.from(tensor.toNumbers(), Number);
  // What is not constant leaves the codes: they rank channels of one scale alike.
  if (!scales || node.int("block_size", 0) > 0) return codes;
  const zeros = zero?.tensor?.toNumbers();
  const { dims } = tensor;
  const given = node.int("axis", 1);
  const axis = given < 0 ? given + dims.length : given;
  const inner = elementCount(dims.slice(axis + 1));
  const place = (at: number) => (scales.length === 1 ? 0 : Math.floor(at / inner) % (dims[axis] as number));
  return codes.map((code, at) => (code - Number(zeros?.[place(at)] ?? 0)) * Number(scales[place(at)]));
}
