/** @file What a gradient rule is given, and what it gives back. */
import type { Node } from "../ir/node.ts";
import type { Value } from "../ir/value.ts";
import type { Emitter } from "./emitter.ts";

/** One node of the forward graph whose outputs have gradients. */
export interface GradientContext {
  readonly node: Node;
  /** Emits operators; see {@link Emitter}. */
  readonly op: Emitter;
  /** Inputs, undefined where an optional one is left out. */
  readonly x: readonly (Value | undefined)[];
  /** Outputs, undefined where nothing needs them; `op.output` makes one that is missing. */
  readonly y: readonly (Value | undefined)[];
  /** Gradients of the outputs, each of its output's shape; undefined where none arrives. A node with one output always has it. */
  readonly dy: readonly (Value | undefined)[];
  /** By input: whether its gradient is asked for. What a rule emits for others is removed, so only costly decisions need it. */
  readonly needs: readonly boolean[];
}

/**
 * One gradient per input, in order; undefined, or a shorter list, where none flows. A gradient may have any shape that broadcasts
 * with its input's: the driver sums it back, or expands it.
 */
export type GradientRule = (context: GradientContext) => readonly (Value | undefined)[];
export type GradientRules = Readonly<Record<string, GradientRule>>;
