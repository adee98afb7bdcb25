/**
 * @file Products whose integer weights are decoded at every run. ONNX Runtime (1.30) makes MatMulNBits of DequantizeLinear and MatMul or Gemm,
 * which decodes as it multiplies, unless a Relu behind it was fused into the product before: then the whole matrix is decoded first,
 * five to ten times as slow for one row. A LeakyRelu of slope 0 computes the same and is not fused.
 */
import { attr } from "../../ir/attribute.ts";
import type { Graph } from "../../ir/graph.ts";
import { nestedGraphs } from "../../ir/model.ts";
import type { Node } from "../../ir/node.ts";
import { opKey } from "../layers/sites.ts";

const products = new Set(["MatMul", "Gemm"]);

/** Exchanges the Relu behind every such product of a graph and its subgraphs. */
export function keepProductsFused(graph: Graph): void {
  for (const each of nestedGraphs(graph))
    for (const node of [...each.nodes]) {
      if (!products.has(opKey(node)) || !isDecoded(node)) continue;
      const relu = reluBehind(node);
      if (relu)
        each.replaceNode(relu, {
          opType: "LeakyRelu",
          inputs: relu.inputs,
          attributes: { alpha: attr.float(0) },
        });
    }
}

function isDecoded({ inputs }: Node): boolean {
  const decoder = inputs[1]?.producer;
  return decoder?.opType === "DequantizeLinear" && decoder.inputs[0]?.tensor !== undefined;
}

/** A Relu that nothing but a bias stands in front of. */
function reluBehind(node: Node): Node | undefined {
  const next = onlyUser(node);
  const last = next && opKey(next) === "Add" && next.inputs.some((input) => input?.tensor) ? onlyUser(next) : next;
  return last && opKey(last) === "Relu" ? last : undefined;
}

function onlyUser(node: Node): Node | undefined {
  const output = node.output();
  return output.uses.size === 1 && !output.isOutput ? output.users()[0] : undefined;
}
