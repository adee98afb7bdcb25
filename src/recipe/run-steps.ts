/** @file Runs steps one after the other. */
import type { Model } from "../ir/model.ts";
import type { StepContext, StepReport } from "../step.ts";
import { TersorError } from "../util/errors.ts";
import type { BoundStep } from "./recipe.ts";

/** What a manifest says of one step. */
export interface StepRecord {
  readonly step: string;
  readonly options: Readonly<Record<string, unknown>>;
  readonly report: StepReport;
}

/** The model after all steps, and their reports: complete once the model was written. @throws aborted; what the steps throw */
export async function runSteps(
  model: Model,
  bound: readonly BoundStep[],
  ctx: StepContext,
): Promise<{ model: Model; records: () => StepRecord[] }> {
  let current = model;
  const done: (() => StepRecord)[] = [];
  for (const { step, options } of bound) {
    if (ctx.signal.aborted) throw new TersorError("aborted", "interrupted: nothing was written.");
    const result = await step.run(current, options, ctx);
    current = result.model;
    done.push(() => ({ step: step.name, options, report: result.report() }));
  }
  return { model: current, records: () => done.map((record) => record()) };
}
