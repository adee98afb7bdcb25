/** @file Step: quantizes weights and activations for a target, with ranges from calibration data. */
import * as z from "zod";
import type { Model } from "../../ir/model.ts";
import type { LayerRule } from "../../quantize/layers.ts";
import { type StaticOptions, staticOptions } from "../../quantize/static/options.ts";
import { planStatic } from "../../quantize/static/plan.ts";
import { staticVariants } from "../../quantize/static/static.ts";
import type { Step, StepContext, StepResult } from "../../step.ts";
import { TersorError } from "../../util/errors.ts";
import { rulesAt, staticLadders } from "../bound/ladders.ts";
import { openCalibration } from "../calibration.ts";
import { runtimeOptions } from "./compare.ts";

/** Calibration that runs on as many samples as it is given. */
const CALIBRATION_SAMPLES = 256;

export const staticStepOptions = staticOptions.extend({
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
    const quantized = await calibrated(model, options, ctx);
    return quantized([]);
  },
  async variants(model, options, ctx) {
    const quantized = await calibrated(model, options, ctx);
    const ladders = staticLadders(planStatic(model, ownOptions(options)));
    return { ladders, apply: (levels) => quantized(rulesAt(ladders, levels)) };
  },
};

type Options = z.input<typeof staticStepOptions>;

/** The part of the options that static quantization itself knows. */
function ownOptions(options: Options): StaticOptions {
  const { data: _, samples: __, batchSize: ___, threads: ____, ...own } = options;
  return own;
}

/** The data opened: gives the step's result for options of single layers. */
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
  return async (overrides: readonly LayerRule[]): Promise<StepResult> => {
    const result = await show((progress) => {
      report = progress;
      return quantized(overrides);
    });
    return {
      model: result.model,
      report: () => ({
        layers: result.layers(),
        skipped: result.skipped,
        notes: result.notes,
        calibration: { data: data.name, samples: result.samples },
      }),
    };
  };
}
