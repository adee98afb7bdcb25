/** @file Structured pruning: finds the channels that can go, ranks them, takes them out, makes up for them, and says what stayed and why. */
import type { Model } from "../../ir/model.ts";
import type { InputShapes } from "../../ops/infer-inputs.ts";
import { TersorError } from "../../util/errors.ts";
import { parseOptions } from "../../util/options.ts";
import { type CriterionName, criteria } from "../criteria/index.ts";
import type { ChannelData } from "../evidence/channel-data.ts";
import { partsOf, referenceOf } from "../evidence/held-out.ts";
import { decibelsOf } from "../evidence/noise.ts";
import { openSizes, usedShapes } from "../evidence/sample-shapes.ts";
import type { Cut } from "../graph/cut.ts";
import { type Group, layerName } from "../graph/groups.ts";
import { withGramOpset } from "../graph/prepare.ts";
import { type PruneOptions, type PruneSettings, pruneOptions } from "../options.ts";
import { type Approach, type Candidate, candidatesFor } from "./approach.ts";
import type { ChannelCost } from "./channel-cost.ts";
import { isGrouped, selectorFor, trialRecovery, tryAll } from "./choose-approach.ts";
import type { LatencyReport } from "./latency/select-by-latency.ts";
import type { Unrecovered } from "./recover/recovery.ts";
import type { SensitivityReport } from "./sensitivity.ts";
import type { PruneSurroundings } from "./surroundings.ts";
import { Workbench } from "./workbench.ts";

export interface GroupReport {
  /** Its layers by name, the first of many. */
  readonly name: string;
  readonly layers: readonly string[];
  readonly channels: number;
  readonly removed: number;
  /** What ranked its channels, where it was not the first criterion. */
  readonly criterion?: CriterionName;
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
  /** Layers that lose channels and are not made up for, though that was to be done. */
  readonly unrecovered: readonly Unrecovered[];
  readonly before: ChannelCost;
  readonly after: ChannelCost;
  /** Share that was removed, of what `by` says. */
  readonly removed: number;
  readonly reached: boolean;
  readonly sensitivity?: SensitivityReport;
  readonly latency?: LatencyReport;
  readonly notes: readonly string[];
}

/**
 * @param inputShapes sizes that the model leaves open, for counting MACs and for timing; default those of the first sample
 * @throws bad-recipe for layers to protect that do not exist, for a criterion or recovery without data, and for MACs that are not known
 */
export async function pruneChannels(
  given: Model,
  asked: PruneOptions | PruneSettings,
  calibration?: ChannelData,
  inputShapes?: InputShapes,
  surroundings: PruneSurroundings = {},
): Promise<ChannelResult> {
  const options = parseOptions(pruneOptions, asked, "prune");
  const recover = options.recover ?? (calibration ? "least-squares" : "none");
  checkData(options, options.sensitivity || options.ranking === "sensitivity", calibration);
  const all = candidatesFor(options, calibration !== undefined);
  const candidates = isNothing(options) ? all.slice(0, 1) : all;
  const parts = calibration && (await partsOf(calibration));
  const isOnly = candidates.length === 1;
  const used = await usedShapes(given, inputShapes, calibration);
  const bench = new Workbench(recover === "least-squares" ? withGramOpset(given) : given, {
    ...surroundings,
    options,
    // One way needs no judge to be chosen by: it looks at all there is.
    seen: isOnly ? calibration : parts?.seen,
    all: calibration,
    held: isOnly || !parts?.isApart ? undefined : parts.held,
    inputShapes: used,
    isOnly,
  });
  const select = selectorFor(bench, options, surroundings);
  const reference = parts && !isNothing(options) ? await referenceOf(bench.model, parts.held) : undefined;
  const ways = isOnly || !reference ? [] : await tryAll(bench, candidates, { select, recover, reference });
  const best = ways.find(({ tried }) => tried.kept);
  const chosen = best?.candidate ?? (candidates[0] as Candidate);
  const { selection, scores, reasons, roundTo } = best?.way ?? (await select(chosen));
  const { cut, before, after, removed, reached } = selection;
  const { grouping } = bench.channeled;
  const groups = grouping.groups.map((group) =>
    groupReport(group, cut, reasons.get(group), scores.by.get(group), chosen),
  );
  const sensitivity =
    options.sensitivity || chosen.ranking === "sensitivity" ? await bench.sensitivity(chosen) : undefined;
  const triedWith = trialRecovery(bench, candidates.length, recover);
  const isJudged = triedWith === recover && best !== undefined;
  const made = cut.size > 0 ? await bench.recovered(cut, recover, "all samples") : undefined;
  const noise = isJudged ? best.noise : made && reference ? await reference.noise(made.model) : undefined;
  const notes = [
    ...(reached ? [] : [missed(groups, options, removed)]),
    ...scores.notes,
    ...fallbacks(groups, chosen),
    ...(made ? oddWidths(bench.model, made.model, surroundings.multiple) : []),
    ...openSizes(given, used),
  ];
  return {
    model: made?.model ?? given,
    plain: made?.plain ?? given,
    masked: () => bench.masked(cut),
    approach: {
      criteria: scores.used,
      ranking: chosen.ranking,
      recover,
      roundTo,
      ...(ways.length > 0 && { tried: ways.map(({ tried }) => tried), triedWith }),
      ...(noise !== undefined &&
        reference && {
          judged: { sqnr: decibelsOf(noise), samples: reference.samples, isApart: isJudged && parts?.isApart === true },
        }),
    },
    groups,
    kept: grouping.whole.map(({ layer, opType, channels, obstacle }) => {
      const { opType: because, reason } = obstacle;
      return { layer, opType, channels, because, reason };
    }),
    unrecovered: made?.unrecovered ?? [],
    before,
    after,
    removed,
    reached,
    ...(sensitivity &&
      (options.sensitivity || options.ranking === "sensitivity") && { sensitivity: sensitivity.report }),
    ...(selection.latency && { latency: selection.latency }),
    notes,
  };
}

const isNothing = ({ ratio }: PruneSettings) => (ratio ?? 0) === 0;

/** @throws bad-recipe for what needs data where there is none */
function checkData(
  { criterion, recover = "none" }: PruneSettings,
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
      `prune: ${asking} needs calibration data: expected samples, got none. Name some with calibrate.`,
    );
}

function groupReport(
  { name, layers, atoms }: Group,
  cut: Cut,
  reason: string | undefined,
  criterion: CriterionName | undefined,
  { criteria: [first] }: Candidate,
): GroupReport {
  return {
    name,
    layers: layers.map(({ node }) => layerName(node)),
    channels: atoms.length,
    removed: atoms.filter((atom) => cut.has(atom)).length,
    ...(criterion && criterion !== first && { criterion }),
    ...(reason && { reason }),
  };
}

/** Groups that another criterion than the first had to rank, and why. */
function fallbacks(groups: readonly GroupReport[], { criteria: [first] }: Candidate): string[] {
  const others = groups.filter(({ criterion }) => criterion !== undefined);
  const names = [...new Set(others.map(({ criterion }) => criterion as CriterionName))];
  return names.map((name) => {
    const own = others.filter(({ criterion }) => criterion === name).map((group) => group.name);
    const more = own.length > NAMED ? `, … ${own.length - NAMED} more` : "";
    return `${own.slice(0, NAMED).join(", ")}${more}: by ${name}, since no layer with constant weights that ${first} could look at sums over these channels`;
  });
}

/** Says where grouped convolutions were left with widths that the kernels do not like, though they had one that they do. */
function oddWidths(before: Model, after: Model, multiple = 1): string[] {
  const odd = (model: Model) =>
    new Set(
      model.graph.nodes.flatMap((node) => {
        const width = isGrouped(node) ? node.inputs[1]?.tensor?.dims[0] : undefined;
        return width !== undefined && width % multiple !== 0 ? [layerName(node)] : [];
      }),
    );
  const had = odd(before);
  const now = [...odd(after)].filter((name) => !had.has(name));
  if (now.length === 0) return [];
  const more = now.length > NAMED ? `, … ${now.length - NAMED} more` : "";
  return [
    `${now.slice(0, NAMED).join(", ")}${more}: widths that are no multiple of ${multiple}, for which the target's kernels have no fast way: the model may be slower than it was`,
  ];
}

const NAMED = 3;

/** What holds a bound up: the groups that have to keep most. */
function missed(groups: readonly GroupReport[], { ratio, by }: PruneSettings, removed: number): string {
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
