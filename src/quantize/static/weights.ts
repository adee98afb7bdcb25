/** @file Codes of the weights of integer layers: symmetric, one scale per tensor or output channel, never a scale of 0. */
import { type CodeRange, kernels } from "../../kernels/index.ts";
import { float32, fromNumbers, type Tensor } from "../../tensor/tensor.ts";
import { findRanges } from "../grid/scales.ts";
import { type Slices, slicesOf } from "../grid/slices.ts";
import type { QuantSpec } from "../grid/spec.ts";
import { claim, readFloats } from "../grid/workspace.ts";
import type { WeightLayer } from "../layers/sites.ts";
import { type MethodRun, quantizeByMethod } from "../lazy/by-method.ts";
import { type QuantizedWeight, quantizeRtn } from "../lazy/rtn.ts";
import type { staticMethods } from "./options.ts";

/** How the weights of one layer are quantized. */
export interface WeightChoice {
  readonly dtype: "int8" | "uint8" | "int4" | "int2";
  /** 7: int8 codes any two of which, times uint8, add up within 16 bits. */
  readonly bits: 2 | 4 | 7 | 8;
  readonly perChannel: boolean;
  readonly scale: "absmax" | "mse";
  readonly method: (typeof staticMethods)[number];
}

export interface StaticWeight extends QuantizedWeight {
  readonly slices: Slices;
  /** One per slice, all above 0. */
  readonly scales: Float32Array;
  /** What chose the codes where that is not plain rounding. */
  readonly method?: string;
}

const grids: Readonly<Record<WeightChoice["bits"], CodeRange>> = {
  2: { qmin: -2, qmax: 1 },
  4: { qmin: -8, qmax: 7 },
  7: { qmin: -64, qmax: 64 },
  8: { qmin: -127, qmax: 127 },
};

/** Factors on max|w| / qmax that the search tries. The one above 1 uses the code −8 of four bits, which has no opposite. */
const RATIOS = [1, 7.5 / 7, ...Array.from({ length: 40 }, (_, i) => 1 - (i + 1) * 0.015)];

/** An int32 bias stays below this many steps, so that what is added to it can't overflow. */
const BIAS_LIMIT = 2 ** 30;

/** A float bias, one number per output channel, and the scale of its layer's input. */
export interface LayerBias {
  readonly values: Float32Array;
  readonly inputScale: number;
}

/**
 * Scales are found at once; codes are computed when they are read.
 * @param biases of the layers that use the weight: a channel whose weights are so small that its bias has no place in
 * int32 is given a larger scale
 * @param run what computes the codes where that is not plain rounding
 */
export function quantizeStaticWeight(
  layer: WeightLayer,
  choice: WeightChoice,
  measure: boolean,
  biases: readonly LayerBias[] = [],
  run?: MethodRun,
): StaticWeight {
  const { value, weight } = layer;
  const { name } = value;
  const granularity = { per: choice.perChannel ? "channel" : "tensor" } as const;
  const slices = slicesOf(weight.dims, layer.axes, granularity, `weight "${name}"`);
  const middle = choice.dtype === "uint8" ? 128 : 0;
  // Only plain rounding keeps neighbours within their sum.
  const inPairs = choice.bits === 7 && choice.scale === "absmax" && !run;
  const grid = inPairs ? grids[8] : grids[choice.bits];
  const spec: QuantSpec = {
    dtype: choice.dtype,
    bits: choice.bits === 7 ? 8 : choice.bits,
    symmetric: true,
    granularity,
    scale: { by: "absmax" },
    rounding: "nearest",
    method: "rtn",
    format: "dequantize",
  };
  const job = { name, weight, slices, spec };
  const scales = inPairs ? pairScales(job) : findScales(job, grid, choice.scale);
  for (const bias of biases) makeRoom(scales, bias);
  const range = { qmin: grid.qmin + middle, qmax: grid.qmax + middle };
  const fixed = { scales, zeroPoints: new Int32Array(scales.length).fill(middle) };
  const whole = { name, weight, slices, spec, seed: 0, measure, fixed, range };
  const quantized = run ? quantizeByMethod(whole, run) : quantizeRtn(whole);
  return { ...quantized, slices, scales, ...(run && { method: run.method.name }) };
}

interface Job {
  readonly name: string;
  readonly weight: Tensor;
  readonly slices: Slices;
  readonly spec: QuantSpec;
}

function findScales(job: Job, grid: CodeRange, choice: WeightChoice["scale"]): Float32Array {
  const { weight, slices } = job;
  const { memory } = claim(job);
  return memory.scope(() => {
    const resident = memory.alloc32(weight.size);
    readFloats(weight, 0, weight.size, resident);
    // A symmetric 8-bit spec measures magnitudes only.
    const { max } = findRanges({ ...job, spec: { ...job.spec, dtype: "int8", bits: 8 } }, resident);
    const scales = max.map((largest) => largest / grid.qmax);
    if (choice === "mse") search(resident, slices, grid, scales);
    return withoutZeros(scales);
  });
}

/** A slice of zeros gets the scale of the largest. */
function withoutZeros(scales: Float32Array): Float32Array {
  const largest = scales.reduce((a, b) => Math.max(a, b), 0) || 1;
  return scales.map((scale) => (scale > 0 ? scale : largest));
}

/**
 * The finest scales with which no sum of two products with uint8 codes can leave 16 bits, whichever two weights of a slice
 * meet: 255 · (|a| + |b|) ≤ 32767 where a and b have one sign. Never coarser than ±64.
 * @throws bad-data for NaN or infinity
 */
function pairScales(job: Job): Float32Array {
  const { weight, slices } = job;
  // Refuses what is not finite.
  const limits = findScales(job, grids[7], "absmax");
  const numbers = weight.toFloat32();
  /** Largest and second largest of the positive, then of the negative weights. */
  const tops = new Float32Array(slices.count * 4);
  eachRun(slices, numbers.length, (slice, start, end) => {
    for (let i = start; i < end; i++) {
      const x = numbers[i] as number;
      const at = slice * 4 + (x < 0 ? 2 : 0);
      const size = Math.abs(x);
      if (size > (tops[at] as number)) {
        tops[at + 1] = tops[at] as number;
        tops[at] = size;
      } else if (size > (tops[at + 1] as number)) tops[at + 1] = size;
    }
  });
  return limits.map((limit, slice) => {
    const [a = 0, b = 0, c = 0, d = 0] = tops.subarray(slice * 4, slice * 4 + 4);
    // Rounding adds a half to each: 127 and not 128.
    const scale = Math.max(a + b, c + d, a, c) / 127;
    return scale > 0 ? Math.min(limit, scale) : limit;
  });
}

/** Replaces each scale by the candidate of least squared error. */
function search(x: number, slices: Slices, grid: CodeRange, scales: Float32Array): void {
  const shared = kernels();
  const { memory } = shared;
  const { count, fold, rows, n, form } = slices;
  memory.scope(() => {
    const at = memory.alloc32(count);
    memory.f32(at, count).set(scales);
    if (form === "runs") shared.searchRuns(x, { runLength: n, count: rows }, { scales: at }, grid, RATIOS);
    else if (fold === 1) shared.searchColumns(x, { rows, n }, { scales: at }, grid, RATIOS);
    scales.set(memory.f32(at, count));
  });
}

function makeRoom(scales: Float32Array, { values, inputScale }: LayerBias): void {
  values.forEach((value, channel) => {
    const slice = scales.length === 1 ? 0 : channel;
    const least = Math.abs(value) / (inputScale * BIAS_LIMIT);
    if ((scales[slice] as number) < least) scales[slice] = least;
  });
}

/** A bias as int32 in steps of inputScale · weightScale, with those steps. */
export function quantizeBias(values: Float32Array, inputScale: number, weightScales: Float32Array) {
  const steps = Float32Array.from(weightScales, (scale) => inputScale * scale);
  const codes = Array.from(values, (value, i) => Math.round(value / (steps[steps.length === 1 ? 0 : i] as number)));
  const dims = steps.length === 1 ? [] : [steps.length];
  return { codes: fromNumbers("int32", [values.length], codes), scale: fromNumbers("float32", dims, steps) };
}

/** What a quantized weight stands for, in the weight's own dims. Computes the codes. */
export function dequantized(weight: Tensor, { codes, scales, zeroPoint, slices }: StaticWeight): Tensor {
  // Integers: their own copy.
  const values = codes.toFloat32();
  const [zero = 0] = zeroPoint.toNumbers();
  eachRun(slices, values.length, (slice, start, end) => {
    const scale = scales[slice] as number;
    for (let i = start; i < end; i++) values[i] = ((values[i] as number) - zero) * scale;
  });
  return float32(weight.dims, values);
}

/** Calls `visit` for stretches of elements, in order, that lie in one slice each. */
function eachRun(
  { form, count, n, fold }: Slices,
  size: number,
  visit: (slice: number, start: number, end: number) => void,
): void {
  const length = count === 1 ? size : form === "runs" ? n : fold;
  for (let start = 0, slice = 0; start < size; start += length, slice = slice + 1 < count ? slice + 1 : 0)
    visit(slice, start, Math.min(size, start + length));
}
