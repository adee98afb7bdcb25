/** @file How a tensor is cut into slices that share a scale: the two shapes that the kernels know. */
import { TersorError } from "../../util/errors.ts";
import type { Granularity } from "./spec.ts";

/**
 * The tensor as `blocks` consecutive blocks. In a block of runs, [count, runLength], each run is a slice; in a block of
 * columns, [rows, n], each `fold` neighbouring columns are one slice. `accumulate`: all blocks share the slices of the first.
 */
export interface Slices {
  readonly form: "runs" | "columns";
  readonly blocks: number;
  /** runs: number of runs; columns: number of rows. */
  readonly rows: number;
  /** runs: length of a run; columns: number of columns. */
  readonly n: number;
  readonly fold: number;
  /** Number of scales. */
  readonly count: number;
  /** Dims of the scale as DequantizeLinear wants it. */
  readonly scaleDims: readonly number[];
  /** DequantizeLinear's attributes; absent for one scale. */
  readonly axis?: number;
  readonly blockSize?: number;
}

/** Axes of a weight: one output channel per index of `channel`; groups run along `group`. */
export interface WeightAxes {
  readonly channel: number;
  readonly group: number;
}

/**
 * Cuts `dims` by the granularity. `subject` opens error messages.
 * @throws bad-recipe when the group size does not divide the axis; the message lists sizes that do.
 */
export function slicesOf(dims: readonly number[], axes: WeightAxes, granularity: Granularity, subject: string): Slices {
  const product = (from: number, to: number) => dims.slice(from, to).reduce((a, b) => a * b, 1);
  const rank = dims.length;
  if (granularity.per === "model" || granularity.per === "tensor")
    return { form: "runs", blocks: 1, rows: 1, n: product(0, rank), fold: 1, count: 1, scaleDims: [] };
  if (granularity.per === "channel") {
    const { channel: axis } = axes;
    const channels = dims[axis] as number;
    const outer = product(0, axis);
    const inner = product(axis + 1, rank);
    const scale = { count: channels, scaleDims: [channels], axis };
    if (outer === 1) return { form: "runs", blocks: 1, rows: channels, n: inner, fold: 1, ...scale };
    return { form: "columns", blocks: 1, rows: outer, n: channels * inner, fold: inner, ...scale };
  }
  const { group: axis } = axes;
  const { size } = granularity;
  const length = dims[axis] as number;
  if (length % size !== 0) throw indivisible(subject, dims, axis, size);
  const outer = product(0, axis);
  const inner = product(axis + 1, rank);
  const groups = length / size;
  const scale = {
    count: outer * groups * inner,
    scaleDims: dims.map((dim, i) => (i === axis ? groups : dim)),
    axis,
    blockSize: size,
  };
  if (inner === 1) return { form: "runs", blocks: 1, rows: outer * groups, n: size, fold: 1, ...scale };
  return { form: "columns", blocks: outer * groups, rows: size, n: inner, fold: 1, ...scale };
}

function indivisible(subject: string, dims: readonly number[], axis: number, size: number): TersorError {
  const length = dims[axis] as number;
  const divisors = Array.from({ length: Math.min(length, 1024) }, (_, i) => i + 1).filter(
    (d) => d > 7 && length % d === 0,
  );
  const near = divisors
    .sort((a, b) => Math.abs(a - size) - Math.abs(b - size))
    .slice(0, 3)
    .sort((a, b) => a - b);
  const advice = near.length > 0 ? `Use ${near.join(", ")} or granularity "channel"` : `Use granularity "channel"`;
  return new TersorError(
    "bad-recipe",
    `${subject} [${dims.join(", ")}]: group size ${size} does not divide axis ${axis} (${length}). ${advice}.`,
  );
}
