/** @file Windows over spatial dims: what convolution and pooling attributes mean, and how a window's elements are cut out. */
import type { Node } from "../../ir/node.ts";
import type { Value } from "../../ir/value.ts";
import type { Emitter } from "../emitter.ts";

/** A window over `rank` spatial dims; all lists have that length. */
export interface Window {
  readonly kernel: readonly number[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  /** Zeros put before and after each dim. */
  readonly begin: readonly number[];
  readonly end: readonly number[];
}

/** How far a window reaches along an axis. */
export function reachOf({ kernel, dilations }: Window, axis: number): number {
  return ((kernel[axis] ?? 1) - 1) * (dilations[axis] ?? 1) + 1;
}

export function isAll(list: readonly number[], value: number): boolean {
  return list.every((each) => each === value);
}

/** The window of a Conv or pool: `input` the spatial dims that it runs over, `output` those that it gives. */
export function windowOf(
  node: Node,
  kernel: readonly number[],
  input: readonly number[],
  output: readonly number[],
): Window {
  const { strides, dilations, pads } = attributesOf(node, kernel);
  const autoPad = node.string("auto_pad", "NOTSET");
  const window = { kernel, strides, dilations, begin: [], end: [] };
  if (!autoPad.startsWith("SAME")) {
    const rank = kernel.length;
    return autoPad === "VALID" ? { ...window, ...zeroPads(rank) } : { ...window, ...halves(pads) };
  }
  const total = kernel.map((_, i) => {
    const covered = ((output[i] ?? 1) - 1) * (strides[i] ?? 1) + reachOf(window, i);
    return Math.max(0, covered - (input[i] ?? 1));
  });
  return { ...window, ...split(total, autoPad === "SAME_UPPER") };
}

/** The window of a ConvTranspose, seen as that of the Conv from its output to its input. */
export function transposedWindowOf(
  node: Node,
  kernel: readonly number[],
  input: readonly number[],
  output: readonly number[],
): Window {
  const { strides, dilations, pads } = attributesOf(node, kernel);
  const window = { kernel, strides, dilations, begin: [], end: [] };
  const autoPad = node.string("auto_pad", "NOTSET");
  if (autoPad === "VALID") return { ...window, ...zeroPads(kernel.length) };
  if (autoPad === "NOTSET" && !node.ints("output_shape")) return { ...window, ...halves(pads) };
  const extra = node.ints("output_padding") ?? [];
  const total = kernel.map((_, i) => {
    const full = ((input[i] ?? 1) - 1) * (strides[i] ?? 1) + (extra[i] ?? 0) + reachOf(window, i);
    return Math.max(0, full - (output[i] ?? 1));
  });
  return { ...window, ...split(total, autoPad === "SAME_UPPER") };
}

function attributesOf(node: Node, kernel: readonly number[]) {
  const ones = kernel.map(() => 1);
  return {
    strides: node.ints("strides") ?? ones,
    dilations: node.ints("dilations") ?? ones,
    pads: node.ints("pads") ?? [...ones, ...ones].map(() => 0),
  };
}

function zeroPads(rank: number) {
  const zeros = new Array<number>(rank).fill(0);
  return { begin: zeros, end: zeros };
}

function halves(pads: readonly number[]) {
  return { begin: pads.slice(0, pads.length / 2), end: pads.slice(pads.length / 2) };
}

/** An odd total puts the larger half after the dim, or before it. */
function split(total: readonly number[], largerAtEnd: boolean) {
  const half = total.map((each) => (largerAtEnd ? Math.floor(each / 2) : Math.ceil(each / 2)));
  return { begin: half, end: total.map((each, i) => each - (half[i] ?? 0)) };
}

/** The attributes of a Conv or pool over the window. */
export function attributesFor({ kernel, strides, dilations, begin, end }: Window) {
  return { kernel_shape: kernel, strides, dilations, pads: [...begin, ...end] };
}

/** Every element of a kernel, row-major, by its index along each axis. */
export function elementsOf(kernel: readonly number[]): readonly (readonly number[])[] {
  return kernel.reduce<number[][]>(
    (all, size) => all.flatMap((index) => Array.from({ length: size }, (_, i) => [...index, i])),
    [[]],
  );
}

/** x [a, b, …spatial] with the window's zeros around it, as far as windows reach; what none of them touches may be cut off. */
export function padded(op: Emitter, x: Value | undefined, { begin, end }: Window): Value {
  const pads = [0, 0, ...begin, 0, 0, ...end];
  return isAll(pads, 0) ? (x as Value) : op.Pad(x, pads);
}

/** Of a padded x [a, b, …spatial], the elements under one element of the window at all its positions: [a, b, …positions]. */
export function under(
  op: Emitter,
  x: Value,
  { strides, dilations }: Window,
  element: readonly number[],
  positions: readonly number[],
): Value {
  const starts = element.map((k, i) => k * (dilations[i] ?? 1));
  const ends = starts.map((start, i) => start + ((positions[i] ?? 1) - 1) * (strides[i] ?? 1) + 1);
  const spatial = op.shape(x).slice(2);
  if (isAll(starts, 0) && isAll(strides, 1) && ends.every((end, i) => end === spatial[i])) return x;
  return op.Slice(
    x,
    starts,
    ends,
    element.map((_, i) => i + 2),
    strides,
  );
}
