/** @file Takes a quantization step under an accuracy bound: measures, lets the worst layers step up, judges the result. */
import { type Dataset, isIndexed, split, take } from "../../data/dataset.ts";
import type { ChosenMetric } from "../../evaluate/choose-metric.ts";
import { metricForLabel } from "../../evaluate/choose-metric.ts";
import type { Model } from "../../ir/model.ts";
import { constantToInitializer } from "../../passes/constant-to-initializer.ts";
import type { LayerReport } from "../../quantize/report.ts";
import { throwIfAborted } from "../../runtime/abort.ts";
import type { Session } from "../../runtime/runtime.ts";
import type { OpenModelOptions, Step, StepContext, StepResult, StepVariants } from "../../step.ts";
import { TersorError } from "../../util/errors.ts";
import { type Agreement, chooseInputs, measureAgreement } from "../compare.ts";
import { type BoundMeasure, type BoundSettings, measureBound } from "./bound.ts";
import { layerFidelity } from "./layer-fidelity.ts";
import { type Found, type SearchRound, searchBound, type Trial } from "./search.ts";

/** What a manifest says of a bound, in the report of the step that was under it. */
export interface BoundReport {
  /** As it was asked for. */
  readonly maxDrop?: string | number;
  readonly minSqnr?: number;
  /** Whether the result keeps it. */
  readonly met: boolean;
  /** The result's, on the samples that judge. */
  readonly result: BoundMeasure;
  /** The limit that the search kept to: stricter than the result's where other samples judge. */
  readonly aim: number;
  readonly data: {
    readonly name: string;
    readonly madeUp: boolean;
    /** Samples that the search saw. */
    readonly searched: number;
    /** Samples that the result was judged by. */
    readonly judged: number;
    /** Whether those are others. */
    readonly heldOut: boolean;
  };
  readonly rounds: readonly BoundRound[];
  /** Layers that are treated otherwise than asked for. */
  readonly changes: readonly { readonly layer: string; readonly from: string; readonly to: string }[];
}

export interface BoundRound extends Pick<SearchRound, "action" | "bytes" | "holds"> {
  /** Names of the layers that changed. */
  readonly layers: readonly string[];
  /** The metric, or the SQNR; absent where the runtime refused the model. */
  readonly value?: number;
  readonly error?: string;
}

/** With fewer samples, the search and the judgement share all of them. */
const LEAST_TO_SPLIT = 16;
/** Samples that tell how good the layers are. */
const FIDELITY_SAMPLES = 32;

interface Candidate extends Trial {
  readonly result: StepResult;
  readonly agreement?: Agreement;
  readonly measure?: BoundMeasure;
  readonly error?: TersorError;
}

/** The samples of a bound, and by what they are judged. */
interface Judges {
  readonly search: Dataset;
  readonly judge: Dataset;
  readonly heldOut: boolean;
  readonly metric?: ChosenMetric;
}

/**
 * The result of a step, with the layers treated as much better than asked for as the bound needs. The report has a `bound`.
 * Data is split in halves, drawn by the seed: one is searched with, the other judges and is all that later steps see.
 * @throws bad-recipe for a step without variants, or a drop without data; bad-data for a drop without labels; what the step
 * and the runtime throw
 */
export async function runBound(
  { step, options }: { readonly step: Step; readonly options: Readonly<Record<string, unknown>> },
  bound: BoundSettings,
  input: Model,
  ctx: StepContext,
): Promise<{ result: StepResult; ctx: StepContext }> {
  if (!step.variants)
    throw new TersorError(
      "bad-recipe",
      `${step.name}: an accuracy bound can't be kept by this step: expected a quantization.`,
    );
  const { runtime, threads, optimization } = bound;
  const settings = { runtime, optimization, ...(threads !== undefined && { threads }) };
  const model = constantToInitializer(input).model;
  const reference = await ctx.open(ctx.original, settings);
  try {
    const judges = await judgesOf(bound, reference, ctx);
    const variants = await step.variants(model, options as never, ctx);
    const search = new Search(variants, bound, { model, reference, judges, settings, ctx });
    const found = await search.run();
    const report = await search.judge(found);
    const { result } = found.trial;
    const later = judges.heldOut ? withData(ctx, judges.judge) : ctx;
    return { result: { model: result.model, report: () => ({ ...result.report(), bound: report }) }, ctx: later };
  } finally {
    await reference.release();
  }
}

/** Which samples search and which judge. @throws bad-recipe, bad-data where they can't */
async function judgesOf(bound: BoundSettings, { inputs }: Session, ctx: StepContext): Promise<Judges> {
  const given = await ctx.data(undefined, inputs);
  if (!given && bound.maxDrop !== undefined)
    throw new TersorError(
      "bad-recipe",
      "maxDrop: a drop of what the model is for can't be measured without data: expected labelled samples. Name some (on the command line: --data), or bound the outputs with minSqnr (--min-sqnr).",
    );
  const { samples, shapes } = bound;
  const all = chooseInputs(given, inputs, { samples, shapes, seed: ctx.seed });
  const metric = bound.maxDrop === undefined ? undefined : await metricOf(bound, all, ctx);
  const size = isIndexed(all) || all.size !== undefined ? (all.size ?? 0) : Number.POSITIVE_INFINITY;
  if (size < LEAST_TO_SPLIT) return { search: all, judge: all, heldOut: false, ...(metric && { metric }) };
  const [search, judge] = await split(all, 0.5, ctx.seed);
  return { search, judge, heldOut: true, ...(metric && { metric }) };
}

/** @throws bad-data for samples from whose labels no metric follows */
async function metricOf({ metric }: BoundSettings, data: Dataset, ctx: StepContext): Promise<ChosenMetric> {
  if (metric !== undefined) return ctx.metric(metric);
  for await (const sample of take(data, 1)) {
    const chosen = metricForLabel(sample);
    if (chosen) return chosen;
    const [what, advice] =
      sample.label === undefined
        ? ["has no label", "Give data with labels"]
        : [
            "has a text as its label",
            'Name a metric, such as {"name":"cer","charset":"FILE"} (on the command line: --metric)',
          ];
    throw new TersorError(
      "bad-data",
      `maxDrop: sample "${sample.id}" of ${data.name} ${what}: expected one that a metric follows from. ${advice}, or bound the outputs with minSqnr (--min-sqnr).`,
    );
  }
  throw new TersorError("bad-data", `${data.name}: holds no samples. No drop can be measured.`);
}

interface SearchWorld {
  /** The step's input. */
  readonly model: Model;
  readonly reference: Session;
  readonly judges: Judges;
  readonly settings: OpenModelOptions;
  readonly ctx: StepContext;
}

class Search {
  readonly #variants: StepVariants;
  readonly #bound: BoundSettings;
  readonly #world: SearchWorld;
  /** Name of what is measured, for rounds: by trial, since some have none. */
  readonly #candidates: Candidate[] = [];

  constructor(variants: StepVariants, bound: BoundSettings, world: SearchWorld) {
    this.#variants = variants;
    this.#bound = bound;
    this.#world = world;
  }

  async run(): Promise<Found<Candidate>> {
    const { ladders } = this.#variants;
    const { ctx, model, judges, settings } = this.#world;
    const progress = ctx.progress("keeping the bound", this.#bound.rounds, "rounds");
    try {
      const found = await searchBound<Candidate>({
        costs: ladders.map(({ rungs }) => rungs.map(({ bits }) => bits)),
        rounds: this.#bound.rounds,
        evaluate: async (levels) => {
          throwIfAborted(ctx.signal, "accuracy bound");
          const candidate = await this.#evaluate(levels);
          this.#candidates.push(candidate);
          progress.update(this.#candidates.length);
          return candidate;
        },
        fidelity: ({ result, error }) => {
          const samples = take(judges.search, FIDELITY_SAMPLES);
          const reports = (result.report().layers ?? []) as readonly LayerReport[];
          return layerFidelity(ladders, reports, {
            model,
            changed: error ? undefined : result.model,
            samples,
            settings,
            ctx,
          });
        },
        release: ({ result }) => ctx.discard(result.model),
      });
      if (found.trial.error) throw found.trial.error;
      return found;
    } finally {
      progress.end();
    }
  }

  /** A model that the runtime refuses is as far beyond the bound as can be. */
  async #evaluate(levels: readonly number[]): Promise<Candidate> {
    const { ctx, judges } = this.#world;
    const result = await this.#variants.apply(levels);
    try {
      const agreement = await this.#agreement(result.model, judges.search);
      const measure = measureBound(this.#bound, agreement, judges.heldOut);
      const { bytes } = await ctx.size(result.model, { compressed: false });
      return { result, agreement, measure, excess: measure.excess, bytes };
    } catch (error) {
      if (!(error instanceof TersorError) || error.code !== "runtime-failed") throw error;
      return { result, error, excess: Number.POSITIVE_INFINITY, bytes: Number.POSITIVE_INFINITY };
    }
  }

  async #agreement(model: Model, data: Dataset): Promise<Agreement> {
    const { reference, judges, settings, ctx } = this.#world;
    const session = await ctx.open(model, settings);
    const watch = { signal: ctx.signal, progress: () => ({ update: () => {}, end: () => {} }) };
    return measureAgreement([reference, session], data, watch, judges.metric).finally(() => session.release());
  }

  /** The report: the result judged by the samples that the search did not see, where there are such. */
  async judge({ trial, levels, rounds }: Found<Candidate>): Promise<BoundReport> {
    const { judges } = this.#world;
    const searched = trial.agreement as Agreement;
    const judged = judges.heldOut ? await this.#agreement(trial.result.model, judges.judge) : searched;
    const result = measureBound(this.#bound, judged, false);
    const { maxDrop, minSqnr } = this.#bound;
    const { ladders } = this.#variants;
    const { name, madeUp } = searched.data;
    return {
      ...(maxDrop !== undefined && { maxDrop }),
      ...(minSqnr !== undefined && { minSqnr }),
      met: result.excess <= 0,
      result,
      aim: measureBound(this.#bound, searched, judges.heldOut).limit,
      data: { name, madeUp, searched: searched.data.samples, judged: judged.data.samples, heldOut: judges.heldOut },
      rounds: rounds.map(({ action, bytes, holds, changed }, at) => {
        const { measure, error } = this.#candidates[at] as Candidate;
        return {
          action,
          layers: changed.map((layer) => ladders[layer]?.name ?? ""),
          bytes,
          holds,
          ...(measure && { value: measure.after }),
          ...(error && { error: error.message }),
        };
      }),
      changes: ladders.flatMap(({ name: layer, rungs }, at) => {
        const [from, to] = [rungs[0]?.label ?? "", rungs[levels[at] as number]?.label ?? ""];
        return levels[at] === 0 ? [] : [{ layer, from, to }];
      }),
    };
  }
}

/** The same world, but for what steps without data of their own see. */
function withData(ctx: StepContext, data: Dataset): StepContext {
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
