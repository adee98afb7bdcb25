/** @file Options of pruning: one schema for the recipe, the command line and the docs. */
import * as z from "zod";
import { TersorError } from "../util/errors.ts";
import { criterionNames } from "./criteria/index.ts";

const structurePattern = /^(channels|heads|blocks|vocabulary|weights|\d+:\d+|block:\d+x\d+)$/;

export const pruneOptions = z.strictObject({
  structure: z
    .string()
    .regex(structurePattern, "expected channels, heads, blocks, vocabulary, weights, N:M such as 2:4, or block:HxW")
    .default("channels")
    .describe(
      "channels: whole channels, neurons, heads and hidden units, so that the model gets smaller and faster; heads: attention heads alone; blocks: whole residual blocks; vocabulary: tokens that a corpus does not have; weights: single weights become zero; N:M: so do M - N of every M in a row; block:HxW: so do rectangles of weights",
    ),
  ratio: z.number().min(0).max(1).optional().describe("share to remove, 0 to 1; N:M has its own"),
  count: z.int().min(1).optional().describe("residual blocks to remove, in place of a ratio"),
  by: z
    .enum(["channels", "params", "macs", "latency"])
    .default("channels")
    .describe(
      "what the ratio is a share of, for channels and blocks; channels: their number; latency: time on this machine, for channels",
    ),
  criterion: z
    .enum([...criterionNames, "sparsegpt", "influence", "sqnr"])
    .optional()
    .describe(
      "what decides which go: default l1, for channels with calibration data wanda, for blocks sqnr; activation-norm, wanda, taylor, fisher, obd, sparsegpt, influence and sqnr need calibration data; bn-gamma, fpgm and activation-norm are for channels, sparsegpt is for weights, the last two for blocks",
    ),
  gradients: z
    .enum(["auto", "labels", "outputs"])
    .default("auto")
    .describe(
      "what taylor, fisher and obd differentiate: cross-entropy with the labels (auto, where they are classes), or the model's own outputs, without labels",
    ),
  ranking: z
    .enum(["layer", "global", "sensitivity"])
    .optional()
    .describe(
      "share per layer, over the whole model, or, for channels, by what the outputs lose; default global, for channels without calibration data layer",
    ),
  sensitivity: z
    .boolean()
    .default(false)
    .describe("for channels: measure what the outputs lose when shares of every group go, on the calibration data"),
  sensitivityRatios: z
    .array(z.number().gt(0).lte(1))
    .min(1)
    .default([0.1, 0.25, 0.5, 0.75, 0.9])
    .describe("the shares that are tried"),
  reduce: z
    .enum(["mean", "sum", "max"])
    .default("mean")
    .describe("score of channels that several layers make together"),
  normalize: z
    .enum(["none", "mean", "lamp"])
    .optional()
    .describe("brings layers to one scale for a global ranking; default mean for channels, none for weights"),
  threshold: z.number().min(0).optional().describe("weights of a smaller magnitude go, in place of a ratio"),
  minChannels: z.int().min(1).default(1).describe("channels that every group keeps at least"),
  roundTo: z
    .int()
    .min(1)
    .optional()
    .describe(
      "channels that stay are a multiple of this; default 1, for networks with grouped convolutions what the target's kernels work on at once, or less where the ratio needs it",
    ),
  protect: z.string().optional().describe('layers whose channels stay: names, globs or operators, "conv1,head*"'),
  layers: z
    .string()
    .optional()
    .describe('for weights: which layers, with a ratio of their own or keep: "conv*@0.7,0-3,head@keep"'),
  cutInterface: z.boolean().default(false).describe("channels of the model's inputs and outputs may go as well"),
  recover: z
    .enum(["none", "mean", "least-squares"])
    .optional()
    .describe(
      "make up for removed channels on calibration data: their mean into the next bias, or the next weights solved anew; default least-squares for channels where there is data, else none",
    ),
  damp: z
    .number()
    .positive()
    .max(1)
    .default(0.001)
    .describe("damping of least squares, as a share of the mean of the diagonal"),
  seed: z.int().min(0).optional().describe("seed of the criterion random; default the recipe's"),
});

export type PruneOptions = z.input<typeof pruneOptions>;
export type PruneSettings = z.output<typeof pruneOptions>;

/** With a criterion chosen. */
export type ChosenPruneSettings = PruneSettings & {
  readonly criterion: NonNullable<PruneSettings["criterion"]>;
};

const named = ["channels", "heads", "blocks", "vocabulary", "weights"] as const;

/** What goes, or which zeros there may be. */
export type Structure =
  | { readonly kind: (typeof named)[number] }
  | { readonly kind: "n:m"; readonly n: number; readonly m: number }
  | { readonly kind: "block"; readonly rows: number; readonly columns: number };

/** @throws bad-recipe for N:M that keeps everything or nothing */
export function structureOf(text: string): Structure {
  const pattern = /^(\d+):(\d+)$/.exec(text);
  const block = /^block:(\d+)x(\d+)$/.exec(text);
  if (pattern) {
    const [n, m] = [Number(pattern[1]), Number(pattern[2])];
    if (n >= 1 && n < m && m <= 1024) return { kind: "n:m", n, m };
    throw new TersorError("bad-recipe", `structure "${text}": expected N of M to stay with 1 <= N < M <= 1024.`);
  }
  if (block) {
    const [rows, columns] = [Number(block[1]), Number(block[2])];
    if (rows >= 1 && columns >= 1) return { kind: "block", rows, columns };
    throw new TersorError("bad-recipe", `structure "${text}": expected a block of at least 1x1.`);
  }
  return { kind: named.find((name) => name === text) ?? "channels" };
}
