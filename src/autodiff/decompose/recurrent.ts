/** @file Recurrent layers with the batch first (layout 1), which ONNX Runtime's CPU kernels don't take: transposed around layout 0. */
import type { Value } from "../../ir/value.ts";
import type { Decomposition, Decompositions } from "./decomposition.ts";

/** Inputs and outputs with a batch axis, by what puts it second, and back. */
const sequence = [1, 0, 2];
const restored = [2, 0, 1, 3];
const state = [1, 0, 2];
const inputOrders: Readonly<Record<number, readonly number[]>> = { 0: sequence, 5: state, 6: state };

const batchFirst: Decomposition = ({ node, op, x }) => {
  if (node.int("layout", 0) === 0) return undefined;
  const attributes = new Map(node.attributes);
  attributes.delete("layout");
  const twin = op.graph.addNode({
    opType: node.opType,
    inputs: x.map((value, i) => (value && inputOrders[i] ? op.transpose(value, inputOrders[i]) : value)),
    outputs: node.outputs.map((output) => output && `${output.name}.steps`),
    attributes,
  });
  return node.outputs.map((output, i) => {
    if (!output) return undefined;
    const own = twin.output(i) as Value;
    const [a = null, b = null, c = null, d = null] = op.symbolicShape(output);
    const dtype = op.dtype(output);
    // [n, t, directions, h] comes from [t, directions, n, h]; states [n, directions, h] from [directions, n, h].
    op.declare(own, { kind: "tensor", dtype, shape: i === 0 ? [b, c, a, d] : [b, a, c] });
    return op.transpose(own, i === 0 ? restored : state);
  });
};

export const recurrents = { LSTM: batchFirst, GRU: batchFirst, RNN: batchFirst } satisfies Decompositions;
