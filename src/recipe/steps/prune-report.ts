/** @file Report of the step `prune`. */

import type { BlockReport, BlockResult } from "../../prune/blocks/prune-blocks.ts";
import type { Approach } from "../../prune/channels/approach.ts";
import type { LatencyReport } from "../../prune/channels/latency/select-by-latency.ts";
import type { ChannelResult, GroupReport, KeptReport } from "../../prune/channels/prune-channels.ts";
import type { Unrecovered } from "../../prune/channels/recover/recovery.ts";
import type { SensitivityReport } from "../../prune/channels/sensitivity.ts";
import type { WeightReport } from "../../prune/weights/prune-weights.ts";
import type { ModelSize, StepReport } from "../step.ts";
import type { BeforeAfter } from "./compare.ts";
import type { ProofReport } from "./prune-proof.ts";
import type { VocabularyReport } from "./prune-vocabulary.ts";
import type { TrainReport } from "./train-report.ts";

export interface PruneStepReport extends StepReport {
  readonly structure: string;
  /** Of channels. */
  readonly approach?: Approach;
  readonly groups?: readonly GroupReport[];
  /** Of blocks, in the graph's order. */
  readonly blocks?: readonly BlockReport[];
  readonly kept?: readonly KeptReport[];
  /** Layers that lose channels and are not made up for, where that was to be done. */
  readonly unrecovered?: readonly Unrecovered[];
  readonly vocabulary?: VocabularyReport;
  /** Share of what was asked for that was removed, and whether that was enough. */
  readonly removed?: number;
  readonly reached?: boolean;
  /** Of weights. */
  readonly layers?: readonly WeightReport[];
  readonly macs?: BeforeAfter<number>;
  readonly params: BeforeAfter<number>;
  readonly size?: BeforeAfter<ModelSize>;
  /** What the outputs lose when shares of single groups go. */
  readonly sensitivity?: SensitivityReport;
  /** What was timed, for a ratio of latency. */
  readonly latency?: LatencyReport;
  /** What was trained after each step of a schedule. */
  readonly schedule?: readonly ScheduleRecord[];
  readonly proof?: ProofReport;
}

export interface ScheduleRecord {
  /** Share that was to be gone by then. */
  readonly ratio?: number;
  readonly training?: TrainReport;
}

/** Of channels and blocks. */
export function cutReport(
  structure: string,
  result: ChannelResult | BlockResult,
  more: Partial<PruneStepReport>,
): PruneStepReport {
  const { kept, before, after, removed, reached, notes } = result;
  return {
    structure,
    ...("blocks" in result ? { blocks: result.blocks } : { approach: result.approach, groups: result.groups }),
    ...("unrecovered" in result && { unrecovered: result.unrecovered }),
    ...("sensitivity" in result && { sensitivity: result.sensitivity }),
    ...("latency" in result && { latency: result.latency }),
    kept,
    removed,
    reached,
    macs: { before: before.macs, after: after.macs },
    params: { before: before.params, after: after.params },
    ...more,
    notes,
  };
}

/** The report of a step with what was removed before it. */
export function joined(before: PruneStepReport | undefined, after: PruneStepReport): PruneStepReport {
  if (!before) return after;
  const gone = new Map(before.groups?.map((group) => [group.name, group]));
  const errors = [before, after].flatMap(({ proof }) => proof ?? []);
  const [proof] = errors.toSorted((a, b) => b.maxRelativeError - a.maxRelativeError);
  return {
    ...after,
    groups: (after.groups ?? []).map((group) => {
      const { channels = group.channels, removed = 0 } = gone.get(group.name) ?? {};
      return { ...group, channels, removed: removed + group.removed };
    }),
    ...(before.sensitivity && { sensitivity: before.sensitivity }),
    ...(after.macs && before.macs && { macs: { before: before.macs.before, after: after.macs.after } }),
    params: { before: before.params.before, after: after.params.after },
    ...(proof && { proof }),
  };
}
