/** @file Gradient rules: pooling over windows, and over all of the spatial dims. */
import type { Value } from "../../ir/value.ts";
import { elementCount } from "../../tensor/tensor.ts";
import type { Emitter } from "../emitter.ts";
import type { GradientContext, GradientRules } from "../rule.ts";
import { attributesFor, isAll, reachOf, type Window, windowOf } from "./window.ts";

function poolWindow({ op, node, x: [x], y: [y] }: GradientContext): Window {
  return windowOf(node, node.ints("kernel_shape") ?? [], op.shape(x).slice(2), op.shape(y).slice(2));
}

/** Windows side by side, from the first element on, without gaps. */
function isTiling({ kernel, strides, dilations, begin }: Window): boolean {
  return isAll(dilations, 1) && isAll(begin, 0) && kernel.every((size, i) => size === strides[i]);
}

/** Whether Resize can repeat elements: ONNX Runtime does it fast for float32 images. */
function canRepeat(op: Emitter, window: Window, value: Value | undefined): boolean {
  return window.kernel.length === 2 && isTiling(window) && op.dtype(value) === "float32";
}

/** [n, c, …positions], every element repeated over its tile. */
function repeated(op: Emitter, value: Value | undefined, { kernel }: Window): Value {
  const [n = 1, c = 1, ...positions] = op.shape(value);
  const sizes = [n, c, ...positions.map((count, i) => count * (kernel[i] ?? 1))];
  const attributes = { mode: "nearest", coordinate_transformation_mode: "asymmetric", nearest_mode: "floor" };
  return op.Resize(value, undefined, undefined, sizes, attributes);
}

/** value [n, c, …] cut or filled up with zeros at its end to these spatial dims. */
function resized(op: Emitter, value: Value, spatial: readonly number[]): Value {
  const change = spatial.map((size, i) => size - (op.shape(value)[i + 2] ?? 1));
  const none = [0, 0, ...spatial.map(() => 0)];
  return isAll(change, 0) ? value : op.Pad(value, [...none, 0, 0, ...change]);
}

/** Every element of value [n, c, …positions] added to all elements of x [n, c, …] under its window. */
function spread(op: Emitter, value: Value | undefined, x: Value | undefined, window: Window): Value {
  const [n = 1, c = 1, ...spatial] = op.shape(x);
  const positions = op.shape(value).slice(2);
  if (canRepeat(op, window, value)) return resized(op, repeated(op, value, window), spatial);
  const { kernel, strides, begin } = window;
  const covered = positions.map((count, i) => (count - 1) * (strides[i] ?? 1) + reachOf(window, i) - (begin[i] ?? 0));
  const end = spatial.map((size, i) => Math.max(0, (covered[i] ?? 0) - size));
  const missing = spatial.map((size, i) => Math.max(0, size - (covered[i] ?? 0)));
  const ones = op.Expand(op.like(value, 1), [1, 1, ...kernel]);
  const planes = op.reshape(value, [n * c, 1, ...positions]);
  const attributes = { ...attributesFor({ ...window, end }), output_padding: missing };
  return op.reshape(op.ConvTranspose(planes, ones, attributes), [n, c, ...spatial]);
}

/** How many elements each position of an average counts, [1, 1, …positions]. Windows beyond the padding count what is inside of it. */
function countsOf(
  op: Emitter,
  window: Window,
  spatial: readonly number[],
  y: Value | undefined,
  countPads: boolean,
): Value {
  const { kernel, strides, dilations, begin, end } = window;
  const positions = op.shape(y).slice(2);
  const along = positions.map((count, i) => {
    const [low, high] = countPads ? [-(begin[i] ?? 0), (spatial[i] ?? 0) + (end[i] ?? 0)] : [0, spatial[i] ?? 0];
    return Array.from({ length: count }, (_, position) => {
      const first = position * (strides[i] ?? 1) - (begin[i] ?? 0);
      const taps = Array.from({ length: kernel[i] ?? 1 }, (__, k) => first + k * (dilations[i] ?? 1));
      return Math.max(1, taps.filter((at) => at >= low && at < high).length);
    });
  });
  const counts = along.reduce<number[]>((all, list) => all.flatMap((a) => list.map((b) => a * b)), [1]);
  return counts.every((count) => count === counts[0])
    ? op.like(y, counts[0] ?? 1)
    : op.constant(op.dtype(y), [1, 1, ...positions], counts);
}

/** Where each maximum came from: indices into the whole of x, row-major. */
function indicesOf({ op, node, x: [x] }: GradientContext, window: Window): Value {
  if (node.int("storage_order", 0) === 0) return op.output(node, 1);
  const attributes = { ...attributesFor(window), ceil_mode: node.int("ceil_mode", 0) };
  return op.emit("MaxPool", [x, attributes], 2)[1] as Value;
}

/** Elements pooled by a global pool. */
function spatialCount(op: Emitter, x: Value | undefined): number {
  return elementCount(op.shape(x).slice(2));
}

function spatialAxes(op: Emitter, x: Value | undefined): readonly number[] {
  return Array.from({ length: op.rank(x) - 2 }, (_, i) => i + 2);
}

/** dy · y^(1 - p), 0 where y is: what the pools over |x|^p have in common. */
function normFactor({ op, node, y: [y], dy: [dy] }: GradientContext): Value {
  const isZero = op.Equal(y, 0);
  const factor = op.Pow(op.Where(isZero, op.like(y, 1), y), 1 - node.int("p", 2));
  return op.Mul(dy, op.Where(isZero, op.like(y, 0), factor));
}

/** sign x · |x|^(p - 1). */
function normSlope({ op, node, x: [x] }: GradientContext): Value {
  const p = node.int("p", 2);
  if (p === 2) return op.Identity(x);
  return p === 1 ? op.Sign(x) : op.Mul(op.Sign(x), op.Pow(op.Abs(x), p - 1));
}

export const pools = {
  // y = mean of each window    dx = dy / count, added up over the windows
  AveragePool: (context) => {
    const {
      op,
      node,
      x: [x],
      y: [y],
      dy: [dy],
    } = context;
    const window = poolWindow(context);
    const counts = countsOf(op, window, op.shape(x).slice(2), y, node.int("count_include_pad", 0) === 1);
    return [spread(op, op.Div(dy, counts), x, window)];
  },
  // y = max of each window    dx = dy added to where the maximum is; in tiles that Resize can repeat, equal maxima share it
  MaxPool: (context) => {
    const {
      op,
      x: [x],
      y: [y],
      dy: [dy],
    } = context;
    const window = poolWindow(context);
    const shape = op.shape(x);
    const tiled = op.shape(y).map((count, i) => count * (window.kernel[i - 2] ?? 1));
    if (canRepeat(op, window, x) && tiled.every((size, i) => size === shape[i])) {
      const mask = op.mask(op.Equal(x, repeated(op, y, window)), dy);
      const { kernel, strides } = window;
      const ties = op.Mul(op.AveragePool(mask, { kernel_shape: kernel, strides }), elementCount(kernel));
      return [op.Mul(mask, repeated(op, op.Div(dy, ties), window))];
    }
    const isWithin = tiled.every((size, i) => size <= (shape[i] ?? 0));
    const indices = indicesOf(context, window);
    if (isTiling(window) && isWithin && op.dtype(x) === "float32") {
      const { kernel, strides } = window;
      return [op.MaxUnpool(dy, indices, shape, { kernel_shape: kernel, strides })];
    }
    const zeros = op.Expand(op.like(x, 0), [elementCount(shape)]);
    const flat = (value: Value | undefined) => op.Reshape(value, [-1]);
    return [op.reshape(op.ScatterElements(zeros, flat(indices), flat(dy), { reduction: "add" }), shape)];
  },
  // y = (sum |x|^p of each window)^(1/p)    dx = sign x |x|^(p - 1) * (dy y^(1 - p) added up over the windows)
  LpPool: (context) => {
    const {
      op,
      x: [x],
    } = context;
    return [op.Mul(spread(op, normFactor(context), x, poolWindow(context)), normSlope(context))];
  },
  // y = mean x    dx = dy / count, expanded
  GlobalAveragePool: ({ op, x: [x], dy: [dy] }) => [op.Mul(dy, 1 / spatialCount(op, x))],
  // y = max x    dx = dy to the maxima, in equal shares
  GlobalMaxPool: ({ op, x: [x], y: [y], dy: [dy] }) => {
    const mask = op.mask(op.Equal(x, y), dy);
    return [op.Mul(mask, op.Div(dy, op.ReduceSum(mask, spatialAxes(op, x))))];
  },
  // y = (sum |x|^p)^(1/p)    dx = sign x |x|^(p - 1) * dy y^(1 - p)
  GlobalLpPool: (context) => [context.op.Mul(normFactor(context), normSlope(context))],
} satisfies GradientRules;
