/** @file Tries ways of choosing channels, and keeps the one that the outputs lose least by. */
import type { Node } from "../../ir/node.ts";
import { TersorError } from "../../util/errors.ts";
import type { Reference } from "../evidence/held-out.ts";
import { decibelsOf } from "../evidence/noise.ts";
import type { Cut } from "../graph/cut.ts";
import type { Group } from "../graph/groups.ts";
import type { PruneSettings } from "../options.ts";
import { type Candidate, needsGradients, type Tried } from "./approach.ts";
import type { CostMeter } from "./channel-cost.ts";
import { type Clock, LatencyMeter } from "./latency/latency-table.ts";
import { type LatencyReport, selectByLatency } from "./latency/select-by-latency.ts";
import type { GroupScores } from "./score-groups.ts";
import { type ScoredGroup, type Selection, selectChannels } from "./select.ts";
import { selectWidths } from "./select-widths.ts";
import type { SensitivityCurve } from "./sensitivity.ts";
import { rankedBySensitivity, savings } from "./sensitivity-ranking.ts";
import type { PruneSurroundings } from "./surroundings.ts";
import type { Recovery, Workbench } from "./workbench.ts";

/** What one way takes. */
export interface Way {
  readonly selection: Selection & { readonly latency?: LatencyReport };
  readonly scores: GroupScores;
  /** Why groups stay. */
  readonly reasons: ReadonlyMap<Group, string>;
  /** Channels that stay are multiples of this. */
  readonly roundTo: number;
}

export type Select = (candidate: Candidate) => Promise<Way>;

/** @throws bad-recipe for latency without a clock, and for MACs that are not known */
export function selectorFor(
  bench: Workbench,
  options: PruneSettings,
  { clock, multiple = 1, widths }: PruneSurroundings,
): Select {
  const { by, minChannels, ratio = 0 } = options;
  const multiples = options.roundTo === undefined ? multiplesOf(hasGroups(bench) ? multiple : 1) : [options.roundTo];
  return async (candidate) => {
    const scores = await bench.scores(candidate);
    const reasons = new Map(scores.reasons);
    const isRanked = candidate.ranking === "sensitivity";
    let ranked = scores.scored;
    if (isRanked) {
      const { curves } = await bench.sensitivity(candidate);
      ranked = bySensitivity(scores.scored, curves, bench.meter, by);
      for (const { group } of scores.scored)
        if (!curves.has(group)) reasons.set(group, "branches and loops read it: its sensitivity can't be measured");
    }
    const ranking = isRanked ? "global" : candidate.ranking;
    const { channeled, meter } = bench;
    if (widths)
      return { selection: selectWidths(channeled, scores.scored, meter, widths), scores, reasons, roundTo: 1 };
    const choose = (roundTo: number): Promise<Way["selection"]> => {
      const settings = { ratio, by, ranking, minChannels, roundTo } as const;
      if (by !== "latency") return selectChannels(channeled, ranked, meter, settings);
      return selectByLatency(channeled, ranked, settings, {
        meter: new LatencyMeter(clockOf(clock), bench.inputShapes),
        costs: meter,
        cutModel: (cut) => bench.cut(cut),
      });
    };
    // Less than the kernels like only where the ratio is out of reach otherwise.
    let roundTo = multiples[0] as number;
    let selection = await choose(roundTo);
    for (const less of multiples.slice(1)) {
      if (selection.reached) break;
      roundTo = less;
      selection = await choose(less);
    }
    return { selection, scores, reasons, roundTo };
  };
}

/** A multiple, and halves of it. */
function multiplesOf(multiple: number): number[] {
  return multiple > 1 ? [multiple, ...multiplesOf(Math.floor(multiple / 2))] : [1];
}

/** Whether there are convolutions in groups. */
function hasGroups({ model }: Workbench): boolean {
  return model.graphs().some(({ nodes }) => nodes.some(isGrouped));
}

export function isGrouped(node: Node): boolean {
  return node.opType === "Conv" && node.int("group", 1) > 1;
}

function clockOf(clock: Clock | undefined): Clock {
  if (clock) return clock;
  throw new TersorError("bad-recipe", "prune: by latency: there is nothing to time models with. Give a clock.");
}

function bySensitivity(
  scored: readonly ScoredGroup[],
  curves: ReadonlyMap<Group, SensitivityCurve>,
  meter: CostMeter,
  by: PruneSettings["by"],
): ScoredGroup[] {
  const saved = savings(scored, meter, by);
  return scored.flatMap((each, i) => {
    const curve = curves.get(each.group);
    return curve ? [rankedBySensitivity(each, curve, saved[i] as number)] : [];
  });
}

/** A way that was tried. */
export interface Trial {
  readonly candidate: Candidate;
  readonly tried: Tried;
  readonly way?: Way;
  readonly noise?: number;
}

interface Around {
  readonly select: Select;
  readonly recover: Recovery;
  readonly reference: Reference;
}

/**
 * Cuts in every way, and judges each. A way that takes enough goes before one that does not; then the one whose outputs are closest to the
 * original's; of equals the first.
 */
export async function tryAll(
  bench: Workbench,
  candidates: readonly Candidate[],
  { select, recover, reference }: Around,
): Promise<readonly Trial[]> {
  const trials: Trial[] = [];
  const known = new Map<string, Trial>();
  let best: Trial | undefined;
  const around = { select, recover: trialRecovery(bench, candidates.length, recover), reference };
  for (const candidate of candidates) {
    const trial = await tryOne(bench, candidate, around, known);
    trials.push(trial);
    if (trial.noise !== undefined && isBetter(trial, best)) best = trial;
  }
  return trials.map((trial) => (trial === best ? { ...trial, tried: { ...trial.tried, kept: true } } : trial));
}

/** Multiplications that solving may take for all ways together: about a minute. */
const MOST_SOLVING = 4e10;

/** What makes up for a cut while ways are tried: nothing, where solving so many times would take long. */
export function trialRecovery(bench: Workbench, ways: number, recover: Recovery): Recovery {
  return recover === "least-squares" && bench.solvingCost() * ways > MOST_SOLVING ? "none" : recover;
}

function isBetter(one: Trial, other: Trial | undefined): boolean {
  if (!other) return true;
  const [a, b] = [one.way?.selection, other.way?.selection];
  if (a?.reached !== b?.reached) return a?.reached === true;
  // Widths that the kernels like before those that they do not.
  if (one.way?.roundTo !== other.way?.roundTo) return (one.way?.roundTo ?? 1) > (other.way?.roundTo ?? 1);
  return (one.noise as number) < (other.noise as number);
}

async function tryOne(
  bench: Workbench,
  candidate: Candidate,
  { select, recover, reference }: Around,
  known: Map<string, Trial>,
): Promise<Trial> {
  const { criteria, ranking } = candidate;
  const about = { criteria: criteria.slice(0, 1), ranking, kept: false };
  let way: Way;
  try {
    way = await select(candidate);
  } catch (cause) {
    // A way that nobody asked for must not fail.
    if (!needsGradients(candidate) || !(cause instanceof TersorError) || cause.code === "aborted") throw cause;
    return { candidate, tried: { ...about, reason: cause.message } };
  }
  const { cut } = way.selection;
  const key = keyOf(cut);
  const same = known.get(key);
  if (same) return { candidate, tried: { ...about, ...(same.tried.sqnr !== undefined && { sqnr: same.tried.sqnr }) } };
  const made = cut.size > 0 ? await bench.recovered(cut, recover) : undefined;
  const noise = made ? await reference.noise(made.model) : 0;
  const isSound = Number.isFinite(noise);
  const tried: Tried = isSound
    ? { ...about, sqnr: decibelsOf(noise) }
    : { ...about, reason: "its outputs are not finite" };
  const trial: Trial = { candidate, tried, way, ...(isSound && { noise }) };
  known.set(key, { candidate, tried });
  return trial;
}

function keyOf(cut: Cut): string {
  return [...cut].sort((a, b) => a - b).join();
}
