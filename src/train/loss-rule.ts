/** @file What a loss is: its options, and the rule that emits it as standard operators. */
import * as z from "zod";
import type { Emitter } from "../autodiff/emitter.ts";
import type { Value } from "../ir/value.ts";

/**
 * What a target looks like: class indices, without the class axis; sequences of them, -1 behind their end; numbers in the prediction's
 * shape; or numbers in a shape of its own, with the same samples.
 */
export type TargetKind = "classes" | "sequence" | "like" | "own";

export interface LossCall {
  readonly op: Emitter;
  /** The prediction, as the model gives it. */
  readonly y: Value;
  readonly t: Value;
  readonly options: LossSettings;
}

export interface LossRule {
  readonly target: TargetKind;
  readonly summary: string;
  emit(call: LossCall): Value;
}

/** One loss of a weighted sum. Options that a loss has no use for are ignored by it. */
export const lossOptions = z.strictObject({
  name: z
    .enum([
      "cross-entropy",
      "binary-cross-entropy",
      "mse",
      "l1",
      "kl",
      "cosine",
      "ctc",
      "attention",
      "relation-distance",
      "relation-angle",
    ])
    .describe("how far off is measured"),
  output: z
    .string()
    .optional()
    .describe(
      "the value of the model that is judged; default the most plausible output: floats whose shape suits the labels, and that no other output is computed from",
    ),
  target: z
    .string()
    .default("label")
    .describe(
      'what it is compared with: "label", "input:NAME" (as autoencoders do), or "teacher:NAME", a value of the teacher',
    ),
  weight: z.number().positive().default(1).describe("factor in the sum of losses"),
  labelSmoothing: z
    .number()
    .min(0)
    .lt(1)
    .default(0)
    .describe("cross-entropy: share of the target spread over all classes"),
  ignoreIndex: z
    .int()
    .optional()
    .describe("cross-entropy: a label that does not count, as padding has; negative ones never do"),
  classAxis: z.int().default(-1).describe("the axis of the classes; -1 is the last"),
  temperature: z.number().positive().default(1).describe("kl: both sides are divided by it before the softmax"),
  charset: z
    .union([z.string(), z.array(z.string()).nonempty()])
    .optional()
    .describe(
      "ctc with texts as labels: the text of a charset file (a character a line), or the text of each class, blank included",
    ),
  maxLabels: z
    .int()
    .min(1)
    .optional()
    .describe("ctc: the most labels that a sample has; fewer than there are steps, the default, cost less time"),
  blank: z.enum(["first", "last"]).default("first").describe("ctc: which class is the blank"),
  space: z.boolean().default(false).describe("ctc: whether the charset file leaves out a last class that is a space"),
  channelAxis: z
    .int()
    .min(1)
    .default(1)
    .describe("attention: the axis that is summed over; 2 in [batch, steps, features]"),
  project: z
    .enum(["never", "auto", "always"])
    .default("never")
    .describe(
      "a linear map from the output's width to the target's, learned along and left behind: auto where the widths differ",
    ),
  since: z.number().min(0).default(0).describe("counts after this many epochs only"),
  until: z.number().positive().optional().describe("counts for this many epochs only"),
});

export type LossOptions = z.input<typeof lossOptions>;
export type LossSettings = z.output<typeof lossOptions>;
export type LossName = LossSettings["name"];
