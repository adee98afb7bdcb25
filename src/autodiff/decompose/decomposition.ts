/** @file What a decomposition is given, and what it gives back. */
import type { Node } from "../../ir/node.ts";
import type { Value } from "../../ir/value.ts";
import type { Emitter } from "../emitter.ts";

export interface DecompositionContext {
  readonly node: Node;
  readonly op: Emitter;
  readonly x: readonly (Value | undefined)[];
}

/**
 * What computes the node's outputs, in order, from operators with gradient rules; undefined where the node stays as it is.
 * @throws unsupported-op for a form of the operator that can't be taken apart
 */
export type Decomposition = (context: DecompositionContext) => readonly (Value | undefined)[] | undefined;
export type Decompositions = Readonly<Record<string, Decomposition>>;
