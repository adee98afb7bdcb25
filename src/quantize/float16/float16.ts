/** @file True float16 models: weights, values and arithmetic, where the operators' schemas and the numbers allow it. */
import type { Model } from "../../ir/model.ts";
import type { Node } from "../../ir/node.ts";
import { removeDeadCode } from "../../passes/dead-code.ts";
import { exposeWeights } from "../../passes/expose-weights.ts";
import { callsLeft } from "../../passes/inline-functions.ts";
import { parseOptions } from "../../util/options.ts";
import { floatConstants, leftFloat, rewrittenConstants } from "../layers/left-float.ts";
import { layerReport } from "../layers/report.ts";
import { findLayers, nodeName, opKey, type SkippedNode } from "../layers/sites.ts";
import type { QuantizeResult } from "../weights/quantize-weights.ts";
import { LARGEST } from "./constants.ts";
import { type Float16Options, float16Options } from "./options.ts";
import { planFloat16 } from "./plan.ts";
import { writeFloat16 } from "./write.ts";

export interface Float16Result extends QuantizeResult {
  /** Nodes that stay float32 although they have float32 arguments. */
  readonly kept: readonly SkippedNode[];
}

/**
 * Converts a model, its subgraphs included. Functions are inlined; what a call that can't be takes and gives stays float32.
 * @throws bad-recipe for a blocklist that names no node
 */
export function toFloat16(model: Model, options: Float16Options = {}): Float16Result {
  const settings = parseOptions(float16Options, options, "float16");
  const prepared = exposeWeights(model);
  const copy = prepared.modified ? prepared.model : model.clone();
  const defaults = copy.graph.inputs.filter(({ tensor }) => tensor?.dtype === "float32");
  for (const input of defaults) copy.graph.removeInput(input);
  const plan = planFloat16(copy, settings);
  const { layers } = findLayers(copy);
  const calls = new Map(callsLeft(copy).map(({ node, reason }) => [node, reason]));
  const kept = [...plan.kept].map(([node, reason]) => ({
    name: nodeName(node),
    opType: opKey(node),
    reason: calls.get(node) ?? reason,
  }));
  const reasons = layers.map(({ sites }) => sites.map(({ node }) => plan.kept.get(node)).find((reason) => reason));
  const clamped = [...plan.clamped].map(({ name }) => name);
  const before = floatConstants(copy);
  const constants = writeFloat16(copy, plan, settings);
  const notes = [
    ...(defaults.length > 0
      ? [`${defaults.length} constants are no longer inputs as well (with defaults, such as "${defaults[0]?.name}")`]
      : []),
    ...clamped.map((name) => `constant "${name}": cut to what float16 holds, up to ${LARGEST}`),
    ...(settings.magnitudes.size === 0
      ? ["no calibration data: values beyond 65,504 in the model would become infinite (--calibrate shows which)"]
      : []),
  ];
  const { model: written } = removeDeadCode(copy);
  const layerReports = () =>
    layers.map((layer, i) => {
      const constant = constants.get(layer.value.name);
      if (!constant) return layerReport(layer, { reason: reasons[i] ?? "float16 already" });
      const { bytes } = constant;
      return layerReport(layer, { spec: "float16", format: "float16", bytes, sqnr: constant.sqnr() });
    });
  const why = new Map(kept.map(({ name, reason }) => [name, reason]));
  const reasonOf = (node: Node, input: number) => {
    const { dtype } = node.inputs[input]?.tensor ?? {};
    if (dtype !== undefined && dtype !== "float32") return `${dtype}: only float32 is converted`;
    return why.get(nodeName(node)) ?? `${opKey(node)} takes it as float32`;
  };
  return {
    model: written,
    kept,
    layers: layerReports,
    left: () => leftFloat(written, before, layerReports(), { reasonOf }),
    rewritten: () => rewrittenConstants(written, before, layerReports()),
    skipped: kept,
    notes,
  };
}
