/** @file Which initializers are parameters: what training would change. */
import type { Graph } from "../ir/graph.ts";
import type { Use, Value } from "../ir/value.ts";
import { dtypeInfo } from "../tensor/dtype.ts";
import { own } from "../util/own.ts";

/** Inputs that hold statistics, bounds or fixed transforms, never something learned. */
const fixedInputs: Readonly<Record<string, readonly number[]>> = {
  BatchNormalization: [3, 4],
  Clip: [1, 2],
  DequantizeLinear: [1],
  Div: [1],
  Dropout: [1],
  Pad: [2],
  Pow: [1],
  QuantizeLinear: [1],
  Range: [0, 1, 2],
  Resize: [1, 2],
  STFT: [1, 2],
  Sub: [0, 1],
  ThresholdedRelu: [1],
};

/**
 * The graph's initializers of floats that have an axis (a scalar is a constant of the formula) and that some node uses as more
 * than statistics, bounds or a fixed normalization: `(image - mean) / deviation`.
 */
export function parametersOf(graph: Graph): Value[] {
  return graph.initializers.filter(
    ({ tensor, uses }) =>
      tensor &&
      dtypeInfo(tensor.dtype).kind === "float" &&
      dtypeInfo(tensor.dtype).bits >= 16 &&
      tensor.dims.length > 0 &&
      [...uses].some(isLearned),
  );
}

function isLearned({ node, index }: Use): boolean {
  return !(own(fixedInputs, node.opType)?.includes(index) ?? false);
}
