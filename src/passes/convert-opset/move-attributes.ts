/** @file Rewrites that turn attributes into inputs. */
import type { Node } from "../../ir/node.ts";
import type { Value } from "../../ir/value.ts";
import { float32, fromNumbers, int64, type Tensor } from "../../tensor/tensor.ts";
import type { Rewrite, Rewriter } from "./rewriter.ts";

/** Reads an attribute as the constant that replaces it, undefined when it is absent. */
type Reader = (node: Node, name: string, rewriter: Rewriter) => Tensor | undefined;

export const asInts: Reader = (node, name) => {
  const values = node.get(name, "ints");
  return values && int64([values.length], values);
};

export const asIntVector: Reader = (node, name) => {
  const value = node.get(name, "int");
  return value === undefined ? undefined : int64([1], [value]);
};

export const asFloats: Reader = (node, name) => {
  const values = node.get(name, "floats");
  return values && float32([values.length], values);
};

export const asFloat: Reader = (node, name) => {
  const value = node.float(name);
  return value === undefined ? undefined : float32([], [value]);
};

/** A scalar of the type of the node's first input. */
export const asScalarOfInput: Reader = (node, name, rewriter) => {
  const value = node.float(name);
  return value === undefined ? undefined : fromNumbers(rewriter.dtypeOf(node, node.input(0)), [], [value]);
};

/** As {@link asScalarOfInput}, but zero, which an absent input stands for, is left out. */
export const asPadValue: Reader = (node, name, rewriter) =>
  node.float(name, 0) === 0 ? undefined : asScalarOfInput(node, name, rewriter);

/** Input 1 becomes the first of these attributes, input 2 the second, and so on; the input of an absent one stays empty. */
export function moveAttributes(attributes: Readonly<Record<string, Reader>>): Rewrite {
  return (node, rewriter) => {
    Object.entries(attributes).forEach(([name, read], i) => {
      const tensor = read(node, name, rewriter);
      if (tensor) node.setInput(i + 1, constantFor(node, name, tensor, rewriter));
      node.attributes.delete(name);
    });
  };
}

/** A constant named after the node and what it is for. */
export function constantFor(node: Node, purpose: string, tensor: Tensor, rewriter: Rewriter): Value {
  const owner = node.name || node.outputs.find((output) => output)?.name || node.opType;
  return rewriter.constant(node, `${owner}_${purpose}`, tensor);
}
