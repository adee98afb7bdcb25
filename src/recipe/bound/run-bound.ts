/** @file Takes a quantization step under an accuracy bound: measures, lets the worst layers step up, judges the result. */
import { type Dataset, take } from "../../data/dataset.ts";
import type { Model } from "../../ir/model.ts";
import { exposeWeights } from "../../passes/expose-weights.ts";
import type { LayerReport } from "../../quantize/layers/report.ts";
import { throwIfAborted } from "../../runtime/abort.ts";
import type { Session } from "../../runtime/runtime.ts";
import { TersorError } from "../../util/errors.ts";
import { type Agreement, measureAgreement } from "../compare.ts";
import type { OpenModelOptions, Step, StepContext, StepResult, StepVariants } from "../step.ts";
import { type BoundMeasure, type BoundSettings, measureBound } from "./bound.ts";
import { type Judges, judgesOf } from "./judges.ts";
import { layerFidelity } from "./layer-fidelity.ts";
import { RecordedSession } from "./recorded-session.ts";
import { type Found, type SearchRound, searchBound, type Trial } from "./search.ts";
import { withData } from "./with-data.ts";

/** What a manifest says of a bound, in the report of the step that was under it. */
export interface BoundReport {
  /** As it was asked for. */
  readonly maxDrop?: string | number;
  readonly minSqnr?: number;
  /** Whether the result keeps it. */
  readonly met: boolean;
  /** The result's, on the samples that judge. */
  readonly result: BoundMeasure;
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
  /** The worst value with which the round holds. Where other samples judge, stricter than the bound by a standard error. */
  readonly limit?: number;
  readonly error?: string;
  /** What the samples of the search did not show: the value on the others, of a round that was put to them. */
  readonly judged?: number;
}

/** Samples that tell how good the layers are. */
const FIDELITY_SAMPLES = 32;

interface Candidate extends Trial {
  readonly result: StepResult;
  readonly agreement?: Agreement;
  readonly measure?: BoundMeasure;
  readonly error?: TersorError;
}

/**
 * The result of a step, with the layers treated as much better than asked for as the bound needs. The report has a `bound`.
 * Later steps see only the samples that judged.
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
  const model = exposeWeights(input).model;
  const reference = await ctx.open(ctx.original, settings);
  try {
    const judges = await judgesOf(bound, reference, ctx);
    const variants = await step.variants(model, options as never, ctx);
    const { result, report } = await searchBoundOf(variants, bound, { model, reference, judges, settings, ctx });
    const later = judges.heldOut ? withData(ctx, judges.judge) : ctx;
    return { result: { model: result.model, report: () => ({ ...result.report(), bound: report }) }, ctx: later };
  } finally {
    await reference.release();
  }
}

/** The cheapest of a step's variants with which a bound holds, else the closest, as the samples see it that judge. */
export async function searchBoundOf(
  variants: StepVariants,
  bound: BoundSettings,
  world: SearchWorld,
): Promise<{ result: StepResult; report: BoundReport }> {
  const search = new Search(variants, bound, world);
  return search.judge(await search.run());
}

export interface SearchWorld {
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
  readonly #recorded: RecordedSession;
  /** Of every round. */
  readonly #measures: Pick<Candidate, "measure" | "error">[] = [];

  constructor(variants: StepVariants, bound: BoundSettings, world: SearchWorld) {
    this.#variants = variants;
    this.#bound = bound;
    this.#world = world;
    this.#recorded = new RecordedSession(world.reference);
  }

  async run(): Promise<Found<Candidate>> {
    const { ladders } = this.#variants;
    const { ctx, model, judges, settings } = this.#world;
    const progress = ctx.progress("keeping the bound", this.#bound.rounds, "rounds");
    try {
      const found = await searchBound<Candidate>({
        costs: ladders.map(({ rungs }) => rungs.map(({ bits }) => bits)),
        rounds: this.#bound.rounds,
        ...(judges.isRepair && { firstGroup: 1 }),
        evaluate: async (levels) => {
          throwIfAborted(ctx.signal, "accuracy bound");
          const candidate = await this.#evaluate(levels);
          const { measure, error } = candidate;
          this.#measures.push({ ...(measure && { measure }), ...(error && { error }) });
          progress.update(this.#measures.length);
          return candidate;
        },
        fidelity: async ({ result, error }) => {
          // What does the harm lies together, mostly at the front: halves of the graph find it, where noise of layers may mislead.
          if (judges.isRepair) return ladders.map((_, at) => at);
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

  /** A model that can't be written, or that the runtime refuses, is as far beyond the bound as can be. */
  async #evaluate(levels: readonly number[]): Promise<Candidate> {
    const { ctx, judges } = this.#world;
    const result = await this.#variants.apply(levels);
    const failed = (error: unknown, code: TersorError["code"]): Candidate => {
      if (!(error instanceof TersorError) || error.code !== code) throw error;
      return { result, error, excess: Number.POSITIVE_INFINITY, bytes: Number.POSITIVE_INFINITY };
    };
    let bytes: number;
    try {
      bytes = (await ctx.size(result.model, { compressed: false })).bytes;
    } catch (error) {
      // Weights that the rung can't hold, such as those beyond float16.
      return failed(error, "bad-data");
    }
    try {
      const agreement = await this.#agreement(result.model, judges.search);
      const measure = measureBound(this.#bound, agreement, judges.heldOut);
      return { result, agreement, measure, excess: measure.excess, bytes };
    } catch (error) {
      return failed(error, "runtime-failed");
    }
  }

  async #agreement(model: Model, data: Dataset): Promise<Agreement> {
    const { reference, judges, settings, ctx } = this.#world;
    const session = await ctx.open(model, settings);
    const quiet = () => ({ update: () => {}, end: () => {} });
    const watch = { signal: ctx.signal, progress: quiet, original: ctx.original };
    const original = data === judges.search ? this.#recorded.session() : reference;
    const agreement = await measureAgreement([original, session], data, watch, judges.metric).finally(() =>
      session.release(),
    );
    const { outputs } = judges;
    if (!outputs) return agreement;
    const counted = Object.entries(agreement.fidelity).filter(([name]) => outputs.has(name));
    return { ...agreement, fidelity: Object.fromEntries(counted) };
  }

  /**
   * The result, judged by the samples that the search did not see, where there are such. Where they show that the search was
   * lucky, two rounds that cost more are put to them as well.
   */
  async judge({ trial, levels, rounds }: Found<Candidate>): Promise<{ result: StepResult; report: BoundReport }> {
    const { judges, ctx } = this.#world;
    const searched = trial.agreement as Agreement;
    let chosen: Judged = {
      result: trial.result,
      levels,
      agreement: searched,
      measure: measureBound(this.#bound, searched, false),
    };
    const shown = new Map<string, number>();
    if (judges.heldOut) {
      chosen = await this.#judged(levels, trial.result);
      shown.set(levels.join(), chosen.measure.after);
      for (const safer of chosen.measure.excess > 0 ? saferRounds(trial, rounds, judges.isRepair ? 12 : 2) : []) {
        const next = await this.#judged(safer.levels, await this.#variants.apply(safer.levels));
        shown.set(safer.levels.join(), next.measure.after);
        const [kept, dropped] = next.measure.excess < chosen.measure.excess ? [next, chosen] : [chosen, next];
        ctx.discard(dropped.result.model);
        chosen = kept;
        if (chosen.measure.excess <= 0) break;
      }
    }
    return { result: chosen.result, report: this.#report(chosen, searched, rounds, shown) };
  }

  async #judged(levels: readonly number[], result: StepResult): Promise<Judged> {
    throwIfAborted(this.#world.ctx.signal, "accuracy bound");
    const agreement = await this.#agreement(result.model, this.#world.judges.judge);
    return { result, levels, agreement, measure: measureBound(this.#bound, agreement, false) };
  }

  #report(
    { levels, agreement, measure: result }: Judged,
    searched: Agreement,
    rounds: readonly SearchRound[],
    shown: ReadonlyMap<string, number>,
  ): BoundReport {
    const { maxDrop, minSqnr } = this.#bound;
    const { heldOut } = this.#world.judges;
    const { ladders } = this.#variants;
    const { name, madeUp } = searched.data;
    return {
      ...(maxDrop !== undefined && { maxDrop }),
      ...(minSqnr !== undefined && { minSqnr }),
      met: result.excess <= 0,
      result,
      data: { name, madeUp, searched: searched.data.samples, judged: agreement.data.samples, heldOut },
      rounds: rounds.map(({ action, bytes, holds, changed, levels: tried }, at) => {
        const { measure, error } = this.#measures[at] ?? {};
        const judged = shown.get(tried.join());
        return {
          action,
          layers: changed.map((layer) => ladders[layer]?.name ?? ""),
          bytes,
          holds,
          ...(measure && { value: measure.after, limit: measure.limit }),
          ...(judged !== undefined && { judged }),
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

/** A candidate as the samples see it that the search did not. */
interface Judged {
  readonly result: StepResult;
  readonly levels: readonly number[];
  readonly agreement: Agreement;
  readonly measure: BoundMeasure;
}

/** Of the rounds that hold with more room than the best, and cost more: so many, from cheap to the most expensive. */
function saferRounds(best: Trial, rounds: readonly SearchRound[], count: number): SearchRound[] {
  const safer = rounds
    .filter(({ holds, bytes, excess }) => holds && bytes > best.bytes && excess < best.excess)
    .sort((a, b) => a.bytes - b.bytes);
  const picks = Array.from({ length: count }, (_, k) => safer[Math.ceil(((k + 1) * safer.length) / count) - 1]);
  return [...new Set(picks)].filter((round) => round !== undefined);
}
