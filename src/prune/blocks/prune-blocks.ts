/** @file Depth pruning: residual blocks that change little go as a whole, and what passes around them is what is left. */
import type { Model } from "../../ir/model.ts";
import type { Node } from "../../ir/node.ts";
import type { Value } from "../../ir/value.ts";
import { constantsOfNode, costOf } from "../../ops/cost.ts";
import { type Inference, infer } from "../../ops/infer.ts";
import type { InputShapes } from "../../ops/infer-inputs.ts";
import { removeDeadCode } from "../../passes/dead-code.ts";
import { exposeWeights } from "../../passes/expose-weights.ts";
import { mergeInitializers } from "../../passes/merge-initializers.ts";
import { fromNumbers } from "../../tensor/tensor.ts";
import { TersorError } from "../../util/errors.ts";
import { parseOptions } from "../../util/options.ts";
import { keyOf, uniform } from "../../util/rng.ts";
import type { ChannelCost } from "../channels/channel-cost.ts";
import type { ChannelResult } from "../channels/prune-channels.ts";
import type { ChannelData } from "../evidence/channel-data.ts";
import { openSizes, usedShapes } from "../evidence/sample-shapes.ts";
import { layerName } from "../graph/groups.ts";
import { protectedLayers } from "../graph/protect.ts";
import { type PruneOptions, type PruneSettings, pruneOptions } from "../options.ts";
import { channelAxis, gated, maskBlocks } from "./gates.ts";
import { findBlocks, type ResidualBlock } from "./residual-blocks.ts";
import { type BlockLine, BlockRunner } from "./score-blocks.ts";

export interface BlockReport {
  /** Its first and last layer with weights. */
  readonly name: string;
  readonly layers: readonly string[];
  /** Multiply-accumulates and parameters that go with it. */
  readonly macs: number;
  readonly params: number;
  /** Larger for what should stay; undefined for blocks that were not judged. */
  readonly score?: number;
  readonly removed: boolean;
  /** Why it was not to be removed. */
  readonly reason?: string;
}

/** As of channels, with blocks in place of groups. */
export interface BlockResult extends Omit<ChannelResult, "groups" | "approach" | "unrecovered"> {
  readonly blocks: readonly BlockReport[];
}

export const blockCriteria = ["influence", "sqnr", "random"] as const;
type BlockCriterion = (typeof blockCriteria)[number];

/** Blocks are judged by what the outputs lose, if there is data to tell. */
const DEFAULT_CRITERION: BlockCriterion = "sqnr";

/**
 * Removes residual blocks, the least number that is enough.
 * @param inputShapes sizes that the model leaves open, for counting MACs
 * @throws bad-recipe for criteria and recovery without data, criteria of channels and weights, and layers to protect that do not exist
 */
export async function pruneBlocks(
  given: Model,
  asked: PruneOptions | PruneSettings,
  calibration?: ChannelData,
  inputShapes?: InputShapes,
): Promise<BlockResult> {
  const options = parseOptions(pruneOptions, asked, "prune");
  const criterion = criterionOf(options, calibration);
  const source = exposeWeights(given).model;
  const model = source.clone();
  const used = await usedShapes(model, inputShapes, calibration);
  const types = infer(model, used ? { inputShapes: used } : {}).types;
  const { blocks, held } = findBlocks(model, infer(model));
  const safe = protectedLayers(
    blocks.flatMap(({ layers }) => layers),
    options.protect,
  );
  const isProtected = ({ layers }: ResidualBlock) => layers.some((layer) => safe.has(layer));
  const free = blocks.flatMap((block, i) => (isProtected(block) ? [] : [i]));
  const meter = new BlockMeter(model, blocks, types);
  const before = meter.cost(new Set());
  const target = targetOf(options, blocks.length, before);
  const { removed, scores, lines } = await choose(free, criterion, options, () => target(meter), source, calibration);
  const after = meter.cost(removed);
  const share = shareOf(options, before, after, removed.size, blocks.length);
  const reached = target(meter)(removed);
  const reports = blocks.map((block, i): BlockReport => {
    const own = meter.of(block);
    const score = scores.get(i);
    return {
      name: block.name,
      layers: block.layers.map(layerName),
      ...own,
      ...(score !== undefined && { score }),
      removed: removed.has(i),
      ...(isProtected(block) && { reason: "protected" }),
    };
  });
  const kept = held.map(({ join, layers, obstacle }) => ({
    layer: layerName(layers[0] ?? join),
    opType: (layers[0] ?? join).opType,
    channels: 0,
    because: obstacle.opType,
    reason: obstacle.reason,
  }));
  const masked = () => {
    const copy = source.clone();
    maskBlocks(copy, (i) => removed.has(i));
    return copy;
  };
  const notes = [...(reached ? [] : [missed(options, share, reports)]), ...openSizes(model, used)];
  const report = { blocks: reports, kept, before, after, removed: share, reached, notes, masked };
  if (removed.size === 0) return { model: given, plain: given, ...report };
  const plain = lines ? without(source, removed, options.recover) : undefined;
  const result = without(source, removed, options.recover, lines);
  return { model: result, plain: plain ?? result, ...report };
}

function criterionOf(
  { criterion, recover = "none" }: PruneSettings,
  calibration: ChannelData | undefined,
): BlockCriterion {
  const chosen = blockCriteria.find((name) => name === (criterion ?? DEFAULT_CRITERION));
  if (!chosen)
    throw new TersorError(
      "bad-recipe",
      `prune: criterion "${criterion}" is not for blocks: expected one of ${blockCriteria.join(", ")}.`,
    );
  const needsData = chosen === "random" ? `recovery "${recover}"` : `criterion "${chosen}"`;
  if (!calibration && (chosen !== "random" || recover !== "none"))
    throw new TersorError(
      "bad-recipe",
      `prune: ${needsData} needs calibration data: expected samples, got none. Name some with calibrate.`,
    );
  return chosen;
}

/** Costs of a model without some of its blocks. */
class BlockMeter {
  readonly #model: Model;
  readonly #blocks: readonly ResidualBlock[];
  readonly #types: Inference["types"];

  constructor(model: Model, blocks: readonly ResidualBlock[], types: Inference["types"]) {
    this.#model = model;
    this.#blocks = blocks;
    this.#types = types;
  }

  cost(removed: ReadonlySet<number>): ChannelCost {
    const gone = new Set([...removed].flatMap((i) => this.#blocks[i]?.nodes ?? []));
    const nodes = this.#model.graphs().flatMap((graph) => graph.nodes);
    return this.#sum(nodes.filter((node) => !gone.has(node)));
  }

  of({ nodes }: ResidualBlock): ChannelCost {
    return this.#sum(nodes);
  }

  #sum(nodes: readonly Node[]): ChannelCost {
    const params = new Map<Value, number>();
    let macs = 0;
    for (const node of nodes) {
      if (node.subgraphs().length === 0) macs += costOf(node, this.#types).macs ?? 0;
      for (const constant of constantsOfNode(node))
        params.set(constant.value, Math.max(constant.params, params.get(constant.value) ?? 0));
    }
    return { macs, params: [...params.values()].reduce((sum, count) => sum + count, 0) };
  }
}

type Enough = (removed: ReadonlySet<number>) => boolean;

function targetOf(options: PruneSettings, count: number, before: ChannelCost): (meter: BlockMeter) => Enough {
  const { ratio = 0, count: wanted } = options;
  return (meter) => (removed) =>
    wanted !== undefined
      ? removed.size >= wanted
      : shareOf(options, before, meter.cost(removed), removed.size, count) >= ratio - 1e-9;
}

function shareOf({ by }: PruneSettings, before: ChannelCost, after: ChannelCost, removed: number, count: number) {
  if (by !== "params" && by !== "macs") return count > 0 ? removed / count : 0;
  return before[by] > 0 ? 1 - after[by] / before[by] : 0;
}

interface Choice {
  readonly removed: ReadonlySet<number>;
  readonly scores: ReadonlyMap<number, number>;
  /** For recovery, by block. */
  readonly lines?: readonly BlockLine[];
}

/** Takes blocks one after another until that is enough; by SQNR each is judged anew with those gone that were chosen before. */
async function choose(
  free: readonly number[],
  criterion: BlockCriterion,
  options: PruneSettings,
  enough: () => Enough,
  model: Model,
  calibration: ChannelData | undefined,
): Promise<Choice> {
  const isEnough = enough();
  const removed = new Set<number>();
  const scores = new Map<number, number>();
  const takeInOrder = () => {
    for (const [i] of [...scores].sort(([i, a], [j, b]) => a - b || i - j)) {
      if (isEnough(removed)) break;
      removed.add(i);
    }
  };
  if (!calibration) {
    for (const i of free) scores.set(i, randomScore(options, i));
    takeInOrder();
    return { removed, scores };
  }
  return BlockRunner.with(gated(model), calibration, async (runner) => {
    if (criterion === "sqnr") {
      for (let left = [...free]; left.length > 0; ) {
        const noise = await runner.noise(left, removed);
        left.forEach((i, at) => void scores.set(i, noise[at] as number));
        if (isEnough(removed)) break;
        const next = left.reduce((a, b) => ((scores.get(b) as number) < (scores.get(a) as number) ? b : a));
        removed.add(next);
        left = left.filter((i) => i !== next);
      }
    } else {
      const influences = criterion === "influence" ? await runner.influences() : [];
      for (const i of free) scores.set(i, influences[i] ?? randomScore(options, i));
      takeInOrder();
    }
    const lines = (options.recover ?? "none") === "none" ? undefined : await runner.lines();
    return { removed, scores, ...(lines && { lines }) };
  });
}

function randomScore({ seed = 0 }: PruneSettings, block: number): number {
  return uniform(seed, keyOf("blocks"), block);
}

/** A copy of the model without some of its blocks; with lines, what passes around them is made up for. */
function without(
  source: Model,
  removed: ReadonlySet<number>,
  recover: PruneSettings["recover"],
  lines?: readonly BlockLine[],
): Model {
  const model = source.clone();
  const { types } = infer(model);
  findBlocks(model, { types }).blocks.forEach((block, i) => {
    if (!removed.has(i)) return;
    const line = lines?.[i];
    const { join, at } = block;
    // What goes around may be another by now: blocks before this one are gone already.
    const around = join.input(1 - at);
    join.graph.replaceUses(join.output(), line ? recovered(block, around, line, recover, types) : around);
  });
  const tidy = mergeInitializers(removeDeadCode(model).model).model;
  infer(tidy);
  return tidy;
}

/** x + mean, or scale · x + shift, by channel. */
function recovered(
  block: ResidualBlock,
  around: Value,
  { scale, shift, mean }: BlockLine,
  recover: PruneSettings["recover"],
  types: Inference["types"],
): Value {
  const { join } = block;
  const { graph } = join;
  const type = types.get(join.output());
  if (type?.kind !== "tensor" || !type.shape) return around;
  const rank = type.shape.length;
  const axis = channelAxis(block, rank);
  const dims = type.shape.slice(axis).map((_, i) => (i === 0 ? mean.length : 1));
  const emit = (opType: string, x: Value, numbers: Float64Array) => {
    const constant = graph.addInitializer(`${join.output().name}_${opType}`, fromNumbers(type.dtype, dims, numbers));
    const outputs = [`${join.output().name}_recovered`];
    return graph.addNode({ opType, inputs: [x, constant], outputs }, { before: join }).output();
  };
  return recover === "mean" ? emit("Add", around, mean) : emit("Add", emit("Mul", around, scale), shift);
}

function missed({ ratio, by, count }: PruneSettings, share: number, blocks: readonly BlockReport[]): string {
  const what =
    count === undefined
      ? `${((ratio ?? 0) * 100).toFixed(0)} % of ${by === "channels" ? "blocks" : by}`
      : `${count} blocks`;
  const gone = blocks.filter(({ removed }) => removed).length;
  const held = blocks.flatMap(({ name, reason }) => (reason ? [`${name} (${reason})`] : []));
  const holding = held.length > 0 ? `: ${held.slice(0, 3).join("; ")}` : "";
  return `${what} can't be removed, ${gone} of ${blocks.length} blocks were, ${(share * 100).toFixed(1)} %${holding}`;
}
