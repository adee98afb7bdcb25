/** @file What steps calibrate with: the data, and how models are run on it. */
import * as z from "zod";
import type { CalibrateOptions } from "../../calibrate/calibrate.ts";
import { type Dataset, take } from "../../data/dataset.ts";
import type { Model } from "../../ir/model.ts";
import { inputOptions, runtimeOptions } from "../run-options.ts";
import type { DataSpec, Progress, StepContext } from "../step.ts";
import { inputsOf } from "./inputs-of.ts";

/** Options of every step that looks at samples. */
export const calibrationOptions = {
  calibrate: inputOptions.data.describe("samples to calibrate on; do not measure on the same ones"),
  calibrationSamples: z.int().min(1).default(256).describe("calibrate on the first samples"),
  batchSize: z
    .int()
    .min(1)
    .optional()
    .describe("samples in one calibration run; default the model's fixed batch size, else 1"),
  threads: runtimeOptions.threads,
};

export interface CalibrationOptions {
  readonly calibrate?: DataSpec | undefined;
  readonly calibrationSamples: number;
  readonly batchSize?: number | undefined;
  readonly threads?: number | undefined;
}

export interface CalibrationData {
  readonly data: Dataset;
  readonly running: Pick<CalibrateOptions, "open" | "batchSize" | "signal">;
  /** Calls `work` with what shows its progress: samples done, of how many, where that is more than one pass. */
  show<T>(work: (onProgress: (done: number, total?: number) => void) => Promise<T>): Promise<T>;
}

/** The samples that suit a model; undefined where neither the step nor the recipe names any. */
export async function openCalibration(
  model: Model,
  { calibrate: spec, calibrationSamples: samples, batchSize, threads }: CalibrationOptions,
  ctx: StepContext,
): Promise<CalibrationData | undefined> {
  // Calibration is made of many short runs, each of which would leave threads waiting awake.
  const settings = { runtime: "ort-node", spinning: false, ...(threads !== undefined && { threads }) } as const;
  const data = await ctx.data(spec, inputsOf(model));
  if (!data) return undefined;
  const count = Math.min(samples, data.size ?? Number.POSITIVE_INFINITY);
  const known = Number.isFinite(count) ? count : 0;
  return {
    data: take(data, count),
    running: {
      async open(probed) {
        const session = await ctx.open(probed, settings);
        // The file of a model that was made to be measured is needed once.
        return {
          inputs: session.inputs,
          outputs: session.outputs,
          loadMs: session.loadMs,
          run: (...args) => session.run(...args),
          time: (...args) => session.time(...args),
          release: () => session.release().finally(() => ctx.discard(probed)),
        };
      },
      batchSize,
      signal: ctx.signal,
    },
    async show(work) {
      let shown: { readonly progress: Progress; readonly total: number } | undefined;
      const end = () => shown?.progress.end();
      const onProgress = (done: number, total = known) => {
        if (shown?.total !== total) {
          end();
          shown = { progress: ctx.progress("calibrating", total, "samples"), total };
        }
        shown.progress.update(done);
      };
      return work(onProgress).finally(end);
    },
  };
}
