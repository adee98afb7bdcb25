/** @file What a rewrite of the opset converter works with. */
import type { Node } from "../../ir/node.ts";
import type { ValueType } from "../../ir/types.ts";
import type { Value } from "../../ir/value.ts";
import type { DType } from "../../tensor/dtype.ts";
import type { Tensor } from "../../tensor/tensor.ts";

/** Brings one node, in place, from the version before `to` to what version `to` says. */
export type Rewrite = (node: Node, rewriter: Rewriter) => void;

export interface Rewriter {
  /** A constant for the node's graph: an initializer, or in a function, which has none, a Constant before the node. */
  constant(node: Node, hint: string, tensor: Tensor): Value;
  /** The type inferred before the conversion began. */
  typeOf(value: Value | undefined): ValueType | undefined;
  /** The element type of a value. @throws unsupported-op when it isn't known. */
  dtypeOf(node: Node, value: Value): DType;
  /** @throws unsupported-op naming the node, the version and why. */
  refuse(node: Node, why: string): never;
}
