/** @file Step: quantizes weights and activations for a target, with ranges from calibration data. */
import * as z from "zod";
import type { Model } from "../../ir/model.ts";
import { shapesOf } from "../../quantize/layer-size.ts";
import type { LayerRule } from "../../quantize/layers.ts";
import { roundingMethodNames } from "../../quantize/reconstruct/index.ts";
import { type StaticOptions, staticMethods, staticOptions } from "../../quantize/static/options.ts";
import { planStatic } from "../../quantize/static/plan.ts";
import { staticVariants } from "../../quantize/static/static.ts";
import type { Step, StepContext, StepReport, StepResult } from "../../step.ts";
import { TersorError } from "../../util/errors.ts";
import { rulesAt, staticLadders } from "../bound/ladders.ts";
import { openCalibration } from "../calibration.ts";
import {
  firstMethod,
  isRoundingMethod,
  iterationsOption,
  type LearnedRounding,
  learnRounding,
  refuseBound,
  withoutSqnr,
  withTrained,
} from "../learned-rounding.ts";
import { quantizeReport } from "../quantize-report.ts";
import { runtimeOptions } from "./compare.ts";

/** Calibration that runs on as many samples as it is given. */
const CALIBRATION_SAMPLES = 256;

export const staticStepOptions = staticOptions.extend({
  method: z
    .enum([...staticMethods, ...roundingMethodNames])
    .default("rtn")
    .describe(
      "rtn: each weight to the nearest code; gptq: least error of the outputs on the calibration data; adaround, brecq: rounding is learned on it, by layers or blocks, for 4-bit weights",
    ),
  iterations: iterationsOption,
  data: z
    .union([z.string().min(1), z.record(z.string(), z.unknown())])
    .optional()
    .describe("samples to calibrate on; do not measure on the same ones. Default: the recipe's data"),
  samples: z.int().min(1).default(CALIBRATION_SAMPLES).describe("calibrate on the first samples"),
  batchSize: z.int().min(1).optional().describe("samples in one run; default the model's fixed batch size, else 1"),
  threads: runtimeOptions.threads,
});

export const staticStep: Step<typeof staticStepOptions> = {
  name: "static",
  summary: "Quantize weights and activations to 8 bits for a target, with ranges from calibration data.",
  options: staticStepOptions,
  needs: ["calibration"],
  async run(model, options, ctx) {
    if (ctx.dryRun) return { model, report: () => ({ notes: ["calibration is left out of a dry run"] }) };
    const { quantized } = await calibrated(model, options, ctx);
    const result = await quantized([]);
    const { method, iterations, data, samples, batchSize, threads } = staticStepOptions.parse(options);
    if (!isRoundingMethod(method)) return result;
    const learned = await learnRounding(
      model,
      result.model,
      { method, iterations, calibration: { data, samples, batchSize, threads } },
      ctx,
    );
    return {
      model: learned.model,
      report: () => withLearned(result.report(), { float: model, quantized: result.model }, learned),
    };
  },
  async variants(model, options, ctx) {
    refuseBound(options.method ?? "rtn");
    const { quantized, shapes } = await calibrated(model, options, ctx);
    const ladders = staticLadders(planStatic(model, ownOptions(options), [], shapes));
    return { ladders, apply: (levels) => quantized(rulesAt(ladders, levels)) };
  },
};

type Options = z.input<typeof staticStepOptions>;

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
function ownOptions(options: Options): StaticOptions {
  const { data: _, samples: __, batchSize: ___, threads: ____, iterations: _____, method, ...own } = options;
  return { ...own, ...(method !== undefined && { method: firstMethod(method) }) };
}

/** The data opened: gives the step's result for options of single layers, and the sizes of the first sample. */
async function calibrated(model: Model, options: Options, ctx: StepContext) {
  const { data: spec, samples = CALIBRATION_SAMPLES, batchSize, threads } = options;
  const calibration = await openCalibration(model, { data: spec, samples, batchSize, threads }, ctx);
  if (!calibration)
    throw new TersorError(
      "bad-recipe",
      "static: no calibration data: activations need samples to find their ranges. Name some with data (on the command line: --calibrate).",
    );
  const { data, running, show } = calibration;
  let report: ((done: number) => void) | undefined;
  const onProgress = (done: number) => report?.(done);
  const quantized = staticVariants(model, data, ownOptions(options), { ...running, onProgress });
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
