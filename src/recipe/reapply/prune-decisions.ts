/** @file Decisions of pruning by layer: the widths of groups of channels, and the share of zeros of weights. */
import type { WeightReport } from "../../prune/weights/prune-weights.ts";
import { weightSites } from "../../prune/weights/sites.ts";
import { findLayers } from "../../quantize/layers/sites.ts";
import { namePattern } from "../../util/name-pattern.ts";
import type { PruneStepReport } from "../steps/prune-report.ts";
import type { Carried, Choice, DecisionRow, Reapplied, Setting } from "./decisions.ts";
import type { LayerPlace } from "./layer-graph.ts";

/** Of a layer that makes channels, or of a weight with zeros. */
interface PruneChoice extends Choice {
  readonly left?: number;
  readonly of?: number;
  readonly ratio?: number;
  readonly keep?: string;
}

/** Shares of zeros that are the same but for rounding. */
const NEAR = 0.01;

export const byWidthsOrShares: DecisionRow = {
  choicesOf(report, places) {
    const { groups, layers } = report as Partial<PruneStepReport>;
    if (groups) return places.map(({ name }) => groupChoice(groups, name));
    return layers && places.map((place) => weightChoice(layers, place, report.structure as string));
  },
  wholeOf: ({ approach }) => {
    const chosen = approach as PruneStepReport["approach"];
    return chosen ? { criterion: chosen.criteria[0], ranking: chosen.ranking } : {};
  },
  isSame(one: PruneChoice, other: PruneChoice) {
    const near = Math.abs((one.ratio ?? 0) - (other.ratio ?? 0)) <= NEAR;
    return (
      near && one.left === other.left && one.of === other.of && (one.keep === undefined) === (other.keep === undefined)
    );
  },
  differs(before: PruneChoice, now: PruneChoice | undefined) {
    if (!now) return "it makes no channels that can go, and has no weight that can be pruned here";
    return `${inWords(now)}, it was ${inWords(before)}`;
  },
  reapply(carried, setting) {
    const isOfChannels = carried.some(({ choice }) => (choice as PruneChoice).left !== undefined);
    return isOfChannels ? widths(carried, setting) : shares(carried, setting);
  },
};

function inWords({ left, of, ratio, keep }: PruneChoice): string {
  if (left !== undefined) return `${left} of ${of} channels stay`;
  return keep === undefined ? `${((ratio ?? 0) * 100).toFixed(1)} % zeros` : `kept (${keep})`;
}

function groupChoice(groups: NonNullable<PruneStepReport["groups"]>, name: string): PruneChoice | undefined {
  const group = groups.find(({ layers }) => layers.includes(name));
  return group && { left: group.channels - group.removed, of: group.channels };
}

function weightChoice(
  layers: readonly WeightReport[],
  { weight }: LayerPlace,
  structure: string,
): PruneChoice | undefined {
  const layer = layers.find((each) => each.weight === weight);
  if (!layer) return undefined;
  if (layer.reason !== undefined) return { keep: layer.reason };
  return structure.includes(":") && !structure.startsWith("block")
    ? {}
    : { ratio: layer.zeros / Math.max(1, layer.weights) };
}

function widths(carried: readonly Carried[], { model, options, whole }: Setting): Reapplied {
  const names = findLayers(model).layers.map(({ name }) => name);
  const left = carried.flatMap(({ to, choice }): [string, number][] => {
    const name = names[to];
    const { left: stays } = choice as PruneChoice;
    return name === undefined || stays === undefined ? [] : [[name, stays]];
  });
  const { criterion = whole.criterion, ranking = whole.ranking } = options;
  return { options: { ...options, criterion, ranking, widths: new Map(left) }, misfits: [] };
}

/** What the recipe says of layers, by rules for all of them: their indices, and what each is to have. */
function shares(carried: readonly Carried[], { model, options }: Setting): Reapplied {
  const { sites } = weightSites(model.clone());
  const weights = findLayers(model).layers.map(({ value }) => value.name);
  const known = new Map(carried.map(({ to, choice }) => [weights[to], choice as PruneChoice]));
  const asked = String(options.layers ?? "")
    .split(",")
    .filter((rule) => rule.trim() !== "");
  const hasRatio = options.ratio !== undefined;
  const rules = sites.flatMap((site) => {
    const choice = known.get(site.value.name);
    if (choice?.keep !== undefined) return [`${site.index}@keep`];
    if (choice) return [hasRatio && choice.ratio !== undefined ? `${site.index}@${choice.ratio}` : String(site.index)];
    if (asked.length === 0) return [String(site.index)];
    // Numbers named layers of the old model.
    const own = asked.map((rule) => rule.trim().split(/@(?=[^@]*$)/));
    const named = own.filter(([pattern = ""]) => !/^\d+(-\d+)?$/.test(pattern) && namePattern(pattern)(site));
    return named.map(([, word]) => (word === undefined ? String(site.index) : `${site.index}@${word}`));
  });
  return {
    // Protected layers are among those that are kept; shares are of each layer by itself.
    options: { ...options, layers: rules.join(), protect: undefined, ...(hasRatio && { ranking: "layer" }) },
    misfits: [],
  };
}
