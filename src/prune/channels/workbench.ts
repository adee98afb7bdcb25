/** @file What all ways of cutting one model share, each thing measured once: scores, sensitivity, second moments, costs. */

import type { Gram } from "../../calibrate/gram.ts";
import { take } from "../../data/dataset.ts";
import type { Model } from "../../ir/model.ts";
import { infer } from "../../ops/infer.ts";
import type { InputShapes } from "../../ops/infer-inputs.ts";
import { removeDeadCode } from "../../passes/dead-code.ts";
import { mergeInitializers } from "../../passes/merge-initializers.ts";
import { elementCount } from "../../tensor/tensor.ts";
import { recoveryStats } from "../evidence/calibration.ts";
import type { ChannelData } from "../evidence/channel-data.ts";
import type { Analysis } from "../graph/analysis.ts";
import { applyCut, type Cut, maskCut } from "../graph/cut.ts";
import { type Channeled, findGroups } from "../graph/groups.ts";
import { prepared } from "../graph/prepare.ts";
import { findReaders, obstacleToSolving, type Reader } from "../graph/readers.ts";
import type { PruneSettings } from "../options.ts";
import type { Candidate } from "./approach.ts";
import { CostMeter } from "./channel-cost.ts";
import { foldMeans, type RecoveryStats, recoverable, solveWeights, type Unrecovered } from "./recover/recovery.ts";
import { type GroupScores, scoreGroups } from "./score-groups.ts";
import { measureSensitivity } from "./sensitivity.ts";
import type { PruneSurroundings } from "./surroundings.ts";

export type Recovery = "none" | "mean" | "least-squares";

/** Samples that ranking by sensitivity and gradients look at where several ways are tried: their order settles soon. */
const FEW = 32;

export interface WorkbenchOptions extends PruneSurroundings {
  readonly options: PruneSettings;
  /** What criteria and recovery look at. */
  readonly seen: ChannelData | undefined;
  /** All there is: what is asked about sensitivity by name. */
  readonly all: ChannelData | undefined;
  /** What judges; second moments of it are added once all is chosen. */
  readonly held?: ChannelData | undefined;
  readonly inputShapes: InputShapes | undefined;
  /** Whether one way is all there is: then it looks at everything. */
  readonly isOnly: boolean;
}

/** A cut model. */
export interface CutModel {
  readonly model: Model;
  /** Before recovery. */
  readonly plain: Model;
  readonly unrecovered: readonly Unrecovered[];
}

export class Workbench {
  readonly model: Model;
  readonly channeled: Channeled;
  readonly meter: CostMeter;
  readonly inputShapes: InputShapes | undefined;
  readonly #around: WorkbenchOptions;
  readonly #scores = new Map<string, Promise<GroupScores>>();
  readonly #sensed = new Map<string, ReturnType<typeof measureSensitivity>>();
  #stats: Promise<RecoveryStats> | undefined;

  constructor(model: Model, around: WorkbenchOptions) {
    this.model = model;
    this.#around = around;
    this.inputShapes = around.inputShapes;
    this.channeled = this.#look();
    this.meter = new CostMeter(this.channeled.analysis, around.inputShapes);
  }

  #look(): Channeled {
    return findGroups(prepared(this.model), { interface: this.#around.options.cutInterface });
  }

  /** The same analysis of a copy of the model, which may be changed: atoms have the same numbers. */
  fresh(): Analysis {
    return this.#look().analysis;
  }

  scores({ criteria }: Candidate): Promise<GroupScores> {
    const { options, seen } = this.#around;
    const key = criteria.join();
    const data = seen && this.#few(seen, criteria[0] === "fisher");
    const found =
      this.#scores.get(key) ?? scoreGroups(this.channeled, criteria, options, { data, fresh: () => this.fresh() });
    this.#scores.set(key, found);
    return found;
  }

  /** What the outputs lose when shares of single groups go, in the order of these criteria. */
  async sensitivity(candidate: Candidate): ReturnType<typeof measureSensitivity> {
    const { options, seen, all, judgeFor } = this.#around;
    const key = candidate.criteria.join();
    const { scored } = await this.scores(candidate);
    const found =
      this.#sensed.get(key) ??
      measureSensitivity(this.fresh(), scored, {
        ratios: options.sensitivityRatios.toSorted((a, b) => a - b),
        data: options.sensitivity ? (all as ChannelData) : this.#few(seen as ChannelData, true),
        minChannels: options.minChannels,
        ...(judgeFor && { judgeFor }),
      });
    this.#sensed.set(key, found);
    return found;
  }

  #few(seen: ChannelData, isCostly: boolean): ChannelData {
    return isCostly && !this.#around.isOnly ? { ...seen, data: take(seen.data, FEW) } : seen;
  }

  cut(cut: Cut): Model {
    const copy = this.fresh();
    applyCut(copy, cut);
    return tidied(copy.model);
  }

  masked(cut: Cut): Model {
    const copy = this.fresh();
    maskCut(copy, cut);
    return copy.model;
  }

  /**
   * The model without what a cut takes, and with what makes up for it.
   * @param by the samples that criteria look at too, or all: those that judged are no longer needed apart
   */
  async recovered(
    cut: Cut,
    recovery: Recovery,
    by: "seen samples" | "all samples" = "seen samples",
  ): Promise<CutModel> {
    const copy = this.fresh();
    if (recovery === "none" || !this.#around.seen) {
      applyCut(copy, cut);
      const model = tidied(copy.model);
      return { model, plain: model, unrecovered: [] };
    }
    const { places, unrecovered } = recoverable(copy, cut, recovery);
    const seen = await this.#statistics(recovery, this.#around.seen);
    const all = by === "all samples" && recovery === "least-squares" ? await this.#completed(seen) : seen;
    const stats = byPlace(copy, this.channeled.analysis, all);
    const repairs =
      recovery === "mean" ? foldMeans(places, stats) : solveWeights(places, stats, this.#around.options.damp);
    applyCut(copy, cut);
    const plain = repairs.length > 0 ? tidied(copy.model.clone()) : undefined;
    for (const repair of repairs) repair();
    const model = tidied(copy.model);
    return { model, plain: plain ?? model, unrecovered };
  }

  /** Second moments of what judged as well. */
  async #completed(stats: RecoveryStats): Promise<RecoveryStats> {
    const { held } = this.#around;
    if (!held) return stats;
    const more = await recoveryStats(this.channeled.analysis, held.data, held, this.#losing(), "least-squares");
    const grams = new Map([...stats.grams].map(([node, gram]) => [node, added(gram, more.grams.get(node))]));
    return { ...stats, grams };
  }

  /** Multiplications that solving all layers which may lose something takes at most. */
  solvingCost(): number {
    return this.#losing().reduce((sum, { layout }) => {
      const size = (axes: readonly number[]) => elementCount(axes.map((axis) => layout.dims[axis] as number));
      const k = size(layout.in);
      return sum + size(layout.batch) * k * k * (k / 3 + size(layout.out));
    }, 0);
  }

  #losing(): readonly Reader[] {
    const { analysis, grouping } = this.channeled;
    const isFree = (i: number) => grouping.members.has(analysis.atomOf(i));
    return findReaders(analysis).readers.filter(
      (reader) =>
        obstacleToSolving(reader) === undefined &&
        reader.ports.some(({ port }) => Array.from({ length: port.size }, (_, i) => port.base + i).some(isFree)),
    );
  }

  /** Of all layers that may lose something: in one pass for all cuts. */
  #statistics(recovery: Exclude<Recovery, "none">, seen: ChannelData): Promise<RecoveryStats> {
    this.#stats ??= recoveryStats(this.channeled.analysis, seen.data, seen, this.#losing(), recovery);
    return this.#stats;
  }
}

/** Sums of second moments. */
function added(one: Gram, other: Gram | undefined): Gram {
  if (!other) return one;
  return { ...one, sums: one.sums.map((sum, i) => sum + (other.sums[i] as number)) };
}

/** Statistics of an analysis, for the same nodes of a copy. */
function byPlace(copy: Analysis, original: Analysis, { means, grams }: RecoveryStats): RecoveryStats {
  const nodes = new Map(findReaders(original).readers.map(({ node }, i) => [findReaders(copy).readers[i]?.node, node]));
  const moved = <T>(stats: ReadonlyMap<unknown, T>) =>
    new Map([...nodes].flatMap(([to, from]) => (to && stats.has(from) ? [[to, stats.get(from) as T]] : [])));
  return { means: moved(means), grams: moved(grams) };
}

/** Makes the numbers of channels of all values known again, and merges what was copied for the cut. */
function tidied(model: Model): Model {
  const tidy = mergeInitializers(removeDeadCode(model).model).model;
  // Shapes that do not fit would be found here, before anything is written.
  infer(tidy);
  return tidy;
}
