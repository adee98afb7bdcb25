/** @file Step: integer weights, and activations quantized as they come. */
import { quantizeDynamic } from "../../quantize/dynamic/dynamic.ts";
import { dynamicOptions } from "../../quantize/dynamic/options.ts";
import type { Step } from "../../step.ts";

export const dynamicStep: Step<typeof dynamicOptions> = {
  name: "dynamic",
  summary: "Quantize weights to 8 bits, and activations while the model runs: integer products without calibration.",
  options: dynamicOptions,
  needs: [],
  async run(model, options) {
    const { model: result, layers, skipped, notes } = quantizeDynamic(model, options);
    return { model: result, report: () => ({ layers: layers(), skipped, notes }) };
  },
};
