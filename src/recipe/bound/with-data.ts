/** @file The world of steps with other data. */
import type { Dataset } from "../../data/dataset.ts";
import type { StepContext } from "../../step.ts";

/** The same world, but for what steps without data of their own see. */
export function withData(ctx: StepContext, data: Dataset): StepContext {
  return {
    original: ctx.original,
    seed: ctx.seed,
    dryRun: ctx.dryRun,
    signal: ctx.signal,
    open: (model, options) => ctx.open(model, options),
    evaluate: (model) => ctx.evaluate(model),
    size: (model, options) => ctx.size(model, options),
    discard: (model) => ctx.discard(model),
    data: async (spec, inputs) => (spec === undefined ? data : ctx.data(spec, inputs)),
    metric: (spec) => ctx.metric(spec),
    progress: (label, total, unit) => ctx.progress(label, total, unit),
  };
}
