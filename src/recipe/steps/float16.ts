/** @file Step: the whole model in float16, weights and arithmetic. */
import type { Model } from "../../ir/model.ts";
import { toFloat16 } from "../../quantize/float16/float16.ts";
import { type Float16Options, float16Options } from "../../quantize/float16/options.ts";
import { findLayers } from "../../quantize/sites.ts";
import type { Step, StepResult } from "../../step.ts";
import { float16Rungs, laddersOf } from "../bound/ladders.ts";

export const float16StepOptions = float16Options.omit({ ranges: true });

export const float16Step: Step<typeof float16StepOptions> = {
  name: "float16",
  summary: "Turn weights, values and arithmetic into float16, for runtimes that compute in it.",
  options: float16StepOptions,
  needs: [],
  async run(model, options) {
    return float16Result(model, options);
  },
  async variants(model, options) {
    const { layers } = findLayers(model);
    const ladders = laddersOf(layers, toFloat16(model, options).layers(), float16Rungs);
    const blocklist = float16Options.shape.blocklist.parse(options.blocklist);
    return {
      ladders,
      apply: async (levels) => {
        const kept = ladders.flatMap(({ outputs }, at) => (levels[at] === 0 ? [] : outputs));
        return float16Result(model, { ...options, blocklist: [...blocklist, ...kept] });
      },
    };
  },
};

function float16Result(model: Model, options: Float16Options): StepResult {
  const { model: result, layers, skipped, notes } = toFloat16(model, options);
  return { model: result, report: () => ({ layers: layers(), skipped, notes }) };
}
