/** @file Runs steps one after the other. */
import type { Model } from "../ir/model.ts";
import { TersorError } from "../util/errors.ts";
import { type BoundReport, runBound } from "./bound/run-bound.ts";
import type { BoundStep } from "./bound-step.ts";
import { type JudgedReport, runJudged } from "./judge/judge.ts";
import { isFailure } from "./judge/verdict.ts";
import type { Decisions } from "./reapply/decisions.ts";
import { type EarlierStep, prepareStep, type ReapplyReport } from "./reapply/reapply.ts";
import type { StepContext, StepReport, StepResult } from "./step.ts";

/** What a manifest says of one step. */
export interface StepRecord {
  readonly step: string;
  readonly options: Readonly<Record<string, unknown>>;
  readonly report: StepReport;
  /** What was decided for single layers: {@link runSteps} decides so again for another model. */
  readonly decisions?: Decisions;
  /** What came of decisions of an earlier run. */
  readonly reapplied?: ReapplyReport;
}

/**
 * The model after all steps, and their reports: complete once the model was written.
 * @param earlier the steps of a run on another model, whose decisions hold for this one too
 * @throws aborted; bad-model where nothing of the other model is found; what the steps throw
 */
export async function runSteps(
  model: Model,
  bound: readonly BoundStep[],
  ctx: StepContext,
  earlier?: readonly EarlierStep[],
): Promise<{ model: Model; records: () => StepRecord[] }> {
  let current = model;
  let world = ctx;
  // Whether nothing was done so far but what leaves the outputs as they are.
  let isExact = true;
  const done: (() => StepRecord)[] = [];
  for (const [at, given] of bound.entries()) {
    const prepared = prepareStep(given, current, ctx.dryRun ? undefined : earlier?.[at]);
    const { entry } = prepared;
    const { step, written: options } = entry;
    if (ctx.signal.aborted) throw new TersorError("aborted", "interrupted: nothing was written.");
    const held = entry.bound && !ctx.dryRun ? await runBound(entry, entry.bound, prepared.model, world) : undefined;
    const result = held?.result ?? (await take(entry, prepared.model, isExact, world));
    // Later steps measure on what the search did not see.
    if (held) world = held.ctx;
    isExact &&= step.exact === true;
    current = result.model;
    const skips = entry.bound !== undefined && ctx.dryRun;
    done.push(() => {
      const report = result.report();
      const notes = [...(report.notes ?? []), "the accuracy bound is not looked at in a dry run"];
      return {
        step: step.name,
        options,
        report: skips ? { ...report, notes } : report,
        ...(!ctx.dryRun && prepared.finish(report)),
      };
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
