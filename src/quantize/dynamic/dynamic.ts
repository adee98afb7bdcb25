/** @file Dynamic quantization of a model: integer weights, and activations quantized as they come, without calibration data. */
import type { Model } from "../../ir/model.ts";
import type { InputShapes } from "../../ops/infer-inputs.ts";
import { convertOpset } from "../../passes/convert-opset/convert-opset.ts";
import { removeDeadCode } from "../../passes/dead-code.ts";
import { exposeWeights } from "../../passes/expose-weights.ts";
import { exceededLimits } from "../../targets/limits.ts";
import { leastOf } from "../../util/append.ts";
import { parseOptions } from "../../util/options.ts";
import { own } from "../../util/own.ts";
import { dequantizeWriter } from "../formats/dequantize.ts";
import type { LayerPlan, WrittenLayer } from "../formats/format.ts";
import { describeSpec } from "../grid/spec.ts";
import { constantSizes } from "../layers/constant-sizes.ts";
import type { LayerRule } from "../layers/layer-rules.ts";
import { floatConstants, leftFloat, rewrittenConstants } from "../layers/left-float.ts";
import { type LayerReport, layerReport } from "../layers/report.ts";
import type { QuantizeResult } from "../weights/quantize-weights.ts";
import { type DynamicOptions, type DynamicSettings, dynamicOptions } from "./options.ts";
import { type DynamicPlan, isQuantized, planDynamic, type WeightsOnly } from "./plan.ts";
import type { PlannedLayer } from "./rule.ts";
import { DynamicWriter } from "./writer.ts";

/** Lowest opset of DynamicQuantizeLinear. */
const OPSET = 11;

/**
 * MatMul and Gemm become MatMulInteger, Conv ConvInteger, LSTM and Attention the integer ones of com.microsoft, and lookups
 * read codes. One DynamicQuantizeLinear serves all that read a value.
 * @param overrides options of single layers on top of `options.layers`: layers that they don't match stay as asked
 * @param inputShapes sizes that the model leaves open, by which costs are counted
 * @param weightsOnly layers whose weights alone are quantized, with the reason
 * @throws bad-recipe for options that contradict each other or fit no layer; bad-data for NaN in weights (when they are read)
 */
export function quantizeDynamic(
  model: Model,
  options: DynamicOptions | DynamicSettings = {},
  overrides: readonly LayerRule[] = [],
  weightsOnly: WeightsOnly = new Map(),
  inputShapes?: InputShapes,
): QuantizeResult {
  const settings = parseOptions(dynamicOptions, options, "dynamic");
  const notes: string[] = [];
  const prepared = exposeWeights(model);
  let copy = prepared.modified ? prepared.model : model.clone();
  let plan = planDynamic(copy, settings, overrides, weightsOnly, inputShapes);
  const need = opsetOf(plan);
  if (copy.opset < need) {
    notes.push(`opset raised from ${copy.opset} to ${need}: what is written needs it`);
    copy = convertOpset(copy, need).model;
    plan = planDynamic(copy, settings, overrides, weightsOnly, inputShapes);
  }
  const before = floatConstants(copy);
  const writer = new DynamicWriter(copy, plan.units, settings.measure);
  for (const unit of plan.units) unit.rule.write(unit, writer);
  const parts = new Map<PlannedLayer, readonly Part[]>();
  for (const planned of plan.layers) {
    if (planned.units.length > 0) parts.set(planned, writer.finish(planned));
    else if (planned.floatUses.length > 0)
      parts.set(planned, [dequantizeWriter.write(floatPlan(planned, settings), copy)]);
  }
  const changed = plan.units.length > 0 || parts.size > 0;
  const result = changed ? removeDeadCode(copy).model : copy;
  const layers = () => plan.layers.map((planned) => report(planned, parts.get(planned) ?? []));
  return {
    model: result,
    layers,
    left: () => leftFloat(result, before, layers(), settings),
    rewritten: () => rewrittenConstants(result, before, layers()),
    skipped: plan.skipped,
    notes: [...notes, ...exceededLimits(settings.target, constantSizes(result))],
  };
}

function opsetOf({ layers, units }: DynamicPlan): number {
  const floats = layers.filter(({ layer: { value }, units: own, floatUses }) => {
    const reading = [...value.uses].filter(({ node }) => own.some((unit) => unit.node === node));
    return floatUses.length > 0 || (own.length > 0 && (reading.length < value.uses.size || value.isOutput));
  });
  return Math.max(units.length > 0 ? OPSET : 0, ...floats.map((planned) => dequantizeWriter.opset(floatPlan(planned))));
}

/** What reads codes as floats does so as in weight quantization. */
function floatPlan({ layer, spec, floatUses }: PlannedLayer, settings?: DynamicSettings): LayerPlan {
  const sites = layer.sites.filter(({ node }) => floatUses.includes(node));
  return { layer: { ...layer, sites }, spec, seed: 0, measure: settings?.measure ?? false, accuracyLevel: 0 };
}

/** Codes that were written for a layer. */
type Part = Pick<WrittenLayer, "bytes" | "sqnr">;

const written: Readonly<Record<string, string>> = {
  MatMul: "MatMulInteger",
  Gemm: "MatMulInteger",
  Conv: "ConvInteger",
  LSTM: "DynamicQuantizeLSTM",
  "com.microsoft.Attention": "QAttention",
};

function report(planned: PlannedLayer, parts: readonly Part[]): LayerReport {
  const { layer, spec, reason, units, own: options, weightsOnly } = planned;
  if (!isQuantized(planned)) return layerReport(layer, { reason });
  const known = parts.map((part) => part.sqnr()).filter((sqnr) => sqnr !== undefined);
  return layerReport(layer, {
    reason,
    spec: describeSpec(spec),
    format: units.length > 0 ? (own(written, layer.opType) ?? layer.opType) : "DequantizeLinear",
    bytes: parts.reduce((sum, { bytes }) => sum + bytes, 0),
    sqnr: known.length > 0 ? leastOf(known) : undefined,
    own: options,
    weightsOnly,
  });
}
