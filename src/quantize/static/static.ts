/** @file Static quantization of a model: weights and activations as 8-bit integers, from ranges that calibration data shows. */
import { type CalibrateOptions, calibrate } from "../../calibrate/calibrate.ts";
import type { Collector, Range } from "../../calibrate/collector.ts";
import type { Dataset } from "../../data/dataset.ts";
import type { Model } from "../../ir/model.ts";
import { removeDeadCode } from "../../passes/dead-code.ts";
import type { QuantizeResult } from "../quantize.ts";
import { type LayerReport, layerReport } from "../report.ts";
import type { StaticOptions } from "./options.ts";
import { type PlannedWeight, planStatic, type StaticPlan } from "./plan.ts";
import type { StaticWeight } from "./weights.ts";
import { type StaticStats, writeStatic } from "./write.ts";

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
export async function quantizeStatic(
  model: Model,
  data: Dataset,
  options: StaticOptions,
  running: CalibrateOptions,
): Promise<StaticResult> {
  const plan = planStatic(model, options);
  const [ranges, means] = [plan.rangeCollectors(), plan.meanCollectors()];
  const collectors = new Map<string, readonly Collector[]>(
    [...new Set([...ranges.keys(), ...means.keys()])].map((name) => [
      name,
      [ranges.get(name), means.get(name)].filter((collector) => collector !== undefined),
    ]),
  );
  const { samples } = await calibrate(plan.model, data, collectors, running);
  const resultsOf = <T>(each: ReadonlyMap<string, Collector<T>>) =>
    new Map([...each].map(([name, collector]) => [name, collector.result()]));
  return { ...applyStatic(plan, { ranges: resultsOf(ranges), means: resultsOf(means) }), samples };
}

/** Writes a plan with statistics from elsewhere. The plan's model is used up. @throws bad-data for a value without a range */
export function applyStatic(plan: StaticPlan, stats: StaticStats): StaticResult {
  const { weights, notes } = writeStatic(plan, stats);
  return {
    model: removeDeadCode(plan.model).model,
    layers: () => plan.weights.map((planned) => report(planned, weights.get(planned))),
    skipped: plan.skipped,
    notes: [...plan.notes, ...notes],
    ranges: stats.ranges,
    samples: 0,
  };
}

function report({ layer, choice, reason }: PlannedWeight, written: StaticWeight | undefined): LayerReport {
  const words = choice && [
    choice.dtype,
    ...(choice.bits === 7 ? ["(no saturation)"] : []),
    choice.perChannel ? "channel" : "tensor",
  ];
  return layerReport(layer, {
    reason,
    spec: words?.join(" "),
    format: words && "QDQ",
    bytes: written && written.codes.byteLength + 5 * written.scales.length,
    sqnr: written?.sqnr(),
  });
}
