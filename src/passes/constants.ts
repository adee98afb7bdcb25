/** @file What passes ask about constants, and the IR version that unlisted initializers need. */
import type { Model } from "../ir/model.ts";
import type { Value } from "../ir/value.ts";
import type { Tensor } from "../tensor/tensor.ts";

/** Constants with more elements are not looked into to see whether a node does nothing. */
const SMALL = 1 << 16;

/**
 * The tensor of a value that can't have another one: an initializer that is not also an input whose caller may
 * override it (IR version 4 and later; older models are brought up by {@link unlistInitializers} first).
 */
export function fixedTensor(value: Value | undefined): Tensor | undefined {
  return value?.tensor && !value.isInput ? value.tensor : undefined;
}

/** The elements of a fixed tensor that is small and numeric. */
export function fixedNumbers(value: Value | undefined): Float64Array | undefined {
  const tensor = fixedTensor(value);
  if (!tensor || tensor.size > SMALL || tensor.dtype === "string" || tensor.dtype.startsWith("complex"))
    return undefined;
  return tensor.toNumbers();
}

/** The elements of a fixed integer tensor (axes, shapes, repeats), each saturated to ±2^53. */
export function fixedIntegers(value: Value | undefined): number[] | undefined {
  const dtype = value?.tensor?.dtype;
  if (dtype !== "int64" && dtype !== "int32") return undefined;
  const numbers = fixedNumbers(value);
  const bound = Number.MAX_SAFE_INTEGER;
  return numbers && Array.from(numbers, (x) => Math.min(bound, Math.max(-bound, x)));
}

/**
 * Up to IR version 3 every initializer had to be listed as an input as well and was a constant all the same; from 4 on
 * a listed one is a default that the caller may override. Takes them off the inputs and makes the version 4, in place.
 * Returns whether the model was that old.
 */
export function unlistInitializers(model: Model): boolean {
  if (model.irVersion >= 4) return false;
  model.irVersion = 4;
  for (const input of model.graph.inputs) if (input.isConstant) model.graph.removeInput(input);
  return true;
}
