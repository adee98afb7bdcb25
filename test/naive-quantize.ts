/** @file The plainest possible weight quantization, written from the definition: the oracle of the quantizer's tests. */

import type { WeightAxes } from "../src/quantize/grid/slices.ts";
import type { QuantSpec } from "../src/quantize/grid/spec.ts";
import { float32, type Tensor } from "../src/tensor/tensor.ts";

/** The weight after quantizing and dequantizing to nearest with absmax scales; per channel, tensor or (ragged) group. */
export function fakeQuantize(weight: Tensor, axes: WeightAxes, spec: QuantSpec): Tensor {
  const { dims } = weight;
  const data = weight.toFloat32();
  const strides = dims.map((_, i) => dims.slice(i + 1).reduce((a, b) => a * b, 1));
  const at = (element: number, axis: number) =>
    Math.floor(element / (strides[axis] as number)) % (dims[axis] as number);
  const keyOf = (element: number): string => {
    const { granularity: g } = spec;
    if (g.per === "channel") return String(at(element, axes.channel));
    if (g.per !== "group") return "";
    return dims
      .map((_, axis) => (axis === axes.group ? Math.floor(at(element, axis) / g.size) : at(element, axis)))
      .join();
  };
  const slices = new Map<string, number[]>();
  for (let i = 0; i < data.length; i++) {
    const key = keyOf(i);
    const list = slices.get(key);
    if (list) list.push(i);
    else slices.set(key, [i]);
  }
  const out = new Float32Array(data.length);
  for (const elements of slices.values()) {
    const values = elements.map((i) => data[i] as number);
    const { scale, zero, low, high } = gridOf(values, spec);
    elements.forEach((i, j) => {
      const q = Math.min(high, Math.max(low, nearestEven((values[j] as number) / scale) + zero));
      out[i] = Math.fround((q - zero) * scale);
    });
  }
  return float32(dims, out);
}

/** Unsigned codes throughout: the same grid as signed ones, shifted. */
function gridOf(values: readonly number[], { bits, symmetric }: QuantSpec) {
  const levels = 2 ** bits;
  const half = levels / 2;
  const max = Math.max(...values);
  const min = Math.min(...values);
  if (!symmetric) {
    const [a, b] = [Math.min(min, 0), Math.max(max, 0)];
    const scale = Math.fround(Math.fround(b - a) / (levels - 1));
    return { scale, zero: Math.min(levels - 1, Math.max(0, nearestEven(-a / scale))), low: 0, high: levels - 1 };
  }
  if (bits === 8) return { scale: Math.fround(Math.max(max, -min) / (half - 1)), zero: half, low: 1, high: levels - 1 };
  // Narrow grids map the end of larger magnitude to the lowest code, with its sign on the scale.
  const end = max > -min ? max : min;
  return { scale: Math.fround(end / -half), zero: half, low: 0, high: levels - 1 };
}

function nearestEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  if (rest !== 0.5) return Math.round(x);
  return floor % 2 === 0 ? floor : floor + 1;
}
