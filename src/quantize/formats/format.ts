/** @file What a quantized weight becomes in the graph: the interface of a format, and where its nodes go. */

import { attr } from "../../ir/attribute.ts";
import type { Graph } from "../../ir/graph.ts";
import type { Model } from "../../ir/model.ts";
import type { Node } from "../../ir/node.ts";
import type { Value } from "../../ir/value.ts";
import type { ScaleParams } from "../grid/scales.ts";
import type { QuantSpec } from "../grid/spec.ts";
import { opKey, type WeightLayer } from "../layers/sites.ts";
import type { MethodRun } from "../lazy/by-method.ts";
import type { PendingWeight } from "../lazy/pool/method-pool.ts";

/** A layer with everything decided about it. */
export interface LayerPlan {
  readonly layer: WeightLayer;
  readonly spec: QuantSpec;
  readonly seed: number;
  /** Whether to measure the weight SQNR. */
  readonly measure: boolean;
  /** MatMulNBits' accuracy_level: 4 lets the runtime quantize activations to int8, 0 computes in float. */
  readonly accuracyLevel: number;
  /** What computes the codes where that is not plain rounding. */
  readonly run?: MethodRun;
  /** Scale and zero point shared by the whole model. */
  readonly fixed?: ScaleParams & { readonly scale: Value; readonly zeroPoint: Value };
}

export interface WrittenLayer {
  /** Bytes that replace the weight's. */
  readonly bytes: number;
  /** Weight SQNR in dB; known once the model was written. */
  sqnr(): number | undefined;
  /** What takes long to compute and may be computed in a pool before it is read; absent for plain rounding. */
  readonly pending?: PendingWeight;
}

export interface FormatWriter {
  readonly name: string;
  /** Lowest standard opset that has what it writes. */
  opset(plan: LayerPlan): number;
  /** Rewrites the graph; the old weight is unused afterwards. */
  write(plan: LayerPlan, model: Model): WrittenLayer;
}

/** The node of `graph` that uses a value first, directly or inside its subgraphs. */
export function firstUser(graph: Graph, value: Value): Node {
  const users = new Set(
    value.users().map((user) => {
      let node = user;
      while (node.graph !== graph) node = ownerOf(node.graph);
      return node;
    }),
  );
  return graph.nodes.find((node) => users.has(node)) as Node;
}

/** The node that has `graph` as an attribute. */
function ownerOf(graph: Graph): Node {
  return graph.parent?.nodes.find((node) => node.subgraphs().includes(graph)) as Node;
}

/** Moves every use of `from`, a constant, to what decodes it. */
export function moveUses(from: Value, to: Value): void {
  for (const { node, index } of [...from.uses]) {
    node.setInput(index, to);
    // ONNX Runtime 1.30 aborts the whole process where a DequantizeLinear per axis meets a Transpose that leaves perm out.
    if (opKey(node) === "Transpose" && !node.attributes.has("perm")) {
      const rank = from.tensor?.dims.length ?? 0;
      node.attributes.set("perm", attr.ints(Array.from({ length: rank }, (_, i) => rank - 1 - i)));
    }
  }
}
