/** @file Shape rules: a part of a tensor, or more than it: Slice, Pad, Resize. */
import type { Dim, Shape } from "../../ir/types.ts";
import { largestOf, leastOf } from "../../util/append.ts";
import {
  addDims,
  atLeast,
  ceilDivideDims,
  floorDim,
  maxDim,
  minDim,
  multiplyDims,
  subtractDims,
} from "../symbolic/dim.ts";
import { type Call, type ShapeRule, type ShapeRules, unknownShape } from "./call.ts";
import { lengthOf } from "./reshape.ts";

/** What a Slice does along each of its axes. */
export interface SliceAxis {
  readonly axis: number;
  readonly start: Dim;
  readonly end: Dim;
  readonly step: number;
}

/** The slices of a node, undefined when axes or steps are not known. Attributes before opset 10, inputs after. */
export function sliceAxes(call: Call, rank: number): readonly SliceAxis[] | undefined {
  const legacy = call.opset < 10;
  const starts = legacy ? call.node.ints("starts") : call.values(1);
  const ends = legacy ? call.node.ints("ends") : call.values(2);
  const axes = legacy ? call.node.ints("axes") : call.has(3) ? call.numbers(3) : undefined;
  const steps = legacy || !call.has(4) ? undefined : call.numbers(4);
  if (!legacy && ((call.has(3) && !axes) || (call.has(4) && !steps))) return undefined;
  const count = axes?.length ?? starts?.length ?? ends?.length ?? (legacy ? undefined : lengthOf(call, 1));
  if (count === undefined) return undefined;
  return Array.from({ length: count }, (_, i) => ({
    axis: call.axis(axes?.[i] ?? i, rank),
    start: starts?.[i] ?? null,
    end: ends?.[i] ?? null,
    step: steps?.[i] ?? 1,
  }));
}

const slice: ShapeRule = (call) => {
  const shape = call.shape(0);
  if (!shape) return [call.out(undefined)];
  const slices = sliceAxes(call, shape.length);
  if (!slices) return [call.out(unknownShape(shape.length))];
  const dims = [...shape];
  for (const part of slices) {
    if (part.step === 0) call.fail("steps", "any number but 0", "0");
    dims[part.axis] = slicedDim(shape[part.axis] ?? null, part);
  }
  return [call.out(dims)];
};

/** Number of elements that a slice takes from `dim`. */
export function slicedDim(dim: Dim, { start, end, step }: SliceAxis): Dim {
  // min(a, dim) − max(b, 0) is the least of the four differences: simpler to read than nested clamps.
  const forward = step > 0;
  const [low, high] = forward ? [0, dim] : [-1, subtractDims(dim, 1)];
  const first = fromFront(start, dim, forward ? 0 : -1, high);
  const last = fromFront(end, dim, low, high);
  const [upper, lower] = forward ? [last, first] : [first, last];
  const spans = [
    subtractDims(upper, lower),
    subtractDims(upper, low),
    subtractDims(high, lower),
    subtractDims(high, low),
  ];
  return maxDim(ceilDivideDims(spans.reduce(minDim), Math.abs(step)), 0);
}

/** An index counted from the front; the largest and least integers stand for `most` and `least`. */
function fromFront(index: Dim, dim: Dim, least: Dim, most: Dim): Dim {
  if (index === null) return null;
  if (typeof index === "number") {
    if (index >= Number.MAX_SAFE_INTEGER) return most;
    if (index <= -Number.MAX_SAFE_INTEGER) return least;
    return index < 0 ? addDims(dim, index) : index;
  }
  // A negative expression such as -N counts from the back; one that may be both is taken as it stands.
  return atLeast(0, index) ? addDims(dim, index) : index;
}

export const pad: ShapeRule = (call) => {
  const shape = call.shape(0);
  if (!shape) return [call.out(undefined)];
  const legacy = call.node.domain === "" && call.opset < 11;
  const pads = legacy ? (call.node.ints("pads") ?? call.node.ints("paddings")) : call.values(1);
  const axes = legacy || call.node.domain !== "" || !call.has(3) ? shape.map((_, i) => i) : call.numbers(3);
  if (!pads || !axes) return [call.out(unknownShape(shape.length))];
  if (pads.length !== 2 * axes.length) call.fail("pads", `${2 * axes.length} numbers`, `[${pads}]`);
  const dims = [...shape];
  axes.forEach((axis, i) => {
    const at = call.axis(axis, shape.length);
    const both = addDims(pads[i] ?? null, pads[i + axes.length] ?? null);
    dims[at] = addDims(shape[at] ?? null, both);
  });
  return [call.out(dims)];
};

/** Sizes outright, or floor(dim · scale). Inputs: opset 10 (x, scales), from 11 (x, roi, scales, sizes). */
const resize: ShapeRule = (call) => {
  const shape = call.shape(0);
  const at = call.opset < 11 ? 1 : 2;
  const sizes = call.opset >= 11 && call.has(3) ? call.values(3) : undefined;
  const scales = call.has(at) ? call.values(at) : undefined;
  if (!shape) return [call.out(undefined)];
  const axes = (call.node.ints("axes") ?? shape.map((_, i) => i)).map((axis) => call.axis(axis, shape.length));
  const given = call.has(3) && sizes ? sizes : scales;
  if (!given || (given.length === 0 && axes.length > 0)) return [call.out(unknownShape(shape.length))];
  if (given.length !== axes.length) call.fail("sizes or scales", `${axes.length} numbers`, `[${given}]`);
  return [call.out(resized(call, shape, axes, { sizes, scales }))];
};

function resized(
  call: Call,
  shape: Shape,
  axes: readonly number[],
  { sizes, scales }: { sizes: readonly Dim[] | undefined; scales: readonly Dim[] | undefined },
): Shape {
  const dims = [...shape];
  const policy = call.node.string("keep_aspect_ratio_policy", "stretch");
  if (sizes && policy !== "stretch") {
    const ratios = axes.map((axis, i) => ratio(sizes[i] ?? null, shape[axis] ?? null));
    const known = ratios.every((value) => value !== null);
    const scale = policy === "not_larger" ? leastOf(ratios as number[]) : largestOf(ratios as number[]);
    for (const axis of axes) {
      const dim = shape[axis];
      // Halves round up.
      dims[axis] = known && typeof dim === "number" ? Math.floor(dim * scale + 0.5) : null;
    }
    return dims;
  }
  axes.forEach((axis, i) => {
    dims[axis] = sizes ? (sizes[i] ?? null) : scaledDim(shape[axis] ?? null, scales?.[i] ?? null);
  });
  return dims;
}

function ratio(size: Dim, dim: Dim): number | null {
  return typeof size === "number" && typeof dim === "number" ? size / dim : null;
}

/** floor(dim · scale), with the product in float32 as ONNX Runtime computes it. */
function scaledDim(dim: Dim, scale: Dim): Dim {
  if (typeof dim === "number" && typeof scale === "number") return Math.floor(Math.fround(dim * Math.fround(scale)));
  return floorDim(multiplyDims(dim, scale));
}

/** Scales are attributes before opset 9. */
const upsample: ShapeRule = (call) => {
  const shape = call.shape(0);
  const legacy = call.node.attributes.has("height_scale")
    ? [1, 1, call.node.float("height_scale", 1), call.node.float("width_scale", 1)]
    : call.node.get("scales", "floats");
  const scales = call.opset < 9 ? legacy : call.values(1);
  if (!shape) return [call.out(undefined)];
  if (scales && scales.length !== shape.length) call.fail("scales", `${shape.length} numbers`, `[${scales}]`);
  return [call.out(shape.map((dim, i) => scaledDim(dim, scales?.[i] ?? null)))];
};

/** The given axes get exactly the given sizes. */
const centerCropPad: ShapeRule = (call) => {
  const shape = call.shape(0);
  const sizes = call.values(1);
  if (!shape) return [call.out(undefined)];
  const axes = (call.node.ints("axes") ?? shape.map((_, i) => i)).map((axis) => call.axis(axis, shape.length));
  return [call.out(shape.map((dim, i) => (axes.includes(i) ? (sizes?.[axes.indexOf(i)] ?? null) : dim)))];
};

export const windows: ShapeRules = {
  Slice: slice,
  Pad: pad,
  Resize: resize,
  Upsample: upsample,
  CenterCropPad: centerCropPad,
};
