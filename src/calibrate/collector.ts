/** @file What a statistic is: a collector sees a value of the graph at every run and sums up, in constant memory. */
import type { HostTensor } from "../tensor/host-tensor.ts";
import type { Probe } from "./probes.ts";

/** Gathers one statistic of one value. */
export interface Collector<Stats = unknown> {
  readonly name: string;
  /** What is computed of the value inside the graph; `add` gets the results in this order. */
  readonly needs: readonly Probe[];
  /** Takes in one run. What it is given is only lent. */
  add(seen: readonly HostTensor[]): void;
  /** The statistic of everything seen so far. */
  result(): Stats;
}

/** Smallest and largest value, as a collector for quantization saw fit: outliers may lie outside. */
export interface Range {
  readonly min: number;
  readonly max: number;
  /** What was seen, where the range may be less. */
  readonly seen?: { readonly min: number; readonly max: number };
}

/** A float32 result as the array it lies in. */
export function floats(tensor: HostTensor | undefined): Float32Array {
  return tensor?.data as Float32Array;
}

/** A float32 result of one element. */
export function scalar(tensor: HostTensor | undefined): number {
  return floats(tensor)[0] as number;
}
