/** @file The least number of channels whose cut takes a share of the latency: found by the sum of its pieces, checked on the whole model. */
import type { Model } from "../../../ir/model.ts";
import type { Cut } from "../../graph/cut.ts";
import type { Channeled } from "../../graph/groups.ts";
import type { ChannelCost, CostMeter } from "../channel-cost.ts";
import { cutter, type ScoredGroup, type Selection, type SelectOptions } from "../select.ts";
import type { LatencyMeter, LatencyTable, WholeTime } from "./latency-table.ts";

export interface LatencyReport {
  /** What the sum of the pieces says is removed, as a share. */
  readonly predicted: number;
  /** What the whole model says: the median of rounds, and their middle half. */
  readonly measured: number;
  readonly low: number;
  readonly high: number;
  /** Layers that could not be timed by themselves. */
  readonly unmeasured: readonly string[];
  /** Pieces that were timed; the others were in the table that was given. */
  readonly timed: number;
  readonly table: LatencyTable;
}

interface Attempt {
  readonly cut: Cut;
  readonly predicted: number;
  readonly whole: WholeTime;
}

/** Corrections of what the pieces say by what the whole model says. */
const ATTEMPTS = 5;
/** More than this over the ratio is worth another attempt. */
const SLACK = 0.02;

/**
 * @param cutModel a copy of the model after a cut
 * @returns a selection whose `removed` is what was measured of the whole
 */
export async function selectByLatency(
  channeled: Channeled,
  scored: readonly ScoredGroup[],
  options: SelectOptions,
  { meter, costs, cutModel }: { meter: LatencyMeter; costs: CostMeter; cutModel: (cut: Cut) => Model },
): Promise<Selection & { readonly latency: LatencyReport }> {
  const { cutAt, trimmed } = cutter(channeled, scored, options);
  const channels = scored.reduce((sum, { group }) => sum + group.atoms.length, 0);
  const dense = cutModel(new Set());
  const whole = await meter.predict(dense);
  const gainOf = async (cut: Cut) => 1 - (await meter.predict(cutModel(cut))) / whole;
  const least = async (target: number) => {
    const isEnough = async (cut: Cut) => (await gainOf(cut)) >= target;
    let [low, high] = [0, channels];
    let best = cutAt(1);
    if (!(await isEnough(best))) return best;
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2);
      const cut = cutAt(middle / channels);
      if (await isEnough(cut)) [high, best] = [middle, cut];
      else low = middle;
    }
    return trimmed(best, isEnough);
  };
  const { ratio } = options;
  const attempts: Attempt[] = [];
  let target = ratio;
  for (let i = 0; i < ATTEMPTS && ratio > 0; i++) {
    const cut = await least(target);
    if (attempts.some((each) => each.cut.size === cut.size)) break;
    const predicted = await gainOf(cut);
    const found = await meter.whole(dense, cutModel(cut));
    attempts.push({ cut, predicted, whole: found });
    const gained = 1 - found.ratio;
    if (gained >= ratio && gained <= ratio + SLACK) break;
    target = nextTarget(attempts, ratio);
  }
  const chosen = bestOf(attempts, ratio);
  const { cut = new Set<number>(), predicted = 0, whole: found = { ratio: 1, low: 1, high: 1 } } = chosen ?? {};
  const [before, after]: ChannelCost[] = [costs.cost(new Set()), costs.cost(cut)];
  const latency = {
    predicted,
    measured: 1 - found.ratio,
    low: 1 - found.high,
    high: 1 - found.low,
    unmeasured: meter.unmeasured,
    timed: meter.measured,
    table: meter.table(),
  };
  return {
    cut,
    before: before as ChannelCost,
    after: after as ChannelCost,
    removed: latency.measured,
    // A bound that lies within the noise of what was measured is kept.
    reached: latency.measured >= ratio || latency.high >= ratio,
    latency,
  };
}

/**
 * What the pieces have to gain so that the whole gains the ratio: between the nearest attempts below and above it, or in proportion to
 * the only ones there are.
 */
function nextTarget(attempts: readonly Attempt[], ratio: number): number {
  const gains = attempts.map(({ predicted, whole }) => ({ predicted, gained: 1 - whole.ratio }));
  const over = gains.filter(({ gained }) => gained >= ratio).toSorted((a, b) => a.predicted - b.predicted)[0];
  const under = gains.filter(({ gained }) => gained < ratio).toSorted((a, b) => b.predicted - a.predicted)[0];
  if (over && under && under.predicted < over.predicted) {
    const way = (ratio - under.gained) / (over.gained - under.gained);
    return under.predicted + (over.predicted - under.predicted) * way;
  }
  const { predicted, gained } = over ?? under ?? { predicted: ratio, gained: ratio };
  return gained > 0 ? Math.min(MOST, (ratio * predicted) / gained) : MOST;
}

const MOST = 0.999;

/** The smallest cut that was seen to be enough, else the one that gained most. */
function bestOf(attempts: readonly Attempt[], ratio: number): Attempt | undefined {
  const enough = attempts.filter(({ whole }) => 1 - whole.ratio >= ratio);
  const [smallest] = enough.toSorted((a, b) => a.cut.size - b.cut.size);
  return smallest ?? attempts.toSorted((a, b) => a.whole.ratio - b.whole.ratio)[0];
}
