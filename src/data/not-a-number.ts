/** @file Where samples and outputs hold NaN. */
import type { HostTensor } from "../tensor/host-tensor.ts";
import type { Sample } from "./dataset.ts";

/** The input of a sample that has NaN, or its label. Infinities may be meant, as in masks. */
export function holdsNaN({ inputs, label }: Sample): string | undefined {
  const input = Object.entries(inputs).find(([, tensor]) => hasNaN(tensor));
  if (input) return `input "${input[0]}"`;
  const isNaNLabel = typeof label === "number" ? Number.isNaN(label) : typeof label === "object" && hasNaN(label);
  return isNaNLabel ? "its label" : undefined;
}

/** Whether any element is NaN. Integers and texts never are. */
export function hasNaN({ dtype, data }: HostTensor): boolean {
  if (data instanceof Float32Array || data instanceof Float64Array) return data.some(Number.isNaN);
  // All bits of the exponent, and one of the rest.
  const infinity = { float16: 0x7c00, bfloat16: 0x7f80 }[dtype as string];
  return infinity !== undefined && (data as Uint16Array).some((bits) => (bits & 0x7fff) > infinity);
}
