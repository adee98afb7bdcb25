/** @file Layers that read channels: which axis of their input and of their weight an index stands on. A row per operator. */
import type { Node } from "../ir/node.ts";
import type { Value } from "../ir/value.ts";
import type { Analysis, PortRow } from "./analysis.ts";

/** A layer with a constant weight that sums over the channels of a computed input. */
export interface Reader {
  readonly node: Node;
  readonly input: Value;
  /** Channels of the input. */
  readonly port: PortRow;
  readonly weight: Value;
  /** Axes of the weight: what is summed over, and what is made. */
  readonly inAxis: number;
  readonly outAxis: number;
}

type Row = (
  node: Node,
  rank: number,
) => { readonly axis: number; readonly inAxis: number; readonly outAxis: number } | undefined;

const rows: Readonly<Record<string, Row>> = {
  Conv: (node) => (node.int("group", 1) === 1 ? { axis: 1, inAxis: 1, outAxis: 0 } : undefined),
  Gemm(node) {
    const transB = node.int("transB", 0);
    const isPlain = node.int("transA", 0) === 0 && node.float("alpha", 1) === 1 && node.float("beta", 1) === 1;
    return isPlain ? { axis: 1, inAxis: transB ? 1 : 0, outAxis: transB ? 0 : 1 } : undefined;
  },
  MatMul: (_, rank) => (rank === 2 ? { axis: -1, inAxis: 0, outAxis: 1 } : undefined),
};

/** The readers of the main graph, in its order. */
export function readersOf({ model, inference, port }: Analysis): Reader[] {
  return model.graph.nodes.flatMap((node) => {
    const [input, weight] = node.inputs;
    const row = node.domain === "" && weight?.tensor?.dtype === "float32" ? rows[node.opType] : undefined;
    const type = input && inference.types.get(input);
    if (!row || !input || input.isConstant || !weight?.tensor || type?.kind !== "tensor" || type.dtype !== "float32")
      return [];
    const found = row(node, weight.tensor.dims.length);
    const rank = type.shape?.length ?? 0;
    const channels = found && port(input, found.axis < 0 ? found.axis + rank : found.axis);
    return found && channels
      ? [{ node, input, port: channels, weight, inAxis: found.inAxis, outAxis: found.outAxis }]
      : [];
  });
}
