/** @file Shape rules: the same elements under another shape or order. */
import type { Dim, Shape } from "../../ir/types.ts";
import { addDims, divideDims, floorDivideDims, multiplyDims, product, sameDim } from "../symbolic/dim.ts";
import { type Call, type ShapeRule, type ShapeRules, unknownShape } from "./call.ts";

/** The length of a vector input, when it is known: the rank of what it describes. */
export function lengthOf(call: Call, index: number): number | undefined {
  const length = call.shape(index)?.[0];
  return typeof length === "number" && length <= 64 ? length : undefined;
}

/** A shape of unknown dims whose rank is the length of a vector input. */
export function rankFrom(call: Call, index: number): Shape | undefined {
  const rank = lengthOf(call, index);
  return rank === undefined ? undefined : unknownShape(rank);
}

const reshape: ShapeRule = (call) => {
  const target = call.has(1) ? call.values(1) : call.node.ints("shape");
  if (!target) return [call.out(rankFrom(call, 1))];
  return [call.out(reshaped(call, call.shape(0), target, call.flag("allowzero")))];
};

/** 0 copies the dim at the same place (unless `allowZero`), one −1 takes what is left. */
export function reshaped(call: Call, from: Shape | undefined, target: readonly Dim[], allowZero: boolean): Shape {
  const dims = target.map((dim, i): Dim => {
    if (dim !== 0 || allowZero) return dim;
    if (from && i >= from.length) call.fail("shape copies (0) a dim", `one of ${from.length}`, `dim ${i}`);
    return from?.[i] ?? null;
  });
  const open = dims.indexOf(-1);
  if (dims.some((dim, i) => typeof dim === "number" && dim < 0 && i !== open))
    call.fail("shape", "sizes and at most one -1", `[${target}]`);
  if (open < 0) {
    const [had, asked] = [from && product(from), product(dims)];
    if (typeof had === "number" && typeof asked === "number" && had !== asked)
      call.fail("shape", `${had} elements ([${from}])`, `[${target}]`);
    return solved(dims, from);
  }
  dims[open] = from ? rest(call, from, dims, open) : null;
  return dims;
}

/** The size that -1 stands for. Dims that occur on both sides cancel, also where nothing is known of them. */
function rest(call: Call, from: Shape, dims: readonly Dim[], open: number): Dim {
  const had = [...from];
  const asked = dims.filter((_, i) => i !== open);
  const copied = dims.flatMap((dim, i) => (dim === null && i !== open && from[i] === null ? [i] : []));
  // A copied unknown dim is the same size on both sides.
  if (copied.length > 0 && copied.length === asked.filter((dim) => dim === null).length)
    return divided(
      call,
      had.filter((_, i) => !copied.includes(i)),
      asked.filter((dim) => dim !== null),
    );
  return divided(call, had, asked);
}

function divided(call: Call, had: readonly Dim[], asked: readonly Dim[]): Dim {
  const [total, known] = [product(had), product(asked)];
  if (typeof total === "number" && typeof known === "number") {
    if (known === 0) return total === 0 ? 0 : null;
    if (total % known !== 0) call.fail("shape", `a divisor of ${total} elements`, `${known} times -1`);
  }
  return divideDims(total, known);
}

/** One unknown dim of the target follows from the number of elements. */
function solved(dims: readonly Dim[], from: Shape | undefined): Shape {
  const open = dims.indexOf(null);
  if (!from || open < 0 || open !== dims.lastIndexOf(null)) return dims;
  const asked = product(dims.filter((_, i) => i !== open));
  const size = asked === 0 ? null : divideDims(product(from), asked);
  return dims.map((dim, i) => (i === open ? size : dim));
}

const flatten: ShapeRule = (call) => {
  const shape = call.shape(0);
  if (!shape) return [call.out(unknownShape(2))];
  const axis = call.axis(call.int("axis", 1), shape.length, 1);
  const at = call.int("axis", 1) < 0 ? axis - 1 : axis;
  return [call.out([product(shape.slice(0, at)), product(shape.slice(at))])];
};

const transpose: ShapeRule = (call) => {
  const shape = call.shape(0);
  const perm = call.node.ints("perm");
  if (!shape) return [call.out(perm && unknownShape(perm.length))];
  return [call.out(permuted(call, shape, perm))];
};

export function permuted<T>(call: Call, items: readonly T[], perm: readonly number[] | undefined): readonly T[] {
  if (!perm) return [...items].reverse();
  const valid = perm.length === items.length && new Set(perm).size === perm.length;
  const taken = perm.map((from) => items[from]).filter((item) => item !== undefined);
  if (!valid || taken.length !== items.length)
    call.fail('attribute "perm"', `a permutation of ${items.length} axes`, `[${perm}]`);
  return taken;
}

const squeeze: ShapeRule = (call) => {
  const shape = call.shape(0);
  const axes = call.numbersFrom("axes", 1);
  if (!shape || axes === undefined) return [call.out(undefined)];
  // Without axes every dim of size 1 goes; with a symbolic dim the rank is then open.
  if (axes === "absent")
    return [call.out(shape.every((dim) => typeof dim === "number") ? shape.filter((dim) => dim !== 1) : undefined)];
  const gone = new Set(axes.map((axis) => call.axis(axis, shape.length)));
  for (const axis of gone) call.equal("squeezed dim", 1, shape[axis]);
  return [call.out(shape.filter((_, axis) => !gone.has(axis)))];
};

const unsqueeze: ShapeRule = (call) => {
  const shape = call.shape(0);
  const axes = call.numbersFrom("axes", 1);
  if (!shape) return [call.out(undefined)];
  if (axes === undefined || axes === "absent") {
    const count = lengthOf(call, 1);
    return [call.out(count === undefined ? undefined : unknownShape(shape.length + count))];
  }
  return [call.out(unsqueezed(call, shape, axes))];
};

function unsqueezed(call: Call, shape: Shape, axes: readonly number[]): Shape {
  const rank = shape.length + axes.length;
  const added = new Set(axes.map((axis) => call.axis(axis, rank)));
  if (added.size !== axes.length) call.fail("axes", "no axis twice", `[${axes}]`);
  const left = [...shape];
  return Array.from({ length: rank }, (_, i) => (added.has(i) ? 1 : (left.shift() ?? null)));
}

const concat: ShapeRule = (call) => {
  const shapes = call.node.inputs.map((_, i) => call.shape(i));
  return [call.out(concatenated(call, shapes, call.int("axis", 1)))];
};

/** Dims along `axis` add up, the others agree. */
export function concatenated(call: Call, shapes: readonly (Shape | undefined)[], axis: number): Shape | undefined {
  const known = shapes.find((shape) => shape !== undefined);
  if (!known) return undefined;
  const at = call.axis(axis, known.length);
  return known.map((_, i) => {
    const dims = shapes.map((shape): Dim => {
      if (shape && shape.length !== known.length) call.fail("rank of the inputs", `${known.length}`, `[${shape}]`);
      return shape?.[i] ?? null;
    });
    return i === at ? dims.reduce(addDims, 0) : dims.reduce((a, b) => call.equal(`dim ${i} of the inputs`, a, b));
  });
}

const depthToSpace: ShapeRule = (call) => {
  const shape = call.ranked(0, 4);
  const block = call.int("blocksize", 1);
  if (!shape) return [call.out(unknownShape(4))];
  const [n = null, c = null, h = null, w = null] = shape;
  return [call.out([n, floorDivideDims(c, block * block), multiplyDims(h, block), multiplyDims(w, block)])];
};

const spaceToDepth: ShapeRule = (call) => {
  const shape = call.ranked(0, 4);
  const block = call.int("blocksize", 1);
  if (!shape) return [call.out(unknownShape(4))];
  const [n = null, c = null, h = null, w = null] = shape;
  return [call.out([n, multiplyDims(c, block * block), floorDivideDims(h, block), floorDivideDims(w, block)])];
};

const expand: ShapeRule = (call) => {
  const target = call.values(1);
  const shape = call.shape(0);
  if (target) return [call.out(call.broadcast([shape, target]))];
  const rank = lengthOf(call, 1);
  return [call.out(shape && rank !== undefined ? unknownShape(Math.max(shape.length, rank)) : undefined)];
};

const tile: ShapeRule = (call) => {
  const shape = call.shape(0);
  const repeats = call.values(1);
  if (!shape) return [call.out(rankFrom(call, 1))];
  // Opset 1: `tiles` times along `axis`.
  if (call.opset < 6) {
    const axis = call.scalar(2);
    const at = typeof axis === "number" ? call.axis(axis, shape.length) : undefined;
    return [
      call.out(shape.map((dim, i) => (at === undefined ? null : i === at ? multiplyDims(dim, call.scalar(1)) : dim))),
    ];
  }
  if (repeats && repeats.length !== shape.length) call.fail("repeats", `${shape.length} numbers`, `[${repeats}]`);
  return [call.out(shape.map((dim, i) => multiplyDims(dim, repeats?.[i] ?? null)))];
};

const split: ShapeRule = (call) => {
  const shape = call.shape(0);
  const outputs = call.node.outputs.length;
  if (!shape) return call.node.outputs.map(() => call.out(undefined));
  const axis = call.axis(call.int("axis", 0), shape.length);
  const sizes = call.has(1) ? call.values(1) : call.node.ints("split");
  const dims = sizes ?? (call.has(1) ? unknownShape(outputs) : equalParts(call, shape[axis] ?? null, outputs));
  if (dims.length !== outputs) call.fail("number of parts", `${outputs}`, `[${dims}]`);
  const total = dims.reduce(addDims, 0);
  call.equal(`sum of the parts of axis ${axis}`, shape[axis], total);
  return dims.map((part) => call.out(shape.map((dim, i) => (i === axis ? part : dim))));
};

/** Parts of one size; from opset 18 on the last one may be smaller. */
export function equalParts(call: Call, dim: Dim, count: number): readonly Dim[] {
  const parts = call.int("num_outputs", count);
  const exact = divideDims(dim, parts);
  if (typeof exact === "number" ? Number.isInteger(exact) : exact !== null && call.opset < 18)
    return Array.from({ length: parts }, () => exact);
  if (call.opset < 18 && typeof dim === "number") call.fail("split axis", `a multiple of ${parts}`, `${dim}`);
  const part = floorDivideDims(addDims(dim, parts - 1), parts);
  if (sameDim(multiplyDims(part, parts), dim)) return Array.from({ length: parts }, () => part);
  const last = addDims(dim, multiplyDims(part, 1 - parts));
  return Array.from({ length: parts }, (_, i) => (i < parts - 1 ? part : last));
}

export const reshapes: ShapeRules = {
  Reshape: reshape,
  Flatten: flatten,
  Transpose: transpose,
  Squeeze: squeeze,
  Unsqueeze: unsqueeze,
  Concat: concat,
  DepthToSpace: depthToSpace,
  SpaceToDepth: spaceToDepth,
  Expand: expand,
  Tile: tile,
  Split: split,
};
