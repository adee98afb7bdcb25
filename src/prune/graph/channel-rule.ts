/** @file What a row of the table of channel rules is. */
import type { Node } from "../../ir/node.ts";
import type { Dim } from "../../ir/types.ts";
import type { Value } from "../../ir/value.ts";
import type { Channels, RuleContext } from "./port.ts";

/** What was cut, as the node's own attributes and constants have to follow it. */
export interface NodeCut {
  readonly node: Node;
  readonly opset: number;
  /** Indices of an axis that stay, ascending; undefined where all do. */
  kept(value: Value | undefined, axis: number): readonly number[] | undefined;
  /** The dims of a value before the cut. */
  before(value: Value | undefined): readonly Dim[];
  /** The dims of a value after the cut. */
  after(value: Value | undefined): readonly Dim[];
  /** The elements of a small integer input that are known, null where they are not. */
  integers(input: number): readonly (number | null)[] | undefined;
  /** Replaces elements of a one-dimensional integer input; where it is computed, inside the graph. */
  patch(input: number, values: ReadonlyMap<number, number>): void;
  /** The same of what is an attribute in old operator sets and an input in later ones. */
  patchInts(attribute: string, input: number, values: ReadonlyMap<number, number>): void;
  /** Replaces elements of the first output, which is a vector of integers, for all that use it. */
  patchOutput(values: ReadonlyMap<number, number>): void;
  /** Replaces an integer input by a constant vector. */
  setInts(input: number, values: readonly number[]): void;
  setAttribute(name: string, values: readonly number[]): void;
  /** Multiplies the first output by a number, for all that use it. */
  scaleOutput(factor: number): void;
  /** Multiplies a constant input by a number; other nodes that read it keep theirs. */
  scaleConstant(input: number, factor: number): void;
}

export interface ChannelRule {
  /**
   * How the axes of a node hang together; several answers where an axis may be cut in several ways, the preferred one first. Nothing
   * for a form of the operator that can't be cut.
   */
  link(context: RuleContext): Channels | readonly Channels[] | undefined;
  /** Makes attributes and constants fit after a cut: called where an axis of an input or output was cut, before constants are. */
  fix?(cut: NodeCut): void;
}

export type ChannelRules = Readonly<Record<string, ChannelRule>>;
