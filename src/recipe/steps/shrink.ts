/** @file Step: a student made of the teacher: narrower, with fewer blocks, its weights taken over or drawn anew. */
import * as z from "zod";
import type { Model } from "../../ir/model.ts";
import { pruneOptions } from "../../prune/options.ts";
import { freshWeights } from "../../train/fresh-weights.ts";
import { TersorError } from "../../util/errors.ts";
import { parseOptions } from "../../util/options.ts";
import { countParams } from "../describe-model.ts";
import type { Step, StepContext, StepReport } from "../step.ts";
import { runPrune } from "./prune.ts";
import { pruneStepOptions } from "./prune-options.ts";
import type { PruneStepReport } from "./prune-report.ts";

export const shrinkOptions = z.strictObject({
  width: z
    .number()
    .min(0)
    .lt(1)
    .default(0)
    .describe("share of channels, neurons and heads to leave out of every layer"),
  depth: z
    .number()
    .min(0)
    .lt(1)
    .default(0)
    .describe("share of residual blocks to leave out, those that the outputs need least"),
  weights: z
    .enum(["inherited", "fresh"])
    .default("inherited")
    .describe("what stays keeps its weights, or begins as before any training"),
  calibrate: pruneStepOptions.shape.calibrate.describe(
    "samples that show which blocks matter; needless for fresh weights",
  ),
  calibrationSamples: pruneStepOptions.shape.calibrationSamples,
  roundTo: pruneOptions.shape.roundTo,
  protect: pruneOptions.shape.protect,
  threads: pruneStepOptions.shape.threads,
  seed: pruneOptions.shape.seed,
});

export interface ShrinkReport extends StepReport {
  readonly params: PruneStepReport["params"];
  readonly depth?: PruneStepReport;
  readonly width?: PruneStepReport;
}

/** Weights of channels by their l1 norm; fresh ones are all alike, so that any will do. */
export const shrinkStep: Step<typeof shrinkOptions> = {
  name: "shrink",
  summary: "Make a student of a model: fewer channels, fewer residual blocks.",
  options: shrinkOptions,
  needs: [],
  async run(given, options, ctx) {
    const { width, depth, weights, seed, calibrate, ...rest } = options;
    const isFresh = weights === "fresh";
    if (width === 0 && depth === 0 && !isFresh)
      throw new TersorError(
        "bad-recipe",
        "shrink: nothing to leave out: expected a share as width or depth. Give one.",
      );
    const { roundTo, ...common } = { ...rest, compressed: false, seed: seed ?? ctx.seed };
    const judged = isFresh ? ({ criterion: "random" } as const) : { calibrate };
    const shorter =
      depth > 0 ? await cut(given, { ...common, structure: "blocks", ratio: depth, ...judged }, ctx) : undefined;
    const whole = shorter?.model ?? given;
    const narrower =
      width > 0 ? await cut(whole, { ...common, structure: "channels", ratio: width, roundTo }, ctx) : undefined;
    const small = narrower?.model ?? whole;
    const fresh = isFresh ? freshWeights(small, seed ?? ctx.seed) : undefined;
    const model = fresh?.model ?? small;
    return {
      model,
      report: (): ShrinkReport => {
        const parts = [shorter, narrower].map((part) => part?.report());
        const [cutDepth, cutWidth] = parts;
        const params = { before: countParams(given), after: countParams(model) };
        const kept = fresh?.kept ?? [];
        return {
          params,
          ...(cutDepth && { depth: cutDepth }),
          ...(cutWidth && { width: cutWidth }),
          notes: [
            `student: ${params.after} of ${params.before} parameters, ${weights} weights`,
            ...(kept.length > 0 ? [`not drawn anew, since nothing says how they begin: ${kept.join(", ")}`] : []),
            ...parts.flatMap((part) => part?.notes ?? []),
          ],
        };
      },
    };
  },
};

function cut(model: Model, options: z.input<typeof pruneStepOptions>, ctx: StepContext) {
  return runPrune(model, parseOptions(pruneStepOptions, options, "shrink"), ctx);
}
