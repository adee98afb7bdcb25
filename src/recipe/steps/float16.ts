/** @file Step: the whole model in float16, weights and arithmetic; with data, what float16 can't hold stays float32. */
import type * as z from "zod";
import type { Model } from "../../ir/model.ts";
import { type Float16Result, toFloat16 } from "../../quantize/float16/float16.ts";
import { magnitudes } from "../../quantize/float16/magnitudes.ts";
import { float16Options } from "../../quantize/float16/options.ts";
import { findLayers } from "../../quantize/layers/sites.ts";
import { float16Rungs, laddersOf } from "../bound/ladders.ts";
import { calibrationOptions, openCalibration } from "../data/calibration.ts";
import { quantizeReport } from "../quantize-report.ts";
import type { Step, StepContext, StepResult } from "../step.ts";

export const float16StepOptions = float16Options.omit({ magnitudes: true }).extend({
  ...calibrationOptions,
  calibrate: calibrationOptions.calibrate.describe(
    "samples that show which values go beyond 65,504: what computes them stays float32; default: a few of the recipe's data",
  ),
});

type Options = z.output<typeof float16StepOptions>;

export const float16Step: Step<typeof float16StepOptions> = {
  name: "quantize",
  mode: "float16",
  summary: "Turn weights, values and arithmetic into float16, for runtimes that compute in it.",
  options: float16StepOptions,
  needs: [],
  async run(model, options, ctx) {
    const seen = await look(model, options, ctx);
    return stepResult(convert(model, options, seen), seen);
  },
  async variants(model, options, ctx) {
    const seen = await look(model, options, ctx);
    const ladders = laddersOf(findLayers(model).layers, convert(model, options, seen).layers(), float16Rungs);
    return {
      ladders,
      apply: async (levels) => {
        const kept = ladders.flatMap(({ outputs }, at) => (levels[at] === 0 ? [] : outputs));
        return stepResult(convert(model, options, seen, kept), seen);
      },
    };
  },
};

/** What the data shows. */
interface Seen {
  readonly ranges: ReadonlyMap<string, number>;
  readonly calibration: { readonly data: string; readonly samples: number };
}

/** Of the recipe's data, where the step has none of its own. */
const FEW = 16;

/** Runs the model on the calibration data, else on a few samples of the recipe's; not at all where there are none. */
async function look(model: Model, options: Options, ctx: StepContext): Promise<Seen | undefined> {
  const { calibrate, calibrationSamples } = options;
  if (ctx.dryRun) return undefined;
  // Processors without float16 compute in float32: what overflows would show nowhere but in the values' sizes.
  const most = calibrate === undefined ? FEW : calibrationSamples;
  const opened = await openCalibration(model, { ...options, calibrationSamples: most }, ctx);
  if (!opened) return undefined;
  const { data, running, show } = opened;
  let samples = 0;
  const ranges = await show((onProgress) => {
    const count = (done: number) => {
      samples = done;
      onProgress(done);
    };
    return magnitudes(model, data, { ...running, onProgress: count });
  });
  return { ranges, calibration: { data: data.name, samples } };
}

/** @param blocked nodes that stay float32 besides those of the options */
function convert(
  model: Model,
  options: Options,
  seen: Seen | undefined,
  blocked: readonly string[] = [],
): Float16Result {
  const { keepIo, blocklist, measure } = options;
  const largest = seen && { magnitudes: seen.ranges };
  return toFloat16(model, { keepIo, measure, blocklist: [...blocklist, ...blocked], ...largest });
}

function stepResult(result: Float16Result, seen: Seen | undefined): StepResult {
  return {
    model: result.model,
    report: () => ({ ...quantizeReport(result), ...(seen && { calibration: seen.calibration }) }),
  };
}
