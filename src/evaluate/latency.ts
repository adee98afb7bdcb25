/** @file Latency of several models, timed in turns so that what the machine does meanwhile hits all of them alike. */
import { TersorError } from "../util/errors.ts";
import { interquartileRange, median, quantile } from "./statistics.ts";

/** Runs something this many times: milliseconds of each run. Session.time with its feeds bound is one. */
export type TimedRuns = (runs: number) => Promise<ArrayLike<number>>;

export interface LatencyOptions {
  /** Runs of each before anything counts. 3 when absent. */
  readonly warmup?: number;
  /** Turns that each one gets. 11 when absent. */
  readonly rounds?: number;
  /** Runs in a turn. 5 when absent. */
  readonly runs?: number;
  /** Begin no further round after this many milliseconds, but make at least 3. No limit when absent. */
  readonly budgetMs?: number;
  readonly signal?: AbortSignal;
  /** After each round, with the rounds done and those planned. */
  readonly onRound?: (done: number, total: number) => void;
}

/** Of one model. Times in milliseconds, over all runs that count. */
export interface Latency {
  readonly runs: number;
  readonly p50: number;
  readonly p95: number;
  readonly min: number;
  /** Width of the middle half of the runs. */
  readonly iqr: number;
}

/** A model against the first one, from the medians of turns of the same round. */
export interface LatencyRatio {
  /** Median of the rounds' ratios; below 1 is faster than the first. */
  readonly ratio: number;
  /** The middle half of the rounds' ratios lies between these. */
  readonly low: number;
  readonly high: number;
}

export interface LatencyReport {
  readonly rounds: number;
  /** By name, in the given order. */
  readonly models: Readonly<Record<string, Latency>>;
  /** By name, the first left out. */
  readonly ratios: Readonly<Record<string, LatencyRatio>>;
}

const leastRounds = 3;

/**
 * Times models against each other. Every second round goes through them backwards, so that none always comes first.
 * @throws aborted between turns once `signal` is; bad-recipe for counts below 1.
 */
export async function measureLatency(
  models: Readonly<Record<string, TimedRuns>>,
  options: LatencyOptions = {},
): Promise<LatencyReport> {
  const { warmup = 3, rounds = 11, runs = 5, budgetMs = Number.POSITIVE_INFINITY, signal, onRound } = options;
  if (!(rounds >= 1 && runs >= 1 && warmup >= 0))
    throw new TersorError(
      "bad-recipe",
      `latency: wrong counts: expected at least 1 round of 1 run, got ${rounds} rounds, ${runs} runs, ${warmup} warm-up runs.`,
    );
  const lanes = Object.entries(models).map(([name, time]) => ({ name, time, turns: [] as ArrayLike<number>[] }));
  for (const { time } of lanes) {
    checkAbort(signal);
    if (warmup > 0) await time(warmup);
  }
  const start = performance.now();
  let done = 0;
  while (done < rounds && (done < leastRounds || performance.now() - start < budgetMs)) {
    for (const lane of done % 2 === 0 ? lanes : lanes.toReversed()) {
      checkAbort(signal);
      lane.turns.push(await lane.time(runs));
    }
    done++;
    onRound?.(done, rounds);
  }
  const [first, ...others] = lanes;
  return {
    rounds: done,
    models: Object.fromEntries(lanes.map(({ name, turns }) => [name, latencyOf(turns)])),
    ratios: Object.fromEntries(others.map(({ name, turns }) => [name, ratioOf(turns, first?.turns ?? [])])),
  };
}

function latencyOf(turns: readonly ArrayLike<number>[]): Latency {
  const times = turns.flatMap((turn) => Array.from(turn));
  return {
    runs: times.length,
    p50: median(times),
    p95: quantile(times, 0.95),
    min: quantile(times, 0),
    iqr: interquartileRange(times),
  };
}

function ratioOf(turns: readonly ArrayLike<number>[], base: readonly ArrayLike<number>[]): LatencyRatio {
  const ratios = turns.map((turn, round) => median(turn) / median(base[round] as ArrayLike<number>));
  return { ratio: median(ratios), low: quantile(ratios, 0.25), high: quantile(ratios, 0.75) };
}

function checkAbort(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new TersorError("aborted", "latency: stopped.", { cause: signal.reason });
}
