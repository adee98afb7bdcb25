/** @file Step: quantizes weights and activations for a target, with ranges from calibration data. */
import * as z from "zod";
import type { Model } from "../../ir/model.ts";
import type { LayerRule } from "../../quantize/layers/layer-rules.ts";
import { shapesOf } from "../../quantize/layers/layer-size.ts";
import { roundingMethodNames } from "../../quantize/learned/reconstruct/index.ts";
import { type StaticSettings, staticMethods, staticOptions } from "../../quantize/static/options.ts";
import { planStatic } from "../../quantize/static/plan.ts";
import { staticVariants } from "../../quantize/static/static.ts";
import { TersorError } from "../../util/errors.ts";
import { ownOptions } from "../../util/options.ts";
import { rulesAt, staticLadders } from "../bound/ladders.ts";
import { calibrationOptions, openCalibration } from "../data/calibration.ts";
import { quantizeReport } from "../quantize-report.ts";
import type { Step, StepContext, StepReport, StepResult } from "../step.ts";
import {
  firstMethod,
  isRoundingMethod,
  iterationsOption,
  type LearnedRounding,
  learnRounding,
  refuseBound,
  withoutSqnr,
  withTrained,
} from "../training/learned-rounding.ts";

export const staticStepOptions = staticOptions.extend({
  method: z
    .enum([...staticMethods, ...roundingMethodNames])
    .default("rtn")
    .describe(
      "rtn: each weight to the nearest code; gptq: least error of the outputs on the calibration data; adaround, brecq: rounding is learned on it, by layers or blocks, for 4-bit weights",
    ),
  iterations: iterationsOption,
  ...calibrationOptions,
  calibrate: calibrationOptions.calibrate.describe(
    "samples to calibrate on; do not measure on the same ones. Default: the recipe's data",
  ),
});

export const staticStep: Step<typeof staticStepOptions> = {
  name: "quantize",
  mode: "static",
  summary: "Quantize weights and activations to 8 bits for a target, with ranges from calibration data.",
  options: staticStepOptions,
  needs: ["calibration"],
  async run(model, options, ctx) {
    if (ctx.dryRun) return { model, report: () => ({ notes: ["calibration is left out of a dry run"] }) };
    const { quantized } = await calibrated(model, options, ctx);
    const result = await quantized([]);
    const { method, iterations } = options;
    if (!isRoundingMethod(method)) return result;
    const learned = await learnRounding(model, result.model, { method, iterations, calibration: options }, ctx);
    return {
      model: learned.model,
      report: () => withLearned(result.report(), { float: model, quantized: result.model }, learned),
    };
  },
  async variants(model, options, ctx) {
    refuseBound(options.method);
    const { quantized, shapes } = await calibrated(model, options, ctx);
    const ladders = staticLadders(planStatic(model, settingsOf(options), [], shapes));
    return { ladders, apply: (levels) => quantized(rulesAt(ladders, levels)) };
  },
};

type Options = z.output<typeof staticStepOptions>;

function withLearned(
  report: StepReport,
  given: { readonly float: Model; readonly quantized: Model },
  { model, notes, units }: LearnedRounding,
): StepReport {
  const { layers, left, rewritten } = report as ReturnType<typeof quantizeReport>;
  return {
    ...report,
    layers: withoutSqnr(layers),
    ...withTrained({ left, rewritten }, { ...given, trained: model }),
    notes: [...(report.notes ?? []), ...notes],
    units,
  };
}

/** The part of the options that static quantization itself knows. */
function settingsOf(options: Options): StaticSettings {
  return ownOptions(staticOptions, options, { method: firstMethod(options.method) });
}

/** The data opened: gives the step's result for options of single layers, and the sizes of the first sample. */
async function calibrated(model: Model, options: Options, ctx: StepContext) {
  const calibration = await openCalibration(model, options, ctx);
  if (!calibration)
    throw new TersorError(
      "bad-recipe",
      "static: no calibration data: activations need samples to find their ranges. Name some with calibrate.",
    );
  const { data, running, show } = calibration;
  let report: ((done: number) => void) | undefined;
  const onProgress = (done: number) => report?.(done);
  const quantized = staticVariants(model, data, settingsOf(options), { ...running, onProgress });
  const apply = async (overrides: readonly LayerRule[]): Promise<StepResult> => {
    const result = await show((progress) => {
      report = progress;
      return quantized(overrides);
    });
    return {
      model: result.model,
      report: () => ({
        ...quantizeReport(result),
        calibration: { data: data.name, samples: result.samples },
      }),
    };
  };
  return { quantized: apply, shapes: await shapesOf(model, data) };
}
