/** @file Scores of all groups: by the criterion that was asked for, or by those that do best with what there is to look at. */
import { TersorError } from "../../util/errors.ts";
import { type CriterionName, criteria } from "../criteria/index.ts";
import type { ChannelData } from "../evidence/channel-data.ts";
import type { Analysis } from "../graph/analysis.ts";
import type { Channeled, Group } from "../graph/groups.ts";
import { headGroups } from "../graph/heads.ts";
import { protectedLayers } from "../graph/protect.ts";
import type { PruneSettings } from "../options.ts";
import { scoresOf } from "./scores.ts";
import type { ScoredGroup } from "./select.ts";

export interface GroupScores {
  readonly scored: readonly ScoredGroup[];
  /** Why the other groups stay. */
  readonly reasons: Map<Group, string>;
  /** What ranked each group. */
  readonly by: ReadonlyMap<Group, CriterionName>;
  /** The criteria that found something to look at. */
  readonly used: readonly CriterionName[];
  /** What was looked at. */
  readonly notes: readonly string[];
}

/** Without a word of criteria: each is for the groups that those before it find nothing to look at in. */
const unasked = { data: ["wanda", "l1"], "no data": ["l1"] } as const satisfies Record<
  string,
  readonly CriterionName[]
>;

/** The criteria that a pruning of channels goes by, one after the other. @throws bad-recipe for a criterion of weights or blocks */
export function criteriaFor({ criterion }: PruneSettings, hasData: boolean): readonly CriterionName[] {
  if (criterion === undefined) return hasData ? unasked.data : unasked["no data"];
  if (criterion in criteria) return [criterion as CriterionName];
  throw new TersorError(
    "bad-recipe",
    `prune: criterion "${criterion}" is for weights: expected one of ${Object.keys(criteria).join(", ")} for channels.`,
  );
}

/**
 * @param fresh the same analysis of a copy of the model, which may be changed
 * @throws bad-recipe for layers to protect that do not exist
 */
export async function scoreGroups(
  { analysis, grouping }: Channeled,
  names: readonly CriterionName[],
  options: PruneSettings,
  { data, fresh }: { data: ChannelData | undefined; fresh: () => Analysis },
): Promise<GroupScores> {
  const isProtected = protection(analysis, options.protect);
  const isHeads = options.structure === "heads" ? headGroups(analysis) : undefined;
  const reasons = new Map<Group, string>();
  for (const group of grouping.groups) {
    const reason = isProtected(group) ? "protected" : isHeads?.(group) === false ? "no attention heads" : undefined;
    if (reason) reasons.set(group, reason);
  }
  const seed = options.seed ?? 0;
  const settings = { reduce: options.reduce, normalize: options.normalize ?? "mean", seed };
  const scores = new Map<Group, Float64Array>();
  const by = new Map<Group, CriterionName>();
  const used: CriterionName[] = [];
  const notes: string[] = [];
  for (const name of names) {
    const open = grouping.groups.filter((group) => !reasons.has(group) && !scores.has(group));
    if (open.length === 0) break;
    const criterion = criteria[name];
    const measured = data && (await criterion.measure?.({ analysis, fresh, data, objective: options.gradients, seed }));
    if (measured?.note) notes.push(measured.note);
    for (const group of open) {
      const found = scoresOf(analysis, group, { criterion, measured, ...settings });
      if (!found) continue;
      scores.set(group, found);
      by.set(group, name);
    }
    if (open.some((group) => scores.has(group))) used.push(name);
  }
  const scored = [...scores].map(([group, own]) => ({ group, scores: own }));
  for (const group of grouping.groups)
    if (!scores.has(group) && !reasons.has(group))
      reasons.set(group, `criterion "${names.join(", ")}" finds nothing to look at`);
  return { scored, reasons, by, used, notes };
}

/** Whether a layer of a group is among those to protect. @throws bad-recipe for a pattern that matches no layer */
function protection({ made }: Analysis, protect: string | undefined): (group: Group) => boolean {
  const found = protectedLayers(
    made.map(({ node }) => node),
    protect,
  );
  return ({ layers }) => layers.some(({ node }) => found.has(node));
}
