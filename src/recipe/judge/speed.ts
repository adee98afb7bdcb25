/** @file The time of a result against its original's, measured once where the machine at hand is what the result is made for. */
import { batches, fixedBatch } from "../../data/batch.ts";
import { take } from "../../data/dataset.ts";
import { type LatencyRatio, measureLatency } from "../../evaluate/latency.ts";
import type { Model } from "../../ir/model.ts";
import type { Feeds } from "../../runtime/io.ts";
import type { Session } from "../../runtime/runtime.ts";
import type { Target } from "../../targets/target.ts";
import { TersorError } from "../../util/errors.ts";
import type { BoundStep } from "../bound-step.ts";
import type { OpenModelOptions, StepContext } from "../step.ts";
import { fewSamples } from "./few-samples.ts";

/** What a manifest says of speed. Timed: not the same in the next run. */
export interface SpeedReport extends LatencyRatio {
  /** Median milliseconds of a run on one thread. */
  readonly before: number;
  readonly after: number;
  /** Why the result is slower, and what to do; absent where it is not. */
  readonly slower?: string;
}

/** One thread, so that what else the machine does counts little. */
export const oneThread: OpenModelOptions = { runtime: "ort-node", optimization: "all", threads: 1 };

/** Rounds of turns, and milliseconds of a turn. */
const ROUNDS = 5;
const TURN_MS = 20;
/** A model whose run takes longer is not timed by default. */
const TOO_LONG_MS = 1500;
/** The middle half of the rounds must lie above this before a result is called slower. */
const NOISE = 1.03;

/**
 * Times a result that some step made smaller, on a sample of the recipe's. Undefined where nothing was changed that counts, where a step
 * measures it anyway, or where it can't be timed here.
 * @throws aborted
 */
export async function measureSpeed(
  original: Model,
  result: Model,
  steps: readonly BoundStep[],
  ctx: StepContext,
  isAtHand: (target: Target | undefined) => boolean,
): Promise<SpeedReport | undefined> {
  const last = steps.findLast(({ step }) => step.variants ?? reasons[step.mode ?? step.name]);
  const isMeasured = steps.some(({ step, options }) => step.name === "compare" && (options.runs ?? 1) !== 0);
  if (!last || isMeasured || !isAtHand(last.options.target as Target | undefined)) return undefined;
  try {
    const before = await ctx.open(original, oneThread);
    try {
      const after = await ctx.open(result, oneThread);
      try {
        return await timed({ before, after }, original, last, ctx);
      } finally {
        await after.release();
      }
    } finally {
      await before.release();
    }
  } catch (error) {
    // What does not run here is the judge's to say.
    if (!(error instanceof TersorError) || error.code === "aborted" || error.code === "internal") throw error;
    return undefined;
  }
}

async function timed(
  { before, after }: Readonly<Record<"before" | "after", Session>>,
  original: Model,
  { step, options }: BoundStep,
  ctx: StepContext,
): Promise<SpeedReport | undefined> {
  const samples = await fewSamples(original, before, (options.calibrate ?? options.data) as never, ctx);
  const feeds = typeof samples === "string" ? undefined : await firstFeeds(before, samples.search);
  if (!feeds) return undefined;
  const { signal } = ctx;
  const [ms = 0] = (await before.time(feeds, 2, { signal })).slice(-1);
  if (ms > TOO_LONG_MS) return undefined;
  const { models, ratios } = await measureLatency(
    {
      before: (count) => before.time(feeds, count, { signal }),
      after: (count) => after.time(feeds, count, { signal }),
    },
    { warmup: 1, rounds: ROUNDS, runs: runsInTurn(ms), signal },
  );
  const ratio = ratios.after as LatencyRatio;
  const because = reasons[step.mode ?? step.name];
  return {
    before: models.before?.p50 as number,
    after: models.after?.p50 as number,
    ...ratio,
    ...(ratio.low > NOISE && because && { slower: because }),
  };
}

/** Runs in a turn of a model whose run takes so many milliseconds. */
export function runsInTurn(ms: number): number {
  return Math.max(1, Math.min(20, Math.round(TURN_MS / Math.max(ms, 0.001))));
}

/** The first sample, or as many as the model wants at once. */
export async function firstFeeds(session: Session, data: Parameters<typeof take>[0]): Promise<Feeds | undefined> {
  const size = fixedBatch(session.inputs) ?? 1;
  for await (const { inputs } of batches(take(data, size), { size, last: "fill" })) return inputs;
  return undefined;
}

/** Why the result of a step, or of a mode of it, may be slower, and the next command. */
const reasons: Readonly<Record<string, string>> = {
  weights:
    "integer weights alone are decoded at every run. Integer arithmetic needs samples: `--calibrate SAMPLES`; for language models `--dynamic` or `--dtype int4 --granularity group:32`",
  static:
    "small layers, and the ways between integers and floats, cost more here than integers save. `--fit-latency` lets the clock decide which layers stay float",
  dynamic:
    "activations are quantized at every run. `--calibrate SAMPLES` without --dynamic does that beforehand; `--fit-latency` lets the clock decide which layers stay float",
  float16: "this processor computes in float32 and converts. float16 is for GPUs (`--target web-webgpu`)",
  prune:
    "its kernels like other widths. `--round-to 16` leaves whole blocks, `--by latency` removes what the clock says",
  shrink: "its kernels like other widths",
  sparse: "zeros are unpacked when the model is loaded",
};
