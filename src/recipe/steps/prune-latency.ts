/** @file Times pieces of models for pruning by latency, in turns, and reads tables of what was timed before. */
import * as z from "zod";
import { type LatencyReport, measureLatency } from "../../evaluate/latency.ts";
import { median } from "../../evaluate/statistics.ts";
import type { Model } from "../../ir/model.ts";
import type { InputShapes } from "../../ops/infer-inputs.ts";
import type { Clock, LatencyTable, TimeModels, Timing } from "../../prune/channels/latency/latency-table.ts";
import { timingFeeds } from "../../prune/channels/latency/segments.ts";
import type { RuntimeName } from "../../runtime/names.ts";
import type { Session } from "../../runtime/runtime.ts";
import { messageOf, TersorError } from "../../util/errors.ts";
import { parseJson } from "../../util/json.ts";
import type { StepContext } from "../step.ts";

export interface LatencySettings {
  readonly runtime: RuntimeName;
  /** One thread is steadier than several. */
  readonly threads?: number | undefined;
  /** Path of a table, or of a manifest that holds one. */
  readonly latencyTable?: string | undefined;
}

const time = z.object({ ratio: z.number().positive(), low: z.number(), high: z.number() });
const tableSchema = z.object({
  measuredWith: z.string(),
  callMs: z.number().nonnegative(),
  segments: z.record(z.string(), z.object({ name: z.string(), ms: z.number().nonnegative(), spread: z.number() })),
  wholes: z.record(z.string(), time),
});

/** @throws bad-data for a file that holds no table */
export async function clockFor(settings: LatencySettings, ctx: StepContext): Promise<Clock> {
  const { runtime, threads = 1, latencyTable } = settings;
  const known = latencyTable === undefined ? undefined : await readTable(latencyTable, ctx);
  return {
    name: `${runtime}, ${threads} thread${threads > 1 ? "s" : ""}`,
    time: ctx.dryRun ? undefined : timer({ runtime, threads }, ctx),
    ...(known && { known }),
  };
}

async function readTable(path: string, ctx: StepContext): Promise<LatencyTable> {
  const bytes = await ctx.files.read(path);
  if (!bytes) throw new TersorError("bad-data", `latency table "${path}": there is no such file.`);
  let value: unknown;
  try {
    value = parseJson(new TextDecoder().decode(bytes));
  } catch (cause) {
    throw new TersorError("bad-data", `latency table "${path}": is not JSON: ${messageOf(cause)}.`, { cause });
  }
  const manifest = z
    .object({
      steps: z.array(z.object({ report: z.object({ latency: z.object({ table: tableSchema }).optional() }) })),
    })
    .safeParse(value);
  const inManifest = manifest.data?.steps.findLast(({ report }) => report.latency)?.report.latency?.table;
  const table = inManifest ?? tableSchema.safeParse(value).data;
  if (table) return table;
  throw new TersorError(
    "bad-data",
    `latency table "${path}": holds no table: expected the manifest of a model that was pruned by latency, or its steps[].report.latency.table.`,
  );
}

const WARMUP = 3;
const ROUNDS = 11;
/** Of two whole models: what decides whether a bound is kept. */
const WHOLE_ROUNDS = 61;
/** A turn lasts this long at least: clocks are coarse, and machines busy. */
const TURN_MS = 2;
const MOST_RUNS = 64;
/** Rounds are repeated while half of the pieces spread by more than this, as a share. */
const QUIET = 0.1;
const ATTEMPTS = 4;

function timer(settings: { readonly runtime: RuntimeName; readonly threads: number }, ctx: StepContext): TimeModels {
  return async (models, shapes) => {
    const rounds = models.length > 2 ? ROUNDS : WHOLE_ROUNDS;
    const line = ctx.progress(`timing ${models.length} models`, rounds, "rounds");
    const sessions: Session[] = [];
    try {
      for (const model of models) sessions.push(await ctx.open(model, { ...settings, optimization: "all" }));
      const lanes: (() => Promise<number[]>)[] = [];
      for (const [i, model] of models.entries()) lanes.push(await laneOf(model, sessions[i] as Session, shapes, ctx));
      const named = Object.fromEntries(lanes.map((lane, i) => [`${i}`, lane]));
      const onRound = (done: number) => line.update(done);
      const options = { warmup: 0, rounds, runs: 1, signal: ctx.signal, onRound };
      let best = timingsOf(await measureLatency(named, options), lanes.length);
      // A machine that is busy now may be less so in a moment: what it adds is in the spread.
      for (let i = 1; i < ATTEMPTS && models.length > 2 && median(best.map(({ spread }) => spread)) > QUIET; i++) {
        const again = timingsOf(await measureLatency(named, options), lanes.length);
        best = best.map((each, at) => faster(each, again[at] as Timing));
      }
      return best;
    } finally {
      line.end();
      for (const session of sessions) await session.release();
      for (const model of new Set(models)) ctx.discard(model);
    }
  };
}

function timingsOf({ models, ratios }: LatencyReport, count: number): Timing[] {
  return Array.from({ length: count }, (_, i): Timing => {
    const { p50, min, iqr } = models[`${i}`] ?? { p50: 1, min: 1, iqr: 0 };
    return { ms: min, spread: iqr / 2 / p50, against: ratios[`${i}`] ?? { ratio: 1, low: 1, high: 1 } };
  });
}

const faster = (a: Timing, b: Timing): Timing => ({
  ...(a.ms <= b.ms ? a : b),
  spread: Math.min(a.spread, b.spread),
});

/** A turn of a model: the median of as many runs as fill it. */
async function laneOf(model: Model, session: Session, shapes: InputShapes | undefined, { signal }: StepContext) {
  const feeds = timingFeeds(model, shapes);
  const known = new Set(session.inputs.map(({ name }) => name));
  const own = Object.fromEntries(Object.entries(feeds).filter(([name]) => known.has(name)));
  const warm = await session.time(own, WARMUP, { signal });
  const runs = Math.max(1, Math.min(MOST_RUNS, Math.ceil(TURN_MS / Math.max(1e-3, median(warm)))));
  return async () => [median(await session.time(own, runs, { signal }))];
}
