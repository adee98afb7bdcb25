/**
 * @file Keeps float layers float. ONNX Runtime (WeightBiasQuantization, 1.20 to 1.30) quantizes the weights of a float
 * Conv, ConvTranspose or Gemm by itself, per tensor and with all 8 bits, where it stands between DequantizeLinear and
 * QuantizeLinear with nothing but Relu or Clip behind it. A LeakyRelu there stops that, and is fused into the layer.
 */
import { attr } from "../../ir/attribute.ts";
import type { Graph } from "../../ir/graph.ts";
import type { Node } from "../../ir/node.ts";
import { opKey } from "../sites.ts";

const quantizedByItself = new Set(["Conv", "ConvTranspose", "Gemm"]);
const passedOver = new Set(["Relu", "Clip"]);

/** Shields every float layer of the graph that would be quantized at load. */
export function shieldFloatLayers(graph: Graph): void {
  for (const node of [...graph.nodes]) if (isExposed(node)) shield(node);
}

function isExposed(node: Node): boolean {
  if (!quantizedByItself.has(opKey(node)) || node.inputs[0]?.producer?.opType !== "DequantizeLinear") return false;
  if (!node.inputs[1]?.tensor) return false;
  for (let next = onlyUser(node); next; next = onlyUser(next)) {
    if (next.opType === "QuantizeLinear") return true;
    if (!passedOver.has(opKey(next))) return false;
  }
  return false;
}

function onlyUser(node: Node): Node | undefined {
  const output = node.output();
  return output.uses.size === 1 && !output.isOutput ? output.users()[0] : undefined;
}

/** A slope of 0 is Relu, of 1 nothing at all. */
function shield(node: Node): void {
  const { graph } = node;
  const next = onlyUser(node) as Node;
  if (opKey(next) === "Relu") {
    graph.replaceNode(next, { opType: "LeakyRelu", inputs: next.inputs, attributes: { alpha: attr.float(0) } });
    return;
  }
  const output = node.output();
  const uses = [...output.uses];
  const shielded = graph
    .addNode(
      {
        opType: "LeakyRelu",
        inputs: [output],
        outputs: [`${output.name}_float`],
        attributes: { alpha: attr.float(1) },
      },
      { after: node },
    )
    .output();
  shielded.type = output.type;
  for (const { node: user, index } of uses) user.setInput(index, shielded);
}
