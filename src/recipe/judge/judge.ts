/** @file Looks at the outputs of a quantized model, cheaply and by default, and lets the layers that do harm step up. */
import type { Model } from "../../ir/model.ts";
import { randomOps } from "../../passes/constant-regions.ts";
import { constantToInitializer } from "../../passes/constant-to-initializer.ts";
import type { LayerReport } from "../../quantize/layers/report.ts";
import type { Session } from "../../runtime/runtime.ts";
import { TersorError } from "../../util/errors.ts";
import { type BoundSettings, boundOptions } from "../bound/bound.ts";
import type { Judges } from "../bound/judges.ts";
import { type BoundReport, searchBoundOf } from "../bound/run-bound.ts";
import type { JudgeOptions } from "../bound-step.ts";
import { measureAgreement } from "../compare.ts";
import type { OpenModelOptions, Step, StepContext, StepResult } from "../step.ts";
import { type FewSamples, fewSamples } from "./few-samples.ts";
import { fitLatency as fitToClock } from "./fit-latency.ts";
import { type MeasuredOutputs, type Verdict, verdictOf } from "./verdict.ts";

/** Below this many dB an output has little to do with the original's: noise of a tenth of its amplitude. */
export const FLOOR_DB = 20;
/** Models that a repair tries at most. */
const ROUNDS = 32;

/** What a manifest says of the outputs of a quantization step. */
export interface JudgedReport {
  readonly verdict: Verdict | "repaired" | "not judged";
  /** dB that every output should keep. */
  readonly floor: number;
  /** The output that keeps least, and its SQNR in dB; absent where nothing was measured. */
  readonly output?: string;
  readonly sqnr?: number;
  /** Of the result as it was asked for, where it was repaired. */
  readonly sqnrAsAsked?: number;
  /** Elements that are NaN or infinite and were not. */
  readonly broken?: number;
  readonly data?: { readonly name: string; readonly madeUp: boolean; readonly samples: number };
  /** Why nothing was judged, or why nothing was repaired. */
  readonly reason?: string;
  /** The search for what does the harm. */
  readonly rounds?: BoundReport["rounds"];
  /** Layers that are treated otherwise than asked for. */
  readonly changes?: BoundReport["changes"];
}

type Entry = { readonly step: Step; readonly options: Readonly<Record<string, unknown>> };

/** ONNX Runtime, with exact sums of 8-bit products on every processor: what is decided must not depend on the machine. */
const exact: OpenModelOptions = {
  runtime: "ort-node",
  optimization: "all",
  spinning: false,
  extra: { session: { x64quantprecision: "1" } },
};

/**
 * A step's result with its outputs judged against `reference` (what the step was given, or the original where that computes the
 * same). On real samples, layers step up until every output keeps {@link FLOOR_DB}. The report has a `judged`.
 * @throws what the step throws
 */
export async function runJudged(
  entry: Entry,
  input: Model,
  reference: Model,
  ctx: StepContext,
  { asAsked, fitLatency }: JudgeOptions,
): Promise<StepResult> {
  const { step, options } = entry;
  const asked = fitLatency
    ? await fitToClock(entry, constantToInitializer(input).model, reference, ctx)
    : await step.run(input, options as never, ctx);
  const judged = (result: StepResult, report: JudgedReport): StepResult => ({
    model: result.model,
    report: () => ({ ...result.report(), judged: report }),
  });
  const notJudged = (reason: string) => judged(asked, { verdict: "not judged", floor: FLOOR_DB, reason });
  const layers = (asked.report().layers ?? []) as readonly LayerReport[];
  if (!layers.some(({ status }) => status === "quantized"))
    return judged(asked, { verdict: "unchanged", floor: FLOOR_DB, reason: "no layer was quantized" });
  if (drawsNumbers(reference)) return notJudged("the model draws random numbers: two runs of it differ");
  const opened = await openReference(reference, ctx);
  if (typeof opened === "string") return notJudged(opened);
  try {
    const samples = await fewSamples(reference, opened, (options.calibrate ?? options.data) as never, ctx);
    if (typeof samples === "string") return notJudged(samples);
    const first = await measure([opened, asked.model], samples, ctx);
    if (typeof first === "string") return notJudged(first);
    const { madeUp, search } = samples;
    const { samples: count, ...measured } = first;
    const report: JudgedReport = { ...measured, floor: FLOOR_DB, data: { name: search.name, madeUp, samples: count } };
    const isBad = first.verdict !== "kept";
    if (!isBad) return judged(asked, report);
    if (madeUp || asAsked || !step.variants) {
      const verdict = first.verdict === "useless" && (madeUp || asAsked) ? "low" : first.verdict;
      return judged(asked, { ...report, verdict, ...(asAsked && { reason: "as asked: nothing was repaired" }) });
    }
    const repaired = await repair(entry, input, opened, samples, ctx);
    if (typeof repaired === "string") return judged(asked, { ...report, reason: repaired });
    const { result, bound } = repaired;
    const again = await measure([opened, result.model], { ...samples, search: samples.judge }, ctx);
    if (typeof again === "string" || !isBetter(again.sqnr, first.sqnr)) {
      ctx.discard(result.model);
      return judged(asked, { ...report, rounds: bound.rounds, reason: "no better treatment of its layers was found" });
    }
    ctx.discard(asked.model);
    const { samples: judgedBy, ...now } = again;
    return judged(result, {
      ...now,
      verdict: again.verdict === "kept" ? "repaired" : again.verdict,
      floor: FLOOR_DB,
      ...(first.sqnr !== undefined && { sqnrAsAsked: first.sqnr }),
      data: { name: search.name, madeUp, samples: judgedBy },
      rounds: bound.rounds,
      changes: bound.changes,
    });
  } finally {
    await opened.release();
  }
}

/**
 * With exact sums, as far as ONNX Runtime 1.30 can: with that setting it refuses some models, such as one weight that several convolutions
 * read, which it runs without.
 */
async function open(model: Model, ctx: StepContext): Promise<Session> {
  try {
    return await ctx.open(model, exact);
  } catch (error) {
    if (!(error instanceof TersorError) || error.code !== "runtime-failed") throw error;
    const { extra: _, ...plain } = exact;
    return ctx.open(model, plain);
  }
}

/** Whether what a model gives differs from run to run. */
function drawsNumbers(model: Model): boolean {
  return model
    .graphs()
    .some(({ nodes }) => nodes.some(({ opType, domain }) => domain === "" && alwaysRandom.has(opType)));
}

/** Dropout draws in training alone. */
const alwaysRandom = new Set([...randomOps].filter((name) => name !== "Dropout"));

/** The session of the reference; text where the runtime can't run it: that is no fault of the result. */
async function openReference(reference: Model, ctx: StepContext): Promise<Session | string> {
  try {
    return await open(reference, ctx);
  } catch (error) {
    return unlessAborted(error, "the original does not run here");
  }
}

type Measured = MeasuredOutputs & { readonly samples: number; readonly reason?: string };

/** What the outputs of a candidate come to; text where they can't be compared. */
async function measure(
  [reference, model]: readonly [Session, Model],
  { search, outputs }: FewSamples,
  ctx: StepContext,
): Promise<Measured | string> {
  let candidate: Session;
  try {
    candidate = await open(model, ctx);
  } catch (error) {
    return { verdict: "refused", samples: 0, reason: unlessAborted(error, "the runtime refuses the result") };
  }
  try {
    const progress = () => ({ update: () => {}, end: () => {} });
    const watch = { signal: ctx.signal, progress, original: ctx.original };
    const { fidelity, data } = await measureAgreement([reference, candidate], search, watch);
    return { ...verdictOf(fidelity, outputs, FLOOR_DB), samples: data.samples };
  } catch (error) {
    return unlessAborted(error, "the outputs can't be compared");
  } finally {
    await candidate.release();
  }
}

/** Lets layers step up until the floor holds; text where the step, as it was asked for, leaves no choice. */
async function repair(
  { step, options }: Entry,
  input: Model,
  reference: Session,
  { search, judge, outputs }: FewSamples,
  ctx: StepContext,
): Promise<{ result: StepResult; bound: BoundReport } | string> {
  const bound: BoundSettings = boundOptions.parse({ minSqnr: FLOOR_DB, rounds: ROUNDS });
  const judges: Judges = { search, judge, heldOut: search !== judge, outputs, isRepair: true };
  try {
    const model = constantToInitializer(input).model;
    const variants = await (step.variants as NonNullable<Step["variants"]>)(model, options as never, ctx);
    if (variants.ladders.length === 0) return "the step changes no layer that could step up";
    const { result, report } = await searchBoundOf(variants, bound, { model, reference, judges, settings: exact, ctx });
    return { result, bound: report };
  } catch (error) {
    return unlessAborted(error, "no repair");
  }
}

function unlessAborted(error: unknown, what: string): string {
  if (!(error instanceof TersorError) || error.code === "aborted" || error.code === "internal") throw error;
  return `${what}: ${error.message}`;
}

function isBetter(after: number | undefined, before: number | undefined): boolean {
  return after !== undefined && (before === undefined || after > before);
}
