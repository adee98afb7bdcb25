/** @file Layers of a static model whose weights alone are quantized: they are read as floats, and so are their activations. */
import { attr } from "../../ir/attribute.ts";
import type { Node } from "../../ir/node.ts";
import { keepProductsFused } from "../formats/decoded-products.ts";
import { dequantizeWriter } from "../formats/dequantize.ts";
import type { WrittenLayer } from "../formats/format.ts";
import type { PlannedWeight, StaticPlan } from "./plan.ts";

/** Writes the codes of such layers into the plan's model, after everything else was written. */
export function writeWeightsOnly({ weights, model }: StaticPlan): ReadonlyMap<PlannedWeight, WrittenLayer> {
  const written = new Map<PlannedWeight, WrittenLayer>();
  for (const planned of weights) {
    const { layer, floatSpec: spec } = planned;
    if (!spec) continue;
    for (const { node, input } of layer.sites) shieldInputs(node, input);
    written.set(planned, dequantizeWriter.write({ layer, spec, seed: 0, measure: true, accuracyLevel: 0 }, model));
  }
  if (written.size > 0) keepProductsFused(model.graph);
  return written;
}

/**
 * ONNX Runtime makes an integer kernel of what reads two DequantizeLinear; a LeakyRelu of slope 1, which changes nothing, behind the
 * activation's stops that.
 */
function shieldInputs(node: Node, weight: number): void {
  for (const [index, input] of node.inputs.entries()) {
    if (index === weight || input?.producer?.opType !== "DequantizeLinear") continue;
    const name = node.graph.uniqueName(`${input.name}_float`);
    const { graph } = node;
    const spec = { opType: "LeakyRelu", inputs: [input], outputs: [name], attributes: { alpha: attr.float(1) } };
    const floats = graph.addNode(spec, { before: node }).output();
    floats.type = input.type;
    node.setInput(index, floats);
  }
}
