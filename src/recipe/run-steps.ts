/** @file Runs steps one after the other. */
import type { Model } from "../ir/model.ts";
import type { StepContext, StepReport, StepResult } from "../step.ts";
import { TersorError } from "../util/errors.ts";
import { type BoundReport, runBound } from "./bound/run-bound.ts";
import type { BoundStep } from "./bound-step.ts";
import { type JudgedReport, runJudged } from "./judge/judge.ts";
import { isFailure } from "./judge/verdict.ts";

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
  let world = ctx;
  // Whether nothing was done so far but what leaves the outputs as they are.
  let isExact = true;
  const done: (() => StepRecord)[] = [];
  for (const entry of bound) {
    const { step, written: options } = entry;
    if (ctx.signal.aborted) throw new TersorError("aborted", "interrupted: nothing was written.");
    const held = entry.bound && !ctx.dryRun ? await runBound(entry, entry.bound, current, world) : undefined;
    const result = held?.result ?? (await take(entry, current, isExact, world));
    // Later steps measure on what the search did not see.
    if (held) world = held.ctx;
    isExact &&= step.exact === true;
    current = result.model;
    const skips = entry.bound !== undefined && ctx.dryRun;
    done.push(() => {
      const report = result.report();
      const notes = [...(report.notes ?? []), "the accuracy bound is not looked at in a dry run"];
      return { step: step.name, options, report: skips ? { ...report, notes } : report };
    });
  }
  return { model: current, records: () => done.map((record) => record()) };
}

/** A step's result, judged where the recipe has it so. */
async function take(
  { step, options, judge }: BoundStep,
  model: Model,
  isExact: boolean,
  ctx: StepContext,
): Promise<StepResult> {
  if (!judge || ctx.dryRun) return step.run(model, options, ctx);
  const names = ({ graph }: Model) => graph.inputs.map(({ name }) => name).join();
  const reference = isExact && names(model) === names(ctx.original) ? ctx.original : model;
  return runJudged({ step, options }, model, reference, ctx, judge);
}

/** Whether outputs are of use, accuracy bounds were kept, ratios reached, cuts proved and trainings not broken off; true without any. */
export function boundsMet(records: readonly StepRecord[]): boolean {
  return records.every(
    ({ report }) =>
      ((report.bound as BoundReport | undefined)?.met ?? true) &&
      !isFailure((report.judged as JudgedReport | undefined)?.verdict) &&
      report.reached !== false &&
      (report.proof as { readonly met?: boolean } | undefined)?.met !== false &&
      report.diverged === undefined,
  );
}
