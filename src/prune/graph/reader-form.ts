/** @file How a layer reads channels: the layout of its weight, the axes that it sums over. */
import type { Unfolding } from "../../calibrate/gram.ts";

/** A weight as [batch…, in…, out…]: every output is a sum over `in`, of its own batch index. */
export interface Layout {
  /** The weight's dims, those that hold groups taken apart. */
  readonly dims: readonly number[];
  readonly batch: readonly number[];
  readonly in: readonly number[];
  readonly out: readonly number[];
}

/** An axis of the input, and the axes of the layout that number it, the last running fastest. */
export interface Read {
  readonly axis: number;
  readonly axes: readonly number[];
}

/** Where a bias can go: an input of the node, or an Add behind it. */
export type BiasPlace = "input" | "add";

/** What a row of the table says of a node. */
export interface Form {
  readonly input: number;
  readonly weight: number;
  readonly layout: Layout;
  readonly reads: readonly Read[];
  /** How second moments are taken of what it reads. @throws unsupported-op */
  unfolding(): Unfolding;
  readonly bias?: BiasPlace;
}
