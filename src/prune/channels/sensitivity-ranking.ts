/** @file Ratios of groups from their sensitivity: what costs the outputs least for what it saves goes first. */
import type { CostMeter } from "./channel-cost.ts";
import type { ScoredGroup, SelectOptions } from "./select.ts";
import type { SensitivityCurve } from "./sensitivity.ts";

/**
 * Scores that rank the channels of all groups together: the slope of noise against channels removed, per unit of what is saved. Noise of
 * several groups is taken to add up; then equal slopes are the least noise for a saving (Lagrange). Slopes are those of the lower convex hull:
 * they never fall, so channels of a group keep their order.
 */
export function rankedBySensitivity(
  { group, scores }: ScoredGroup,
  { points }: SensitivityCurve,
  saving: number,
): ScoredGroup {
  const count = group.atoms.length;
  const corners = hull([{ x: 0, y: 0 }, ...points.map(({ removed, noise }) => ({ x: removed, y: noise }))]);
  const middles = corners.slice(1).map((to, i) => {
    const from = corners[i] as Corner;
    return { x: (from.x + to.x) / 2, y: (to.y - from.y) / (to.x - from.x) };
  });
  const end = corners.at(-1) as Corner;
  const steepest = middles.at(-1)?.y ?? 0;
  const order = [...group.atoms.keys()].sort((a, b) => (scores[a] as number) - (scores[b] as number) || a - b);
  const ranked = new Float64Array(count);
  order.forEach((at, place) => {
    // Beyond what was measured, only when nothing else is left.
    const slope = place < end.x ? between(middles, place + 0.5) : BEYOND * (1 + Math.abs(steepest));
    ranked[at] = (slope + TIE * place) / Math.max(saving, Number.MIN_VALUE);
  });
  return { group, scores: ranked };
}

const BEYOND = 1e6;
/** Keeps the order of a group where slopes are equal. */
const TIE = 1e-12;

/** What one channel of each group saves of the bound, alone. */
export function savings(scored: readonly ScoredGroup[], meter: CostMeter, by: SelectOptions["by"]): number[] {
  if (by === "channels") return scored.map(() => 1);
  // Where time is to be saved, products stand for it.
  const what = by === "latency" ? "macs" : by;
  const before = meter.cost(new Set())[what];
  return scored.map(({ group }) => {
    const half = group.atoms.slice(0, Math.max(1, Math.floor(group.atoms.length / 2)));
    return (before - meter.cost(new Set(half))[what]) / half.length;
  });
}

interface Corner {
  readonly x: number;
  readonly y: number;
}

/** The lower convex hull of points in order of x. */
function hull(points: readonly Corner[]): Corner[] {
  const corners: Corner[] = [];
  for (const point of points) {
    if (corners.at(-1)?.x === point.x) continue;
    while (corners.length > 1 && !turnsUp(corners.at(-2) as Corner, corners.at(-1) as Corner, point)) corners.pop();
    corners.push(point);
  }
  return corners;
}

function turnsUp(a: Corner, b: Corner, c: Corner): boolean {
  return (b.y - a.y) * (c.x - b.x) < (c.y - b.y) * (b.x - a.x);
}

/** Linear between known points, constant outside of them. */
function between(points: readonly Corner[], x: number): number {
  const next = points.findIndex((point) => point.x >= x);
  const [before, after] = next < 0 ? [points.at(-1), undefined] : [points[next - 1], points[next]];
  if (!before || !after) return (before ?? after)?.y ?? 0;
  return before.y + ((after.y - before.y) * (x - before.x)) / (after.x - before.x);
}
