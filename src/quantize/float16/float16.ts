/** @file True float16 models: weights, values and arithmetic, where the operators' schemas and the numbers allow it. */
import type { Model } from "../../ir/model.ts";
import { removeDeadCode } from "../../passes/dead-code.ts";
import { exposeWeights } from "../../passes/expose-weights.ts";
import { callsLeft } from "../../passes/inline-functions.ts";
import type { QuantizeResult } from "../quantize.ts";
import { layerReport } from "../report.ts";
import { findLayers, nodeName, opKey, type SkippedNode } from "../sites.ts";
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
  const settings = float16Options.parse(options);
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
  const constants = writeFloat16(copy, plan, settings);
  const notes = [
    ...(defaults.length > 0
      ? [`${defaults.length} constants are no longer inputs as well (with defaults, such as "${defaults[0]?.name}")`]
      : []),
    ...clamped.map((name) => `constant "${name}": cut to what float16 holds, up to ${LARGEST}`),
    ...(settings.ranges.size === 0
      ? ["no calibration data: values beyond 65,504 in the model would become infinite (--calibrate shows which)"]
      : []),
  ];
  return {
    model: removeDeadCode(copy).model,
    kept,
    layers: () =>
      layers.map((layer, i) => {
        const written = constants.get(layer.value.name);
        if (!written) return layerReport(layer, { reason: reasons[i] ?? "float16 already" });
        const { bytes } = written;
        return layerReport(layer, { spec: "float16", format: "float16", bytes, sqnr: written.sqnr() });
      }),
    skipped: kept,
    notes,
  };
}
