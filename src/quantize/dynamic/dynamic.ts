/** @file Dynamic quantization of a model: integer weights, and activations quantized as they come, without calibration data. */
import type { Model } from "../../ir/model.ts";
import { constantToInitializer } from "../../passes/constant-to-initializer.ts";
import { convertOpset } from "../../passes/convert-opset/convert-opset.ts";
import { removeDeadCode } from "../../passes/dead-code.ts";
import type { LayerRule } from "../layers.ts";
import type { QuantizeResult } from "../quantize.ts";
import { type LayerReport, layerReport } from "../report.ts";
import { describeSpec } from "../spec.ts";
import { dequantizeWriter } from "../write/dequantize.ts";
import type { LayerPlan, WrittenLayer } from "../write/format.ts";
import { type DynamicOptions, type DynamicSettings, dynamicOptions } from "./options.ts";
import { type DynamicPlan, isQuantized, type PlannedLayer, planDynamic } from "./plan.ts";
import { DynamicWriter } from "./writer.ts";

/** Lowest opset of DynamicQuantizeLinear. */
const OPSET = 11;

/**
 * MatMul and Gemm become MatMulInteger, Conv ConvInteger, LSTM and Attention the integer ones of com.microsoft, and lookups
 * read codes. One DynamicQuantizeLinear serves all that read a value.
 * @param overrides options of single layers on top of `options.layers`: layers that they don't match stay as asked
 * @throws bad-recipe for options that contradict each other or fit no layer; bad-data for NaN in weights (when they are read)
 */
export function quantizeDynamic(
  model: Model,
  options: DynamicOptions = {},
  overrides: readonly LayerRule[] = [],
): QuantizeResult {
  const settings = dynamicOptions.parse(options);
  const notes: string[] = [];
  const prepared = constantToInitializer(model);
  let copy = prepared.modified ? prepared.model : model.clone();
  let plan = planDynamic(copy, settings, overrides);
  const need = opsetOf(plan);
  if (copy.opset < need) {
    notes.push(`opset raised from ${copy.opset} to ${need}: what is written needs it`);
    copy = convertOpset(copy, need).model;
    plan = planDynamic(copy, settings, overrides);
  }
  const writer = new DynamicWriter(copy, plan.units, settings.measure);
  for (const unit of plan.units) unit.rule.write(unit, writer);
  const tables = new Map<PlannedLayer, WrittenLayer>();
  for (const planned of plan.layers)
    if (planned.isTable) tables.set(planned, dequantizeWriter.write(tablePlan(planned, settings), copy));
  const changed = plan.units.length > 0 || tables.size > 0;
  const staying = new Set(plan.layers.filter(({ layer }) => !layer.value.isUnused));
  const partsOf = (planned: PlannedLayer): Part[] => [...writer.written(planned), ...listOf(tables.get(planned))];
  return {
    model: changed ? removeDeadCode(copy).model : copy,
    layers: () => plan.layers.map((planned) => report(planned, partsOf(planned), staying.has(planned))),
    skipped: plan.skipped,
    notes,
  };
}

function opsetOf({ layers, units }: DynamicPlan): number {
  const tables = layers.filter(({ isTable }) => isTable).map((planned) => dequantizeWriter.opset(tablePlan(planned)));
  return Math.max(units.length > 0 ? OPSET : 0, ...tables);
}

/** A table is looked up as it is in weight quantization. */
function tablePlan({ layer, spec }: PlannedLayer, settings?: DynamicSettings): LayerPlan {
  const sites = layer.sites.filter(({ node }) => node.opType === "Gather");
  return { layer: { ...layer, sites }, spec, seed: 0, measure: settings?.measure ?? false, accuracyLevel: 0 };
}

function listOf<T>(value: T | undefined): T[] {
  return value === undefined ? [] : [value];
}

/** Codes that were written for a layer. */
type Part = Pick<WrittenLayer, "bytes" | "sqnr">;

const written: Readonly<Record<string, string>> = {
  MatMul: "MatMulInteger",
  Gemm: "MatMulInteger",
  Conv: "ConvInteger",
  LSTM: "DynamicQuantizeLSTM",
  Gather: "DequantizeLinear",
  "com.microsoft.Attention": "QAttention",
};

function report(planned: PlannedLayer, parts: readonly Part[], stays: boolean): LayerReport {
  const { layer, spec, reason } = planned;
  if (!isQuantized(planned)) return layerReport(layer, { reason });
  const known = parts.map((part) => part.sqnr()).filter((sqnr) => sqnr !== undefined);
  return layerReport(layer, {
    reason,
    spec: describeSpec(spec),
    format: written[layer.opType] ?? layer.opType,
    bytes: parts.reduce((sum, { bytes }) => sum + bytes, stays ? layer.weight.byteLength : 0),
    sqnr: known.length > 0 ? Math.min(...known) : undefined,
  });
}
