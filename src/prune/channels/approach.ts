/** @file How channels may be chosen: criteria and rankings that are tried, and what came of each. */
import { type CriterionName, criteria } from "../criteria/index.ts";
import type { PruneSettings } from "../options.ts";
import { criteriaFor } from "./score-groups.ts";

export type Ranking = NonNullable<PruneSettings["ranking"]>;

/** One way to choose what goes. */
export interface Candidate {
  /** Each for the groups that those before it found nothing to look at in. */
  readonly criteria: readonly CriterionName[];
  readonly ranking: Ranking;
}

/** A way that was tried, and what the outputs lost by it. */
export interface Tried {
  readonly criteria: readonly CriterionName[];
  readonly ranking: Ranking;
  /** Of the outputs against the original's, in dB; undefined where it was not tried, with the reason. */
  readonly sqnr?: number;
  readonly reason?: string;
  readonly kept: boolean;
}

/** Of a result: what its outputs lose, on which samples. */
export interface Judged {
  readonly sqnr: number;
  readonly samples: number;
  /** False where the channels were chosen on the same samples. */
  readonly isApart: boolean;
}

/** How channels were chosen, and what makes up for them. */
export interface Approach extends Candidate {
  readonly recover: "none" | "mean" | "least-squares";
  /** Channels that stay are multiples of this. */
  readonly roundTo: number;
  /** All that were tried; one alone is not tried, but taken. */
  readonly tried?: readonly Tried[];
  /** What made up for the cuts that were tried: nothing, where solving each of them would have taken long. */
  readonly triedWith?: "none" | "mean" | "least-squares";
  readonly judged?: Judged;
}

/** Criteria that take turns at the head where there is data and none is asked for: no one of them is best for every network. */
const heads = ["wanda", "fisher"] as const satisfies readonly CriterionName[];
const rankings = ["layer", "global", "sensitivity"] as const satisfies readonly Ranking[];

/** The ways to try; one where all is said, or where there is nothing to judge them by. */
export function candidatesFor(options: PruneSettings, hasData: boolean): readonly Candidate[] {
  const names = criteriaFor(options, hasData);
  const { criterion, ranking, by } = options;
  if (!hasData) return [{ criteria: names, ranking: ranking ?? "layer" }];
  // What time says is asked of the clock for every cut: that is for one way only.
  if (by === "latency") return [{ criteria: names, ranking: ranking ?? "global" }];
  const chains =
    criterion === undefined ? heads.map((head) => [head, ...names.filter((name) => name !== head)]) : [names];
  const scopes = ranking === undefined ? rankings : [ranking];
  return scopes.flatMap((scope) => chains.map((chain) => ({ criteria: chain, ranking: scope })));
}

/** Whether a criterion differentiates the model, which not every model allows. */
export function needsGradients({ criteria: names }: Candidate): boolean {
  return names[0] !== undefined && criteria[names[0]].needs === "gradients";
}
