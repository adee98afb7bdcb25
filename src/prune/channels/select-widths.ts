/** @file Which channels go where their number is given, layer by layer: the least important of each group. */
import type { Cut } from "../graph/cut.ts";
import { type Channeled, layerName } from "../graph/groups.ts";
import type { CostMeter } from "./channel-cost.ts";
import type { ScoredGroup, Selection } from "./select.ts";

/** Channels that are to stay, by the name of a layer that makes them. */
export interface Widths {
  readonly left: ReadonlyMap<string, number>;
  /** Share of the way there that is to be gone, 0 to 1. */
  readonly share: number;
}

/** Groups whose layers are not named, or are to be of several widths, stay whole. */
export function selectWidths(
  { analysis, grouping }: Channeled,
  scored: readonly ScoredGroup[],
  meter: CostMeter,
  { left, share }: Widths,
): Selection {
  const room = new Map(analysis.ports.map((port) => [port, port.size - 1]));
  const cut: Cut & Set<number> = new Set<number>();
  let reached = true;
  for (const { group, scores } of scored) {
    const asked = new Set(group.layers.flatMap(({ node }) => left.get(layerName(node)) ?? []));
    const [width] = asked;
    if (width === undefined || asked.size > 1) continue;
    let open = Math.round(Math.max(0, group.atoms.length - width) * share);
    const order = group.atoms.map((atom, i) => ({ atom, score: scores[i] as number }));
    for (const { atom } of order.sort((a, b) => a.score - b.score || a.atom - b.atom)) {
      if (open === 0) break;
      const members = [...(grouping.members.get(atom) ?? [])];
      if (members.some(([port, count]) => (room.get(port) ?? 0) < count)) continue;
      for (const [port, count] of members) room.set(port, (room.get(port) as number) - count);
      cut.add(atom);
      open--;
    }
    reached &&= open === 0;
  }
  const [before, after] = [meter.cost(new Set()), meter.cost(cut)];
  const channels = scored.reduce((sum, { group }) => sum + group.atoms.length, 0);
  return { cut, before, after, removed: cut.size / Math.max(1, channels), reached };
}
