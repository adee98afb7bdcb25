/** @file Which weights read which channel: what criteria of activations go by. */
import type { Analysis, PortRow } from "./analysis.ts";
import type { Layout } from "./reader-form.ts";
import { type Reader, readersOf } from "./readers.ts";
import { numbersOf } from "./weight-numbers.ts";

/** An axis that a layer sums over. */
export interface SummedRead {
  readonly reader: Reader;
  readonly port: PortRow;
  /** Axes of the layout that number it. */
  readonly axes: readonly number[];
}

/**
 * The axes of all layers along which they sum. What only runs through a layer, channel by channel (depthwise), is read by whoever
 * sums over it afterwards.
 */
export function summedReads(analysis: Analysis): SummedRead[] {
  return readersOf(analysis).flatMap((reader) =>
    reader.ports.flatMap(({ port, axes }) =>
      axes.some((axis) => reader.layout.in.includes(axis) && (reader.layout.dims[axis] as number) > 1)
        ? [{ reader, port, axes }]
        : [],
    ),
  );
}

/** Σ |w| over the weights that read each channel. */
export function channelSums({ reader, port, axes }: SummedRead): Float64Array {
  const sums = new Float64Array(port.size);
  const values = numbersOf(reader.weight);
  const channelOf = indexer(reader.layout, axes);
  for (let at = 0; at < values.length; at++) {
    const channel = channelOf(at);
    sums[channel] = (sums[channel] as number) + Math.abs(values[at] as number);
  }
  return sums;
}

/** The index along some axes, the last running fastest, of an element of the weight. */
function indexer({ dims }: Layout, axes: readonly number[]): (at: number) => number {
  const strides = stridesOf(dims);
  return (at) => axes.reduce((index, axis) => index * (dims[axis] as number) + coordinate(at, axis), 0);
  function coordinate(at: number, axis: number) {
    return Math.floor(at / (strides[axis] as number)) % (dims[axis] as number);
  }
}

export function stridesOf(dims: readonly number[]): number[] {
  const strides = dims.map(() => 1);
  for (let axis = dims.length - 2; axis >= 0; axis--)
    strides[axis] = (strides[axis + 1] as number) * (dims[axis + 1] as number);
  return strides;
}
