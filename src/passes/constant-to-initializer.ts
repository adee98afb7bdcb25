/** @file Pass: Constant nodes become initializers of the same name, in the graph and its subgraphs. */
import type { SparseTensor } from "../ir/attribute.ts";
import type { Node } from "../ir/node.ts";
import { float32, fromTypedArray, int64, stringTensor, type Tensor } from "../tensor/tensor.ts";
import { TersorError } from "../util/errors.ts";
import { unlistInitializers } from "./constants.ts";
import { edit, type Pass } from "./pass.ts";

/** The attribute forms of Constant (opset 12 and later; `value` alone before, `sparse_value` since 11). */
const forms: Readonly<Record<string, (node: Node, name: string) => Tensor | SparseTensor | undefined>> = {
  value: (node, name) => node.tensor(name),
  sparse_value: (node, name) => node.get(name, "sparse-tensor"),
  value_float: (node, name) => scalar(node.float(name), (x) => float32([], [x])),
  value_floats: (node, name) => list(node.get(name, "floats"), float32),
  value_int: (node, name) => scalar(node.get(name, "int"), (x) => fromTypedArray("int64", [], BigInt64Array.of(x))),
  value_ints: (node, name) => list(node.get(name, "ints"), int64),
  value_string: (node, name) => scalar(node.get(name, "string"), (x) => stringTensor([], [x])),
  value_strings: (node, name) => list(node.get(name, "strings"), stringTensor),
};

/**
 * Function bodies keep theirs: a function has no initializers. A sparse constant becomes a sparse initializer.
 * @throws bad-model for a Constant without a value.
 */
export const constantToInitializer: Pass = (model) =>
  edit(model, (copy) => {
    unlistInitializers(copy);
    let modified = false;
    for (const graph of copy.graphs()) {
      const constants = graph.nodes.filter((node) => node.opType === "Constant" && node.domain === "");
      for (const node of constants) {
        const output = node.outputs[0];
        if (output) graph.fixValue(output, constantOf(node));
      }
      graph.removeNodes(constants);
      modified ||= constants.length > 0;
    }
    return modified;
  });

/** What a Constant node holds. @throws bad-model when it has no value. */
export function constantOf(node: Node): Tensor | SparseTensor {
  for (const [name, read] of Object.entries(forms)) {
    const constant = read(node, name);
    if (constant) return constant;
  }
  throw new TersorError(
    "bad-model",
    `${node}: has no value: expected one of ${Object.keys(forms).join(", ")}. The model is not valid ONNX.`,
  );
}

function scalar<T>(value: T | undefined, make: (value: T) => Tensor): Tensor | undefined {
  return value === undefined ? undefined : make(value);
}

function list<T>(values: readonly T[] | undefined, make: (dims: number[], values: readonly T[]) => Tensor) {
  return values && make([values.length], values);
}
