/** @file Which channels go: by rank within each group or among all, to a share of channels, parameters or MACs. */

import { TersorError } from "../../util/errors.ts";
import type { Cut } from "../graph/cut.ts";
import type { Channeled, Group } from "../graph/groups.ts";
import type { ChannelCost, CostMeter } from "./channel-cost.ts";

export interface SelectOptions {
  /** Share to remove, 0 to 1. */
  readonly ratio: number;
  readonly by: "channels" | "params" | "macs" | "latency";
  readonly ranking: "layer" | "global";
  /** Channels that every group keeps at least. */
  readonly minChannels: number;
  /** Channels that stay of a group are a multiple of this, or all. */
  readonly roundTo: number;
}

/** A group with a score for each of its atoms; larger for what should stay. */
export interface ScoredGroup {
  readonly group: Group;
  readonly scores: ArrayLike<number>;
}

export interface Selection {
  readonly cut: Cut;
  readonly before: ChannelCost;
  readonly after: ChannelCost;
  /** The share that was removed, of what `by` says. */
  readonly removed: number;
  /** Whether the ratio was reached. */
  readonly reached: boolean;
}

/** Of shares, which are quotients of whole numbers. */
const TOLERANCE = 1e-9;

/** Chooses the smallest cut that removes the ratio, or the largest where none does. */
export async function selectChannels(
  channeled: Channeled,
  scored: readonly ScoredGroup[],
  meter: CostMeter,
  options: SelectOptions,
): Promise<Selection> {
  const before = meter.cost(new Set());
  const { ratio } = options;
  // Of latency the selection is another; what it costs otherwise is told in MACs.
  const by = options.by === "latency" ? "macs" : options.by;
  if (by === "macs" && before.macs === 0)
    throw new TersorError(
      "bad-recipe",
      "prune: by macs: the MACs of no layer are known: expected sizes of the inputs. Give shapes, or take by params or channels.",
    );
  const { cutAt, trimmed } = cutter(channeled, scored, options);
  const channels = scored.reduce((sum, { group }) => sum + group.atoms.length, 0);
  const removedBy = (cut: Cut, after: ChannelCost) =>
    by === "channels" ? cut.size / Math.max(1, channels) : before[by] > 0 ? 1 - after[by] / before[by] : 0;
  const describe = (cut: Cut): Selection => {
    const after = meter.cost(cut);
    const removed = removedBy(cut, after);
    return { cut, before, after, removed, reached: removed >= ratio - TOLERANCE };
  };
  if (ratio === 0) return { cut: new Set(), before, after: before, removed: 0, reached: true };
  // The least number of channels that is enough; with N, N is.
  let [low, high] = [0, channels];
  let best = describe(cutAt(1));
  if (!best.reached) return best;
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    const selection = describe(cutAt(middle / channels));
    if (selection.reached) [high, best] = [middle, selection];
    else low = middle;
  }
  return describe(await trimmed(best.cut, (cut) => describe(cut).reached));
}

/** Cuts of one ranking. */
export interface Cutter {
  /** The cut of a share of all channels. */
  cutAt(share: number): Cut;
  /**
   * The cut without what rounding took too much: a step of a group at a time, the most important first, goes back while what is left is
   * still enough.
   */
  trimmed(cut: Cut, isEnough: (cut: Cut) => boolean | Promise<boolean>): Promise<Cut>;
}

export function cutter(
  { analysis, grouping }: Channeled,
  scored: readonly ScoredGroup[],
  options: Pick<SelectOptions, "ranking" | "minChannels" | "roundTo">,
): Cutter {
  // Asked for many shares: what does not depend on them is done once.
  const limits = Int32Array.from(analysis.ports, ({ size }) => size - 1);
  const places = new Map(analysis.ports.map((port, at) => [port, at]));
  const ordered = inOrder(scored, options.ranking).map(({ group, atom }) => {
    const members = [...(grouping.members.get(atom) ?? [])];
    return { group, atom, members: members.map(([port, count]) => ({ at: places.get(port) as number, count })) };
  });
  const cutAt = (share: number) => {
    const room = limits.slice();
    const cut = new Set<number>();
    const chosen = new Map(scored.map(({ group }) => [group, [] as number[]]));
    const asked = Math.floor(ordered.length * share + 1e-9);
    for (let i = 0; i < asked; i++) {
      const { group, atom, members } = ordered[i] as (typeof ordered)[number];
      const own = chosen.get(group) ?? [];
      if (group.atoms.length - own.length <= options.minChannels) continue;
      if (members.some(({ at, count }) => (room[at] as number) < count)) continue;
      for (const { at, count } of members) room[at] = (room[at] as number) - count;
      own.push(atom);
    }
    for (const [group, own] of chosen) {
      const total = group.atoms.length;
      const kept = Math.min(total, Math.ceil((total - own.length) / options.roundTo) * options.roundTo);
      for (const atom of own.slice(0, total - kept)) cut.add(atom);
    }
    return cut;
  };
  const trimmed: Cutter["trimmed"] = async (whole, isEnough) => {
    if (options.roundTo === 1) return whole;
    const steps: { group: Group; atoms: number[] }[] = [];
    const open = new Map<Group, number[]>();
    for (const { group, atom } of ordered.toReversed()) {
      if (!whole.has(atom)) continue;
      let atoms = open.get(group);
      if (!atoms || atoms.length === options.roundTo) {
        atoms = [];
        open.set(group, atoms);
        steps.push({ group, atoms });
      }
      atoms.push(atom);
    }
    let cut = whole;
    const done = new Set<Group>();
    for (const { group, atoms } of steps) {
      if (done.has(group)) continue;
      const rest = new Set([...cut].filter((atom) => !atoms.includes(atom)));
      if (await isEnough(rest)) cut = rest;
      else done.add(group);
    }
    return cut;
  };
  return { cutAt, trimmed };
}

/**
 * All atoms, the least important first. Per layer they are taken from all layers in step, by their place in the layer's
 * own order.
 */
function inOrder(scored: readonly ScoredGroup[], ranking: SelectOptions["ranking"]) {
  const ranked = scored.flatMap(({ group, scores }) =>
    group.atoms
      .map((atom, i) => ({ group, atom, score: scores[i] as number }))
      .sort((a, b) => a.score - b.score || a.atom - b.atom)
      .map((entry, i) => ({ ...entry, place: (i + 1) / group.atoms.length })),
  );
  const key = (entry: (typeof ranked)[number]) => (ranking === "layer" ? entry.place : entry.score);
  return ranked.sort((a, b) => key(a) - key(b) || a.score - b.score || a.atom - b.atom);
}
