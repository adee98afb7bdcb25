/** @file Lets the clock decide which layers stay float: halves of the model are taken back as long as that makes it faster. */
import { measureLatency } from "../../evaluate/latency.ts";
import type { Model } from "../../ir/model.ts";
import type { Feeds } from "../../runtime/io.ts";
import type { Session } from "../../runtime/runtime.ts";
import { TersorError } from "../../util/errors.ts";
import { type RuleLadder, rulesAt } from "../bound/ladders.ts";
import type { Step, StepContext, StepResult, StepVariants } from "../step.ts";
import { fewSamples } from "./few-samples.ts";
import { firstFeeds, oneThread, runsInTurn } from "./speed.ts";

/** What a manifest says of it: with `layers` as the step's option, and without a clock, the same bytes come out again. */
export interface FitLatencyReport {
  /** Time of the result as a share of the original's, and of what was asked for. */
  readonly ratio: number;
  readonly ratioAsAsked: number;
  readonly trials: number;
  readonly layers: readonly { readonly match: string; readonly keep: boolean; readonly options: object }[];
}

const TRIALS = 24;
/** A trial counts as faster below this share of the time of the best so far. */
const FASTER = 0.98;
const ROUNDS = 7;

/**
 * The fastest of a step's variants that some thirty trials find. The report has a `fitLatency`.
 * @throws bad-recipe for a step without choices, or a model that can't be run here; what the step throws
 */
export async function fitLatency(
  { step, options }: { readonly step: Step; readonly options: Readonly<Record<string, unknown>> },
  input: Model,
  reference: Model,
  ctx: StepContext,
): Promise<StepResult> {
  if (!step.variants)
    throw new TersorError("bad-recipe", `${step.name}: fitLatency: its layers have no choice. Leave it out.`);
  // Costs are not counted where the clock decides.
  const own = "fitCosts" in step.options.shape ? { ...options, fitCosts: false } : options;
  const variants = await step.variants(input, own as never, ctx);
  const original = await ctx.open(reference, oneThread);
  const progress = ctx.progress("timing layers", TRIALS, "rounds");
  try {
    const samples = await fewSamples(reference, original, (options.calibrate ?? options.data) as never, ctx);
    const feeds = typeof samples === "string" ? undefined : await firstFeeds(original, samples.search);
    if (!feeds)
      throw new TersorError(
        "bad-recipe",
        `fitLatency: nothing can be timed: ${samples}. Name samples, or leave it out.`,
      );
    const search = new ClockSearch(variants, { original, feeds, ctx, onTrial: (done) => progress.update(done) });
    return await search.run();
  } finally {
    progress.end();
    await original.release();
  }
}

interface Clock {
  readonly original: Session;
  readonly feeds: Feeds;
  readonly ctx: StepContext;
  readonly onTrial: (done: number) => void;
}

interface Timed {
  readonly levels: readonly number[];
  readonly result: StepResult;
  /** Of the original's time. */
  readonly ratio: number;
}

class ClockSearch {
  readonly #variants: StepVariants;
  readonly #clock: Clock;
  #best: Timed | undefined;
  #trials = 0;

  constructor(variants: StepVariants, clock: Clock) {
    this.#variants = variants;
    this.#clock = clock;
  }

  async run(): Promise<StepResult> {
    const { ladders } = this.#variants;
    const asked = await this.#time(ladders.map(() => 0));
    this.#best = asked;
    await this.#takeBack(ladders.map((_, at) => at));
    const { levels, result, ratio } = this.#best as Timed;
    const rules = rulesAt(ladders as readonly RuleLadder[], levels);
    const kept = new Map(rules.map(({ match, keep, options }) => [match, { match, keep, options }]));
    const report: FitLatencyReport = {
      ratio,
      ratioAsAsked: asked.ratio,
      trials: this.#trials,
      layers: (ladders as readonly RuleLadder[]).map(
        ({ index }) => kept.get(String(index)) ?? { match: String(index), keep: false, options: {} },
      ),
    };
    return { model: result.model, report: () => ({ ...result.report(), fitLatency: report }) };
  }

  /** Leaves a group of layers float; its halves where that is no faster. */
  async #takeBack(group: readonly number[]): Promise<void> {
    if (group.length === 0 || this.#trials >= TRIALS) return;
    const best = this.#best as Timed;
    const levels = best.levels.map((level, at) =>
      group.includes(at) ? (this.#variants.ladders[at]?.rungs.length ?? 1) - 1 : level,
    );
    const isAll = levels.every((level, at) => level === (this.#variants.ladders[at]?.rungs.length ?? 1) - 1);
    if (!isAll) {
      const trial = await this.#time(levels);
      if (trial.ratio < best.ratio * FASTER) {
        this.#clock.ctx.discard(best.result.model);
        this.#best = trial;
        return;
      }
      this.#clock.ctx.discard(trial.result.model);
    }
    if (group.length === 1) return;
    const middle = Math.ceil(group.length / 2);
    await this.#takeBack(group.slice(0, middle));
    await this.#takeBack(group.slice(middle));
  }

  async #time(levels: readonly number[]): Promise<Timed> {
    const { original, feeds, ctx, onTrial } = this.#clock;
    const { signal } = ctx;
    const result = await this.#variants.apply(levels);
    const session = await ctx.open(result.model, oneThread);
    try {
      const [ms = 0] = (await original.time(feeds, 2, { signal })).slice(-1);
      const { ratios } = await measureLatency(
        {
          original: (count) => original.time(feeds, count, { signal }),
          trial: (count) => session.time(feeds, count, { signal }),
        },
        { warmup: 1, rounds: ROUNDS, runs: runsInTurn(ms), signal },
      );
      onTrial(++this.#trials);
      return { levels, result, ratio: ratios.trial?.ratio as number };
    } finally {
      await session.release();
    }
  }
}
