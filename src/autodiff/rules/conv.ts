/** @file Gradient rules: convolution and its transpose, in any number of spatial dims. */
import type { Value } from "../../ir/value.ts";
import { elementCount } from "../../tensor/tensor.ts";
import type { Emitter } from "../emitter.ts";
import { recurrence } from "../recurrent/recurrence.ts";
import type { GradientRules } from "../rule.ts";
import {
  attributesFor,
  elementsOf,
  isAll,
  padded,
  reachOf,
  transposedWindowOf,
  under,
  type Window,
  windowOf,
} from "./window.ts";

/** From this number of positions on, a Conv with turned weights is faster than a ConvTranspose (measured: 32 × 32, not 14 × 14). */
const LARGE_MAP = 400;

/** From this number of elements on, samples of a depthwise convolution are worth a step of their own. */
const LARGE_SAMPLE = 1 << 15;

/** What both gradients of a convolution are made of: x [n, c, …], w [m, c / group, …kernel], dy [n, m, …]. */
interface Convolution {
  readonly op: Emitter;
  readonly window: Window;
  readonly group: number;
}

/** [n, c, …]: every dy spread over the window that it came from. */
function inputGradient(
  { op, window, group }: Convolution,
  dy: Value | undefined,
  w: Value | undefined,
  x: Value,
): Value {
  const spatial = op.shape(x).slice(2);
  const positions = op.shape(dy).slice(2);
  const { begin, strides } = window;
  const turnedBegin = begin.map((pad, i) => reachOf(window, i) - 1 - pad);
  const turnedEnd = spatial.map(
    (size, i) => size + reachOf(window, i) - 1 - (positions[i] ?? 1) - (turnedBegin[i] ?? 0),
  );
  const isLarge = group > 1 || elementCount(positions) >= LARGE_MAP || isAll(window.kernel, 1);
  const canTurn = isAll(strides, 1) && [...turnedBegin, ...turnedEnd].every((pad) => pad >= 0);
  if (canTurn && isLarge) {
    const turned = { ...window, begin: turnedBegin, end: turnedEnd };
    return op.Conv(dy, turnedWeights(op, w, window, group), { ...attributesFor(turned), group });
  }
  const covered = positions.map((count, i) => (count - 1) * (strides[i] ?? 1) + reachOf(window, i) - (begin[i] ?? 0));
  const over = spatial.map((size, i) => Math.max(0, (covered[i] ?? 0) - size));
  const missing = spatial.map((size, i) => Math.max(0, size - (covered[i] ?? 0)));
  const attributes = { ...attributesFor({ ...window, begin, end: over }), group };
  return op.ConvTranspose(dy, w, isAll(missing, 0) ? attributes : { ...attributes, output_padding: missing });
}

/** w [m, c / group, …kernel] as the weights of the way back: [c, m / group, …kernel], the kernel reversed. */
function turnedWeights(op: Emitter, w: Value | undefined, { kernel }: Window, group: number): Value {
  const [m = 1, perGroup = 1] = op.shape(w);
  const grouped = op.reshape(w, [group, m / group, perGroup, ...kernel]);
  const swapped =
    m === group || perGroup === 1 ? grouped : op.transpose(grouped, [0, 2, 1, ...kernel.map((_, i) => i + 3)]);
  const back = op.reshape(swapped, [group * perGroup, m / group, ...kernel]);
  const axes = kernel.flatMap((size, i) => (size > 1 ? [i + 2] : []));
  if (axes.length === 0) return back;
  const all = axes.map(() => -1);
  return op.Slice(
    back,
    all,
    axes.map(() => Number.MIN_SAFE_INTEGER),
    axes,
    all,
  );
}

/** [m, c / group, …kernel]: for every element of the window, what lies under it times dy. */
function weightGradient(convolution: Convolution, x: Value, dy: Value, w: Value): Value {
  const { op, group } = convolution;
  const [, perGroup = 1] = op.shape(w);
  if (perGroup === 1 && group > 1) return depthwiseWeightGradient(convolution, x, dy, w);
  const columns = columnsOf(convolution, x, dy);
  const rows = byChannel(op, dy);
  const [m = 1, count = 1] = op.shape(rows);
  const { kernel } = convolution.window;
  const size = elementCount(kernel);
  const spatial = kernel.map((_, i) => i);
  if (group === 1) {
    const product = op.reshape(op.Gemm(rows, columns, { transB: 1 }), [m, ...kernel, perGroup]);
    return op.transpose(product, [0, kernel.length + 1, ...spatial.map((i) => i + 1)]);
  }
  // columns [size · group · perGroup, count] as [group, count, size · perGroup]
  const split = op.transpose(op.reshape(columns, [size, group, perGroup, count]), [1, 3, 0, 2]);
  const product = op.MatMul(
    op.reshape(rows, [group, m / group, count]),
    op.reshape(split, [group, count, size * perGroup]),
  );
  const parts = op.reshape(product, [m, ...kernel, perGroup]);
  return op.transpose(parts, [0, kernel.length + 1, ...spatial.map((i) => i + 1)]);
}

/** [a, b, …] as [b, a · …]. */
function byChannel(op: Emitter, x: Value | undefined): Value {
  const shape = op.shape(x);
  const [a = 1, b = 1] = shape;
  const first = op.transpose(
    x,
    shape.map((_, i) => (i < 2 ? 1 - i : i)),
  );
  return op.reshape(first, [b, elementCount(shape.slice(2)) * a]);
}

/** im2col: [elements of the window · c, n · positions]. */
function columnsOf({ op, window }: Convolution, x: Value | undefined, dy: Value | undefined): Value {
  const shape = op.shape(x);
  const positions = op.shape(dy).slice(2);
  const channelsFirst = op.transpose(
    x,
    shape.map((_, i) => (i < 2 ? 1 - i : i)),
  );
  const source = padded(op, channelsFirst, window);
  const parts = elementsOf(window.kernel).map((element) => under(op, source, window, element, positions));
  const [n = 1, c = 1] = shape;
  const joined = parts.length === 1 ? parts[0] : op.Concat(...parts, { axis: 0 });
  return op.reshape(joined, [parts.length * c, n * elementCount(positions)]);
}

/**
 * One input channel per group; m / group output channels each. It moves far more than it computes: samples that are large are taken
 * one by one, so that what is cut out for one element of the window is still in the cache when it is multiplied and summed.
 */
function depthwiseWeightGradient(convolution: Convolution, x: Value, dy: Value, w: Value): Value {
  const { op } = convolution;
  const [n = 1, ...sample] = op.shape(x);
  if (n === 1 || elementCount(sample) < LARGE_SAMPLE) return depthwiseProducts(convolution, x, dy, w);
  const { gives } = recurrence(op, {
    count: n,
    reverse: false,
    carries: [],
    reads: [x, dy],
    step: (inner, _, [one, gradient]) => {
      const product = depthwiseProducts({ ...convolution, op: inner }, one, gradient, w);
      return { carries: [], gives: [inner.Unsqueeze(product, [0])] };
    },
  });
  return op.ReduceSum(gives[0], [0], { keepdims: 0 });
}

/** Of all samples at once: for every element of the window, the sum of what lies under it times dy. */
function depthwiseProducts(
  { op, window, group }: Convolution,
  x: Value | undefined,
  dy: Value | undefined,
  w: Value,
): Value {
  const [n = 1, m = 1, ...positions] = op.shape(dy);
  const source = padded(op, x, window);
  const multiplier = m / group;
  const grouped = multiplier === 1 ? dy : op.reshape(dy, [n, group, multiplier, ...positions]);
  const axes = [0, ...positions.map((_, i) => i + (multiplier === 1 ? 2 : 3))];
  const sums = elementsOf(window.kernel).map((element) => {
    const part = under(op, source, window, element, positions);
    const aligned = multiplier === 1 ? part : op.Unsqueeze(part, [2]);
    return op.reshape(op.ReduceSum(op.Mul(aligned, grouped), axes, { keepdims: 0 }), [m, 1]);
  });
  return op.reshape(op.Concat(...sums, { axis: 1 }), op.shape(w));
}

/** Sums over all but the channels. */
function biasGradient(op: Emitter, dy: Value | undefined): Value {
  return op.ReduceSum(
    dy,
    op.shape(dy).flatMap((_, i) => (i === 1 ? [] : [i])),
    { keepdims: 0 },
  );
}

export const convs = {
  // y = x * w + b    dx = dy spread by w, dw = x under each element of the window times dy, db = sum dy
  Conv: ({ op, node, x: [x, w, b], dy: [dy] }) => {
    if (!x || !w || !dy) return [];
    const window = windowOf(node, op.shape(w).slice(2), op.shape(x).slice(2), op.shape(dy).slice(2));
    const convolution = { op, window, group: node.int("group", 1) };
    return [inputGradient(convolution, dy, w, x), weightGradient(convolution, x, dy, w), b && biasGradient(op, dy)];
  },
  // y = x spread by w, + b    dx = dy * w, dw = dy under each element of the window times x, db = sum dy
  ConvTranspose: ({ op, node, x: [x, w, b], dy: [dy] }) => {
    if (!x || !w || !dy) return [];
    const window = transposedWindowOf(node, op.shape(w).slice(2), op.shape(x).slice(2), op.shape(dy).slice(2));
    const group = node.int("group", 1);
    const dx = op.Conv(dy, w, { ...attributesFor(window), group });
    return [dx, weightGradient({ op, window, group }, dy, x, w), b && biasGradient(op, dy)];
  },
} satisfies GradientRules;
