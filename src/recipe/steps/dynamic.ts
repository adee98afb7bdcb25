/** @file Step: integer weights, and activations quantized as they come. */
import * as z from "zod";
import type { Model } from "../../ir/model.ts";
import type { InputShapes } from "../../ops/infer-inputs.ts";
import { quantizeDynamic } from "../../quantize/dynamic/dynamic.ts";
import { type PreparedDynamic, prepareDynamic } from "../../quantize/dynamic/on-data.ts";
import { type DynamicSettings, dynamicOptions } from "../../quantize/dynamic/options.ts";
import { planDynamic } from "../../quantize/dynamic/plan.ts";
import type { LayerRule } from "../../quantize/layers/layer-rules.ts";
import { shapesOf } from "../../quantize/layers/layer-size.ts";
import { ownOptions } from "../../util/options.ts";
import { dynamicLadders, rulesAt } from "../bound/ladders.ts";
import { calibrationOptions, openCalibration } from "../data/calibration.ts";
import { quantizeReport } from "../quantize-report.ts";
import type { Step, StepContext, StepResult } from "../step.ts";

export const dynamicStepOptions = dynamicOptions.extend({
  ...calibrationOptions,
  calibrate: calibrationOptions.calibrate.describe(
    "samples that show outliers of activations: they move into weights, and layers that keep too many get integer weights alone",
  ),
  minActivationSqnr: z
    .number()
    .optional()
    .describe(
      "with samples: a layer whose output would have fewer dB because of its activations keeps them float; default 32 on the whole, for a quarter of the products at most",
    ),
});

export const dynamicStep: Step<typeof dynamicStepOptions> = {
  name: "quantize",
  mode: "dynamic",
  summary:
    "Quantize weights to 8 bits, and activations while the model runs: integer products, with or without calibration.",
  options: dynamicStepOptions,
  needs: [],
  async run(model, options, ctx) {
    return dynamicResult(await prepared(model, options, ctx), ownOptions(dynamicOptions, options), []);
  },
  async variants(model, options, ctx) {
    const ready = await prepared(model, options, ctx);
    const own = ownOptions(dynamicOptions, options);
    const ladders = dynamicLadders(planDynamic(ready.model, own, [], ready.weightsOnly, ready.shapes));
    return { ladders, apply: async (levels) => dynamicResult(ready, own, rulesAt(ladders, levels)) };
  },
};

/** What accuracy may cost of the speed. */
const FAIR = { minSqnr: 32, mostFloat: 0.25 };

type Options = z.output<typeof dynamicStepOptions>;

type Ready = Omit<PreparedDynamic, "scaled"> & { readonly notes: readonly string[]; readonly shapes?: InputShapes };

async function prepared(model: Model, options: Options, ctx: StepContext): Promise<Ready> {
  const { calibrate, minActivationSqnr } = options;
  const unchanged = { model, weightsOnly: new Map<string, string>() };
  if (calibrate === undefined) return { ...unchanged, notes: [] };
  if (ctx.dryRun) return { ...unchanged, notes: ["calibration is left out of a dry run"] };
  const calibration = await openCalibration(model, options, ctx);
  if (!calibration) return { ...unchanged, notes: [] };
  const { data, running, show } = calibration;
  const ready = await show((onProgress) =>
    prepareDynamic(model, data, minActivationSqnr === undefined ? FAIR : { minSqnr: minActivationSqnr }, {
      ...running,
      onProgress,
    }),
  );
  return {
    ...ready,
    shapes: await shapesOf(model, data),
    notes: [`smoothquant: inputs of layers scaled: ${ready.scaled}`],
  };
}

function dynamicResult(
  { model, weightsOnly, notes, shapes }: Ready,
  options: DynamicSettings,
  overrides: readonly LayerRule[],
): StepResult {
  const result = quantizeDynamic(model, options, overrides, weightsOnly, shapes);
  return {
    model: result.model,
    report: () => ({ ...quantizeReport(result), notes: [...notes, ...result.notes] }),
  };
}
