/** @file Options of training. */
import * as z from "zod";
import { augmentOptions } from "./augment.ts";
import { lossOptions } from "./loss-rule.ts";
import { optimizerOptions } from "./optimizer.ts";
import { scheduleOptions } from "./schedule.ts";

/** An object of options, or just its name. */
const named = <T extends z.ZodObject>(schema: T) =>
  z.preprocess((value) => (typeof value === "string" ? { name: value } : value), schema);

const patterns = z.array(z.string().min(1)).min(1);

export const trainOptions = z.strictObject({
  loss: z
    .union([named(lossOptions), z.array(named(lossOptions)).min(1)])
    .default(() => [lossOptions.parse({ name: "cross-entropy" })])
    .transform((value) => (Array.isArray(value) ? value : [value]))
    .describe("what is made small; several are added up"),
  optimizer: named(optimizerOptions).prefault({}).describe("how gradients change weights"),
  rate: z.number().positive().default(1e-3).describe("learning rate"),
  schedule: named(scheduleOptions).prefault({}).describe("how the learning rate changes over time"),
  epochs: z.number().positive().default(3).describe("passes over the data"),
  batchSize: z.int().min(1).default(32).describe("samples in a step"),
  accumulate: z
    .int()
    .min(1)
    .max(1024)
    .default(1)
    .describe("average the gradients of this many batches into one update"),
  groups: z
    .array(
      z.strictObject({
        weights: patterns.describe("names or globs, as for train"),
        rate: z.number().positive().default(1).describe("factor on the learning rate"),
        weightDecay: z.number().min(0).optional().describe("in place of the optimizer's; vectors have it too"),
      }),
    )
    .default([])
    .describe("weights with a rate or a decay of their own; the first group that names a weight counts"),
  clipNorm: z.number().positive().optional().describe("shorten the gradients where their norm is above this"),
  average: z
    .number()
    .gt(0)
    .lt(1)
    .optional()
    .describe("keep a moving average of the weights with this decay, and return that"),
  train: patterns.optional().describe("names or globs of the weights to train; default all"),
  freeze: patterns.optional().describe("names or globs of weights that stay as they are"),
  batchNorm: z
    .enum(["train", "frozen"])
    .default("train")
    .describe("batch norms normalize by the batch and follow it, or stay as they are"),
  dropout: z.boolean().default(true).describe("Dropout layers drop; they do so in training only"),
  keepZeros: z.boolean().default(true).describe("weights that are exactly zero, as pruned ones are, stay so"),
  augment: augmentOptions.prefault({}).describe("how samples vary from epoch to epoch"),
  pad: z
    .number()
    .optional()
    .describe("samples of unequal length are padded with this value to the longest of the batch; default: an error"),
  patience: z.int().min(1).optional().describe("stop after this many epochs without a better validation result"),
  seed: z.int().min(0).default(0).describe("seed of the order of samples and of augmentation"),
});

export type TrainOptions = z.input<typeof trainOptions>;
export type TrainSettings = z.output<typeof trainOptions>;
