/** @file Gradient rules: what moves, repeats, cuts and joins elements. */
import type { Value } from "../../ir/value.ts";
import type { Emitter } from "../emitter.ts";
import type { GradientContext, GradientRule, GradientRules } from "../rule.ts";

/** dy in the shape of x: for all that only renames axes. */
const inShapeOfInput: GradientRule = ({ op, x: [x], dy: [dy] }) => {
  const dims = op.symbolicShape(x);
  const isStatic = dims.every((dim) => typeof dim === "number");
  return [isStatic ? op.reshape(dy, dims as readonly number[]) : op.Reshape(dy, op.Shape(x))];
};

/** Elements first, first + step, … of an axis, `count` of them. */
function strided(op: Emitter, value: Value, axis: number, first: number, count: number, step = 1): Value {
  const isAll = first === 0 && step === 1 && count === op.symbolicShape(value)[axis];
  if (isAll) return value;
  const end = first + step * (count - 1) + Math.sign(step);
  return op.Slice(value, [first], [end < 0 ? Number.MIN_SAFE_INTEGER : end], [axis], [step]);
}

/** The inverse of `strided`: elements put back at first, first + step, … of an axis of `size`, zeros between them. */
function scattered(op: Emitter, value: Value, axis: number, first: number, step: number, size: number): Value {
  const count = op.shape(value)[axis] ?? 0;
  const width = Math.abs(step);
  const forward = step < 0 && count > 1 ? strided(op, value, axis, count - 1, count, -1) : value;
  const start = step < 0 ? first + step * (count - 1) : first;
  let spaced = forward;
  if (width > 1 && count > 1) {
    const shape = op.shape(forward);
    const gaps = op.pad(op.Unsqueeze(forward, [axis + 1]), axis + 1, 0, width - 1);
    const joined = op.reshape(gaps, [...shape.slice(0, axis), count * width, ...shape.slice(axis + 1)]);
    spaced = strided(op, joined, axis, 0, (count - 1) * width + 1);
  }
  const length = count === 0 ? 0 : (count - 1) * width + 1;
  return op.pad(spaced, axis, count === 0 ? 0 : start, size - length - (count === 0 ? 0 : start));
}

/** Start and step of a slice along each of its axes. */
function slicesOf({ op, x: [x, starts, , axes, steps] }: GradientContext) {
  const firsts = op.integers(starts);
  const along = axes ? op.integers(axes) : firsts.map((_, i) => i);
  const strides = steps ? op.integers(steps) : firsts.map(() => 1);
  return firsts.map((start, i) => {
    const axis = op.axis(x, along[i] ?? 0);
    const size = op.shape(x)[axis] ?? 0;
    const step = strides[i] ?? 1;
    const at = start < 0 ? start + size : start;
    return {
      axis,
      size,
      step,
      first: step > 0 ? Math.min(Math.max(at, 0), size) : Math.min(Math.max(at, 0), size - 1),
    };
  });
}

/** Begin and end pads of each axis. */
function padsOf({ op, x: [x, pads, , axes] }: GradientContext) {
  const list = op.integers(pads);
  const along = axes ? op.integers(axes) : list.slice(list.length / 2).map((_, i) => i);
  return along.map((axis, i) => ({
    axis: op.axis(x, axis),
    begin: list[i] ?? 0,
    end: list[i + along.length] ?? 0,
  }));
}

/** What a mode of Pad puts before and after an axis of `size`, as elements of the axis: `count` from `first` on, at padded place `at`. */
interface Border {
  readonly first: number;
  readonly step: number;
  readonly count: number;
}

const borders: Readonly<Record<string, (size: number, begin: number, end: number) => readonly [Border, Border]>> = {
  reflect: (size, begin, end) => [
    { first: begin, step: -1, count: begin },
    { first: size - 2, step: -1, count: end },
  ],
  edge: (size, begin, end) => [
    { first: 0, step: 0, count: begin },
    { first: size - 1, step: 0, count: end },
  ],
  wrap: (size, begin, end) => [
    { first: size - begin, step: 1, count: begin },
    { first: 0, step: 1, count: end },
  ],
};

/** The gradient along one padded axis: the middle, and what the borders repeat added where they took it from. */
function unpadded(op: Emitter, dy: Value, axis: number, begin: number, end: number, mode: string): Value {
  const total = op.shape(dy)[axis] ?? 0;
  const size = total - begin - end;
  const middle = strided(op, dy, axis, Math.max(begin, 0), total - Math.max(begin, 0) - Math.max(end, 0));
  const inside = op.pad(middle, axis, Math.max(-begin, 0), Math.max(-end, 0));
  const sides = borders[mode]?.(size, Math.max(begin, 0), Math.max(end, 0)) ?? [];
  const parts = sides.flatMap((border, i) => {
    const { first, step, count } = border;
    if (count === 0) return [];
    const piece = strided(op, dy, axis, i === 0 ? 0 : total - count, count);
    const taken = step === 0 ? op.ReduceSum(piece, [axis]) : piece;
    return [scattered(op, taken, axis, first, step || 1, size)];
  });
  return op.sum([inside, ...parts]);
}

export const shapes = {
  // y = x in another shape    dx = dy in x's
  Reshape: inShapeOfInput,
  // y = x in another shape    dx = dy in x's
  Flatten: inShapeOfInput,
  // y = x in another shape    dx = dy in x's
  Squeeze: inShapeOfInput,
  // y = x in another shape    dx = dy in x's
  Unsqueeze: inShapeOfInput,
  // y = x, axes permuted    dx = dy, permuted back
  Transpose: ({ op, node, x: [x], dy: [dy] }) => {
    const rank = op.rank(x);
    const perm = node.ints("perm") ?? Array.from({ length: rank }, (_, i) => rank - 1 - i);
    return [
      op.transpose(
        dy,
        perm.map((_, i) => perm.indexOf(i)),
      ),
    ];
  },
  // y = x, expanded    dx = dy, summed back
  Expand: ({ dy: [dy] }) => [dy],
  // y = x, repeated along axes    dx = sum of the repetitions
  Tile: ({ op, x: [x, repeats], dy: [dy] }) => {
    const shape = op.shape(x);
    const counts = op.integers(repeats);
    const split = shape.flatMap((dim, i) => [counts[i] ?? 1, dim]);
    const axes = counts.flatMap((count, i) => (count === 1 ? [] : [2 * i]));
    if (axes.length === 0) return [dy];
    return [op.reshape(op.ReduceSum(op.reshape(dy, split), axes, { keepdims: 0 }), shape)];
  },
  // y = inputs, joined    dx = each one's part of dy
  Concat: ({ op, node, x, dy: [dy] }) => {
    if (!dy) return [];
    const axis = op.axis(dy, node.int("axis", 0));
    let first = 0;
    return x.map((input) => {
      const size = op.symbolicShape(input)[axis];
      const count = typeof size === "number" ? size : (op.shape(input)[axis] ?? 0);
      first += count;
      return strided(op, dy, axis, first - count, count);
    });
  },
  // y = parts of x    dx = gradients of the parts, joined; zeros for parts without
  Split: ({ op, node, x: [x, split], y, dy }) => {
    const axis = op.axis(x, node.int("axis", 0));
    const sizes = split ? op.integers(split) : undefined;
    const parts = y.map((part, i) => {
      if (dy[i]) return dy[i];
      const shape = op.shape(part ?? x);
      const size = sizes?.[i] ?? shape[axis] ?? 0;
      return op.Expand(
        op.like(x, 0),
        shape.map((dim, k) => (k === axis ? size : dim)),
      );
    });
    return [parts.length === 1 ? parts[0] : op.Concat(...parts, { axis })];
  },
  // y = x[first], x[first + step], …    dx = dy put back there, zeros elsewhere
  Slice: (context) => {
    const {
      op,
      dy: [dy],
    } = context;
    if (!dy) return [];
    const slices = slicesOf(context);
    return [slices.reduce((value, { axis, first, step, size }) => scattered(op, value, axis, first, step, size), dy)];
  },
  // y = x with a border    dx = the middle of dy; what a border repeats is added where it is from; dvalue = sum of the border
  Pad: (context) => {
    const {
      op,
      node,
      x: [x, , value],
      dy: [dy],
      needs,
    } = context;
    if (!dy) return [];
    const mode = node.string("mode", "constant");
    const pads = padsOf(context);
    const dx = pads.reduceRight((inner, { axis, begin, end }) => unpadded(op, inner, axis, begin, end, mode), dy);
    if (!needs[2] || mode !== "constant") return [dx];
    const inside = op.Expand(op.like(x, 0), op.shape(x));
    const isBorder = pads.reduce(
      (all, { axis, begin, end }) => op.pad(all, axis, begin, end, op.like(value, 1)),
      inside,
    );
    return [dx, undefined, op.Mul(dy, isBorder)];
  },
  // y = x in blocks of channels    dx = dy, moved back
  DepthToSpace: ({ op, node, x: [x], dy: [dy] }) => {
    const b = node.int("blocksize", 1);
    const [n = 1, c = 1, h = 1, w = 1] = op.shape(x);
    const apart = op.reshape(dy, [n, c / (b * b), h, b, w, b]);
    const perm = node.string("mode", "DCR") === "CRD" ? [0, 1, 3, 5, 2, 4] : [0, 3, 5, 1, 2, 4];
    return [op.reshape(op.transpose(apart, perm), [n, c, h, w])];
  },
  // y = x in channels of blocks    dx = dy, moved back
  SpaceToDepth: ({ op, node, dy: [dy] }) => [op.DepthToSpace(dy, { blocksize: node.int("blocksize", 1) })],
  // y = x above or below a diagonal    dx = dy there
  Trilu: ({ op, node, x: [, k], dy: [dy] }) => [op.Trilu(dy, k, { upper: node.int("upper", 1) })],
  // y = x, or in training x where the mask is, / (1 - ratio)    dx likewise
  Dropout: ({ op, node, x: [, ratio, training], dy: [dy] }) => {
    if (!training || op.known(training)?.[0] === 0) return [dy];
    const kept = op.Mul(dy, op.mask(op.output(node, 1), dy));
    const share = ratio ? op.Sub(1, op.cast(ratio, op.dtype(dy))) : op.like(dy, 0.5);
    const scaled = op.Div(kept, share);
    return [op.known(training)?.[0] === 1 ? scaled : op.Where(training, scaled, dy)];
  },
} satisfies GradientRules;
