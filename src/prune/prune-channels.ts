/** @file Structured pruning: finds the channels that can go, ranks them, takes them out, makes up for them, and says what stayed and why. */
import type { CalibrateOptions } from "../calibrate/calibrate.ts";
import type { Dataset } from "../data/dataset.ts";
import type { Model } from "../ir/model.ts";
import { infer } from "../ops/infer.ts";
import type { InputShapes } from "../ops/infer-inputs.ts";
import { removeDeadCode } from "../passes/dead-code.ts";
import { mergeInitializers } from "../passes/merge-initializers.ts";
import { TersorError } from "../util/errors.ts";
import type { Analysis } from "./analysis.ts";
import { recoveryStats } from "./calibration.ts";
import { type ChannelCost, CostMeter } from "./channel-cost.ts";
import { type CriterionName, criteria } from "./criteria/index.ts";
import { applyCut, type Cut, maskCut } from "./cut.ts";
import { findGroups, type Group, layerName } from "./groups.ts";
import { type Clock, LatencyMeter } from "./latency/latency-table.ts";
import { type LatencyReport, selectByLatency } from "./latency/select-by-latency.ts";
import type { ParsedPruneOptions } from "./options.ts";
import { prepared, withGramOpset } from "./prepare.ts";
import { foldMeans, type Repair, recoverable, solveWeights } from "./recover/recovery.ts";
import { criteriaFor, scoreGroups } from "./score-groups.ts";
import { type ScoredGroup, type Selection, type SelectOptions, selectChannels } from "./select.ts";
import {
  measureSensitivity,
  type SensitivityCurve,
  type SensitivityOptions,
  type SensitivityReport,
} from "./sensitivity.ts";
import { rankedBySensitivity, savings } from "./sensitivity-ranking.ts";

export interface GroupReport {
  /** Its layers by name, the first of many. */
  readonly name: string;
  readonly layers: readonly string[];
  readonly channels: number;
  readonly removed: number;
  /** Why nothing was to be removed. */
  readonly reason?: string;
}

/** Channels that had to stay. */
export interface KeptReport {
  readonly layer: string;
  readonly opType: string;
  readonly channels: number;
  /** The operator that prevents it. */
  readonly because: string;
  readonly reason: string;
}

/** How channels were chosen, and what makes up for them. */
export interface Approach {
  /** Each for the groups that those before it found nothing to look at in. */
  readonly criteria: readonly CriterionName[];
  readonly ranking: "layer" | "global" | "sensitivity";
  readonly recover: "none" | "mean" | "least-squares";
}

export interface ChannelResult {
  /** The model that was given where nothing was removed. */
  readonly model: Model;
  /** The model with zeros in place of what was removed, before recovery: it computes what the cut one does. */
  masked(): Model;
  /** The cut model before recovery. */
  readonly plain: Model;
  readonly approach: Approach;
  readonly groups: readonly GroupReport[];
  readonly kept: readonly KeptReport[];
  readonly before: ChannelCost;
  readonly after: ChannelCost;
  /** Share that was removed, of what `by` says. */
  readonly removed: number;
  readonly reached: boolean;
  readonly sensitivity?: SensitivityReport;
  readonly latency?: LatencyReport;
  readonly notes: readonly string[];
}

export interface ChannelData extends CalibrateOptions {
  readonly data: Dataset;
}

/** What only some options need. */
export interface PruneSurroundings {
  /** What sensitivity judges by besides, from a sample's label. */
  readonly judgeFor?: SensitivityOptions["judgeFor"];
  /** What times models, for `by: "latency"`. */
  readonly clock?: Clock | undefined;
}

/**
 * @param inputShapes sizes that the model leaves open, for counting MACs and for timing
 * @throws bad-recipe for layers to protect that do not exist, for a criterion or recovery without data, and for MACs that are not known
 */
export async function pruneChannels(
  given: Model,
  options: ParsedPruneOptions,
  calibration: ChannelData | undefined,
  inputShapes?: InputShapes,
  { judgeFor, clock }: PruneSurroundings = {},
): Promise<ChannelResult> {
  const { by } = options;
  const names = criteriaFor(options, calibration !== undefined);
  const recover = options.recover ?? (calibration ? "least-squares" : "none");
  const isSensed = options.sensitivity || options.ranking === "sensitivity";
  checkData(options, isSensed, calibration);
  const model = recover === "least-squares" ? withGramOpset(given) : given;
  const channeled = findGroups(prepared(model), { interface: options.cutInterface });
  const { analysis, grouping } = channeled;
  const fresh = () => findGroups(prepared(model), { interface: options.cutInterface }).analysis;
  const scores = await scoreGroups(channeled, names, options, { data: calibration, fresh });
  const { scored, reasons } = scores;
  const ratio = options.ratio ?? 0;
  const meter = new CostMeter(analysis, inputShapes);
  const sensed =
    isSensed && calibration
      ? await measureSensitivity(fresh(), scored, {
          ratios: options.sensitivityRatios.toSorted((a, b) => a - b),
          data: calibration,
          minChannels: options.minChannels,
          ...(judgeFor && { judgeFor }),
        })
      : undefined;
  const ranking = options.ranking ?? (calibration ? "global" : "layer");
  const isRanked = ranking === "sensitivity" && sensed !== undefined;
  const ranked = isRanked ? bySensitivity(scored, sensed.curves, meter, by) : scored;
  if (isRanked)
    for (const { group } of scored)
      if (!sensed.curves.has(group))
        reasons.set(group, "branches and loops read it: its sensitivity can't be measured");
  const settings: SelectOptions = {
    ratio,
    by,
    ranking: ranking === "sensitivity" ? "global" : ranking,
    minChannels: options.minChannels,
    roundTo: options.roundTo,
  };
  const cutModel = (cut: Cut) => {
    const copy = fresh();
    applyCut(copy, cut);
    return tidied(copy.model);
  };
  const selection: Selection & { readonly latency?: LatencyReport } =
    by === "latency"
      ? await selectByLatency(channeled, ranked, settings, {
          meter: new LatencyMeter(clockOf(clock), inputShapes),
          costs: meter,
          cutModel,
        })
      : await selectChannels(channeled, ranked, meter, settings);
  const { cut, before, after, removed, reached } = selection;
  const report = {
    approach: { criteria: scores.used, ranking, recover },
    groups: grouping.groups.map((group) => groupReport(group, cut, reasons.get(group))),
    kept: grouping.whole.map(({ layer, opType, channels, obstacle }) => {
      const { opType: because, reason } = obstacle;
      return { layer, opType, channels, because, reason };
    }),
    before,
    after,
    removed,
    reached,
    ...(sensed && { sensitivity: sensed.report }),
    ...(selection.latency && { latency: selection.latency }),
  };
  const notes = [...scores.notes, ...(reached ? [] : [missed(report.groups, options, removed)])];
  const masked = () => {
    const copy = fresh();
    maskCut(copy, cut);
    return copy.model;
  };
  if (cut.size === 0) return { model: given, plain: given, masked, notes, ...report };
  const repairs = await repairsFor(analysis, cut, { recover, damp: options.damp }, calibration).catch((cause) => {
    // What nobody asked for must not fail.
    if (options.recover !== undefined || !(cause instanceof TersorError) || cause.code !== "unsupported-op")
      throw cause;
    report.approach.recover = "none";
    notes.push(`no recovery: ${cause.message}`);
    return [];
  });
  applyCut(analysis, cut);
  const plain = repairs.length > 0 ? tidied(analysis.model.clone()) : undefined;
  for (const repair of repairs) repair();
  const result = tidied(analysis.model);
  return { model: result, plain: plain ?? result, masked, notes, ...report };
}

/** @throws bad-recipe for what needs data where there is none */
function checkData(
  { criterion, recover = "none" }: ParsedPruneOptions,
  isSensed: boolean,
  calibration: ChannelData | undefined,
): void {
  if (calibration) return;
  const chosen = criterion && criteria[criterion as CriterionName];
  const asking = chosen?.measure
    ? `criterion "${criterion}"`
    : isSensed
      ? "sensitivity"
      : recover === "none"
        ? undefined
        : `recovery "${recover}"`;
  if (asking)
    throw new TersorError(
      "bad-recipe",
      `prune: ${asking} needs calibration data: expected samples, got none. Name some with calibrate (on the command line: --calibrate).`,
    );
}

function clockOf(clock: Clock | undefined): Clock {
  if (clock) return clock;
  throw new TersorError("bad-recipe", "prune: by latency: there is nothing to time models with. Give a clock.");
}

function bySensitivity(
  scored: readonly ScoredGroup[],
  curves: ReadonlyMap<Group, SensitivityCurve>,
  meter: CostMeter,
  by: ParsedPruneOptions["by"],
): ScoredGroup[] {
  const saved = savings(scored, meter, by);
  return scored.flatMap((each, i) => {
    const curve = curves.get(each.group);
    return curve ? [rankedBySensitivity(each, curve, saved[i] as number)] : [];
  });
}

/** Makes the numbers of channels of all values known again, and merges what was copied for the cut. */
function tidied(model: Model): Model {
  const tidy = mergeInitializers(removeDeadCode(model).model).model;
  // Shapes that do not fit would be found here, before anything is written.
  infer(tidy);
  return tidy;
}

async function repairsFor(
  analysis: Analysis,
  cut: Cut,
  { recover, damp }: { recover: NonNullable<ParsedPruneOptions["recover"]>; damp: number },
  calibration: ChannelData | undefined,
): Promise<Repair[]> {
  if (recover === "none" || !calibration) return [];
  const readers = recoverable(analysis, cut);
  const stats = await recoveryStats(analysis, calibration.data, calibration, readers, recover);
  return recover === "mean" ? foldMeans(analysis, cut, stats) : solveWeights(analysis, cut, stats, damp);
}

function groupReport({ name, layers, atoms }: Group, cut: Cut, reason: string | undefined): GroupReport {
  return {
    name,
    layers: layers.map(({ node }) => layerName(node)),
    channels: atoms.length,
    removed: atoms.filter((atom) => cut.has(atom)).length,
    ...(reason && { reason }),
  };
}

const NAMED = 3;

/** What holds a bound up: the groups that have to keep most. */
function missed(groups: readonly GroupReport[], { ratio, by }: ParsedPruneOptions, removed: number): string {
  const holding = groups
    .filter((group) => group.removed < group.channels)
    .sort((a, b) => b.channels - b.removed - (a.channels - a.removed))
    .slice(0, NAMED)
    .map(
      ({ name, channels, removed: gone, reason }) => `${name} keeps ${channels - gone}${reason ? ` (${reason})` : ""}`,
    );
  const what = holding.length > 0 ? `: ${holding.join("; ")}` : ": no layer has channels that can go";
  return `${((ratio ?? 0) * 100).toFixed(0)} % of ${by} can't be removed, ${(removed * 100).toFixed(1)} % were${what}`;
}
