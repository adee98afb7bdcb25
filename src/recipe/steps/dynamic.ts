/** @file Step: integer weights, and activations quantized as they come. */
import type { Model } from "../../ir/model.ts";
import { quantizeDynamic } from "../../quantize/dynamic/dynamic.ts";
import { type DynamicOptions, dynamicOptions } from "../../quantize/dynamic/options.ts";
import { planDynamic } from "../../quantize/dynamic/plan.ts";
import type { LayerRule } from "../../quantize/layers.ts";
import type { Step, StepResult } from "../../step.ts";
import { dynamicLadders, rulesAt } from "../bound/ladders.ts";

export const dynamicStep: Step<typeof dynamicOptions> = {
  name: "dynamic",
  summary: "Quantize weights to 8 bits, and activations while the model runs: integer products without calibration.",
  options: dynamicOptions,
  needs: [],
  async run(model, options) {
    return dynamicResult(model, options, []);
  },
  async variants(model, options) {
    const ladders = dynamicLadders(planDynamic(model, dynamicOptions.parse(options)));
    return { ladders, apply: async (levels) => dynamicResult(model, options, rulesAt(ladders, levels)) };
  },
};

function dynamicResult(model: Model, options: DynamicOptions, overrides: readonly LayerRule[]): StepResult {
  const { model: result, layers, skipped, notes } = quantizeDynamic(model, options, overrides);
  return { model: result, report: () => ({ layers: layers(), skipped, notes }) };
}
