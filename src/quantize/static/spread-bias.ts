/** @file A Gemm whose bias is one number gets one per output channel: ONNX Runtime has integer kernels for those alone. */
import type { Graph } from "../../ir/graph.ts";
import { float32 } from "../../tensor/tensor.ts";
import { dimsAt, opKey } from "../layers/sites.ts";

/** Rewrites such biases of a graph, which computes the same. */
export function spreadBiases(graph: Graph): void {
  for (const node of graph.nodes) {
    const [, , bias] = node.inputs;
    const weight = dimsAt(node, 1);
    if (opKey(node) !== "Gemm" || !weight || !bias?.tensor || bias.isInput) continue;
    const { dtype, size } = bias.tensor;
    const channels = weight[node.int("transB", 0) === 1 ? 0 : 1] as number;
    if (dtype !== "float32" || size !== 1 || channels === 1) continue;
    const [value = 0] = bias.tensor.toFloat32();
    const spread = float32([channels], new Float32Array(channels).fill(value));
    node.setInput(2, graph.addInitializer(graph.uniqueName(`${bias.name}_spread`), spread));
  }
}
