/**
 * @file Keeps float layers float. ONNX Runtime (WeightBiasQuantization, 1.20 to 1.30) quantizes the weights of a float
 * Conv, ConvTranspose or Gemm by itself, per tensor and with all 8 bits, where it stands between DequantizeLinear and
 * QuantizeLinear with nothing but Relu or Clip behind it. A LeakyRelu there stops that, and is fused into the layer.
 */
import { attr } from "../../ir/attribute.ts";
import type { Graph } from "../../ir/graph.ts";
import type { Model } from "../../ir/model.ts";
import type { Node } from "../../ir/node.ts";
import type { Value } from "../../ir/value.ts";
import { opKey } from "../layers/sites.ts";
import { movingRules } from "./rules.ts";

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

/** Opset from which QuantizeLinear says the type of its codes. */
const SAYS_TYPE = 21;

/**
 * Gives codes to what moves codes and is read as floats. ONNX Runtime (1.30) does so by itself, and on processors whose int8 activations it
 * turns into uint8 the codes it adds keep the old type: the model does not load. With the same scale and zero point nothing is rounded.
 */
export function shieldMovedCodes({ graph, opset }: Model): void {
  if (opset < SAYS_TYPE) return;
  for (const node of [...graph.nodes]) {
    const decoded = movedFrom(node);
    if (!decoded) continue;
    const [, scale, zeroPoint] = decoded.inputs;
    for (const output of node.outputs) {
      if (!output || output.isUnused || output.users().some(({ opType }) => opType === "QuantizeLinear")) continue;
      const uses = [...output.uses];
      const inputs = [output, scale, zeroPoint];
      const codes = graph.addNode(
        { opType: "QuantizeLinear", inputs, outputs: [`${output.name}_moved`] },
        { after: node },
      );
      const floats = graph.addNode(
        { opType: "DequantizeLinear", inputs: [codes.output(), scale, zeroPoint], outputs: [`${output.name}_read`] },
        { after: codes },
      );
      floats.output().type = output.type;
      for (const { node: user, index } of uses) user.setInput(index, floats.output());
      if (output.isOutput) takeOver(graph, output, floats.output());
    }
  }
}

/** What decodes the codes that a node moves; undefined for other nodes, and where the codes are constant. */
function movedFrom(node: Node): Node | undefined {
  const decoder = node.inputs[0]?.producer;
  if (!movingRules[opKey(node)] || decoder?.opType !== "DequantizeLinear") return undefined;
  return decoder.inputs[0]?.producer?.opType === "QuantizeLinear" ? decoder : undefined;
}

/** The name of an output goes to another value that takes its place. */
function takeOver(graph: Graph, output: Value, other: Value): void {
  const { name } = output;
  graph.rename(output, graph.uniqueName(`${name}_float`));
  graph.rename(other, name);
  graph.outputs.forEach((each, index) => {
    if (each === output) graph.setOutput(index, other);
  });
}
