/** @file Step: the whole model in float16, weights and arithmetic. */
import { toFloat16 } from "../../quantize/float16/float16.ts";
import { float16Options } from "../../quantize/float16/options.ts";
import type { Step } from "../../step.ts";

export const float16StepOptions = float16Options.omit({ ranges: true });

export const float16Step: Step<typeof float16StepOptions> = {
  name: "float16",
  summary: "Turn weights, values and arithmetic into float16, for runtimes that compute in it.",
  options: float16StepOptions,
  needs: [],
  async run(model, options) {
    const { model: result, layers, skipped, notes } = toFloat16(model, options);
    return { model: result, report: () => ({ layers: layers(), skipped, notes }) };
  },
};
