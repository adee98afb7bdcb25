/** @file Static quantization of a model: weights and activations as 8-bit integers, from ranges that calibration data shows. */
import { type CalibrateOptions, calibrate } from "../../calibrate/calibrate.ts";
import type { Collector, Range } from "../../calibrate/collector.ts";
import { type Gram, gramOf } from "../../calibrate/gram.ts";
import type { Dataset } from "../../data/dataset.ts";
import type { Model } from "../../ir/model.ts";
import type { InputShapes } from "../../ops/infer-inputs.ts";
import { removeDeadCode } from "../../passes/dead-code.ts";
import { exceededLimits } from "../../targets/limits.ts";
import type { WrittenLayer } from "../formats/format.ts";
import { describeSpec } from "../grid/spec.ts";
import { constantSizes } from "../layers/constant-sizes.ts";
import type { LayerRule } from "../layers/layer-rules.ts";
import { shapesOf } from "../layers/layer-size.ts";
import { floatConstants, leftFloat, rewrittenConstants } from "../layers/left-float.ts";
import { type LayerReport, layerReport } from "../layers/report.ts";
import { fewRowsNotes } from "../weights/method-stats.ts";
import type { QuantizeResult } from "../weights/quantize-weights.ts";
import type { StaticOptions } from "./options.ts";
import { type PlannedWeight, planStatic, type StaticPlan } from "./plan.ts";
import type { StaticWeight } from "./weights.ts";
import { writeWeightsOnly } from "./weights-only.ts";
import { writeStatic } from "./write.ts";
import type { StaticStats } from "./write-weights.ts";

export interface StaticResult extends QuantizeResult {
  /** Range of every value that was watched. */
  readonly ranges: ReadonlyMap<string, Range>;
  /** Samples seen in calibration; 0 where the ranges were given. */
  readonly samples: number;
}

/**
 * Quantizes weights and activations in one pass over the data. The model should be simplified first.
 * @throws bad-recipe for options that contradict each other or fit no layer; bad-data, shape-mismatch, runtime-failed and
 * aborted as {@link calibrate}
 */
export function quantizeStatic(
  model: Model,
  data: Dataset,
  options: StaticOptions,
  running: CalibrateOptions,
): Promise<StaticResult> {
  return staticVariants(model, data, options, running)();
}

/**
 * As {@link quantizeStatic}, for a model that is quantized several times with other options of single layers: what one
 * variant's calibration has found out is not measured again for the next.
 */
export function staticVariants(
  model: Model,
  data: Dataset,
  options: StaticOptions,
  running: CalibrateOptions,
): (overrides?: readonly LayerRule[]) => Promise<StaticResult> {
  const ranges = new Map<string, Range>();
  const means = new Map<string, Float32Array>();
  const moments = new Map<string, Gram>();
  let seen = 0;
  let shapes: InputShapes | undefined;
  return async (overrides = []) => {
    shapes ??= await shapesOf(model, data);
    const plan = planStatic(model, options, overrides, shapes);
    const missing = [
      ...[...plan.rangeCollectors()].filter(([name]) => !ranges.has(name)),
      ...[...plan.meanCollectors()].filter(([name]) => !means.has(name)),
    ];
    const collectors = new Map<string, Collector[]>();
    const watch = (name: string, collector: Collector) =>
      collectors.set(name, [...(collectors.get(name) ?? []), collector]);
    for (const [name, collector] of missing) watch(name, collector);
    const grams = [...plan.observations()]
      .filter(([weight]) => !moments.has(weight))
      .map(([weight, { value, unfolding }]) => ({ weight, value, gram: gramOf(unfolding) }));
    for (const { value, gram } of grams) watch(value.name, gram);
    if (collectors.size > 0 || seen === 0) seen = (await calibrate(plan.model, data, collectors, running)).samples;
    for (const [name, collector] of missing) {
      const result = collector.result();
      if (result instanceof Float32Array) means.set(name, result);
      else ranges.set(name, result);
    }
    for (const { weight, gram } of grams) moments.set(weight, gram.result());
    return { ...applyStatic(plan, { ranges, means, moments }), ranges: new Map(ranges), samples: seen };
  };
}

/** Writes a plan with statistics from elsewhere. The plan's model is used up. @throws bad-data for a value without a range */
export function applyStatic(plan: StaticPlan, stats: StaticStats): StaticResult {
  const before = floatConstants(plan.model);
  const { weights, notes } = writeStatic(plan, stats);
  const floats = writeWeightsOnly(plan);
  const { model } = removeDeadCode(plan.model);
  const layers = () => plan.weights.map((planned) => report(planned, weights.get(planned), floats.get(planned)));
  return {
    model,
    layers,
    left: () => leftFloat(model, before, layers()),
    rewritten: () => rewrittenConstants(model, before, layers()),
    skipped: plan.skipped,
    notes: [
      ...plan.notes,
      ...notes,
      ...cutRanges(stats.ranges),
      ...fewRowsNotes(
        plan.weights.flatMap(({ layer, choice }) => (choice && choice.method !== "rtn" ? [layer] : [])),
        stats.moments,
      ),
      ...exceededLimits(plan.settings.target, constantSizes(model)),
    ],
    ranges: stats.ranges,
    samples: 0,
  };
}

/** Ranges this much shorter than what was seen are worth a warning. */
const CUT = 4;
/** Names in a warning. */
const NAMES = 5;

function cutRanges(ranges: ReadonlyMap<string, Range>): string[] {
  const cut = [...ranges].filter(([, { min, max, seen }]) => seen && seen.max - seen.min > CUT * (max - min));
  if (cut.length === 0) return [];
  const names = cut.slice(0, NAMES).map(([name]) => name);
  const more = cut.length > NAMES ? `, … ${cut.length - NAMES} more` : "";
  return [
    `calibration cut the range of ${cut.length} of ${ranges.size} values to less than a quarter of what was seen (${names.join(", ")}${more}): if accuracy falls, choose mse or min-max`,
  ];
}

function report(
  { layer, choice, reason, floatSpec, own }: PlannedWeight,
  written: readonly StaticWeight[] = [],
  floats?: WrittenLayer,
): LayerReport {
  if (floatSpec && floats)
    return layerReport(layer, {
      reason,
      spec: describeSpec(floatSpec),
      format: "DequantizeLinear",
      bytes: floats.bytes,
      sqnr: floats.sqnr(),
      weightsOnly: true,
    });
  const known = written.flatMap((each) => each.sqnr() ?? []);
  const words = choice && [
    choice.dtype,
    ...(choice.bits === 7 ? ["(no saturation)"] : []),
    (written[0] ? written[0].slices.axis !== undefined : choice.perChannel) ? "channel" : "tensor",
    ...(choice.scale === "mse" ? ["mse"] : []),
    ...(written[0]?.method ? [written[0].method] : []),
  ];
  return layerReport(layer, {
    reason,
    spec: words?.join(" "),
    format: words && "QDQ",
    bytes:
      written.length > 0
        ? written.reduce((sum, { codes, scales }) => sum + codes.byteLength + 5 * scales.length, 0)
        : undefined,
    sqnr: known.length > 0 ? Math.min(...known) : undefined,
    own,
  });
}
