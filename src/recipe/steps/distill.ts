/** @file Step: a student learns from a teacher: soft targets, labels beside them, values inside. */
import * as z from "zod";
import type { Sample } from "../../data/dataset.ts";
import { outputTypes } from "../../evaluate/choose-metric.ts";
import type { Model } from "../../ir/model.ts";
import { plausibleOutput } from "../../ops/plausible-output.ts";
import { type LossName, type LossOptions, lossOptions } from "../../train/loss-rule.ts";
import { TersorError } from "../../util/errors.ts";
import { modelOption } from "../run-options.ts";
import type { Step } from "../step.ts";
import { modelNamed } from "../training/quantized-training.ts";
import { filesOfTraining, finetuneOptions, trainModel } from "./finetune.ts";

/** Losses between values inside. */
export const hintLosses = [
  "mse",
  "l1",
  "cosine",
  "kl",
  "attention",
  "relation-distance",
  "relation-angle",
] as const satisfies readonly LossName[];

const hint = z.strictObject({
  student: z.string().min(1).describe("a value of the student"),
  teacher: z.string().min(1).describe("a value of the teacher"),
  loss: z
    .enum(hintLosses)
    .default("mse")
    .describe("how they are compared: mse, l1, cosine and kl element by element, the others whatever the widths"),
  weight: z.number().positive().default(1).describe("factor in the sum of losses"),
  project: lossOptions.shape.project.default("auto"),
  channelAxis: lossOptions.shape.channelAxis,
});

export const distillOptions = finetuneOptions.omit({ loss: true }).extend({
  teacher: modelOption.describe(
    'the model to learn from: any with the same task, or "original": the one that the recipe begins with',
  ),
  output: z
    .string()
    .optional()
    .describe(
      "the student's value that learns from the teacher; default the most plausible output: floats that no other output is computed from",
    ),
  teacherOutput: z
    .string()
    .optional()
    .describe("the teacher's value; default the output of the same name, else the most plausible one"),
  soft: z
    .enum(["kl", "mse", "cosine"])
    .default("kl")
    .describe("how outputs are compared: kl after a softmax, mse and cosine as they are"),
  temperature: z.number().positive().default(4).describe("kl: softens both sides"),
  labels: z
    .number()
    .min(0)
    .lt(1)
    .optional()
    .describe("share of the loss that labels have; default 0.1 where the data has class labels, else 0"),
  hints: z.array(hint).default([]).describe("values inside that the student is to have as the teacher does"),
  hintEpochs: z
    .number()
    .positive()
    .optional()
    .describe("learn from hints alone for this many epochs, and without them afterwards; default: from all at once"),
});

export type DistillOptions = z.input<typeof distillOptions>;

/** What labels weigh where they are there and nothing is said: as in Hinton et al. 2015, much less than the teacher. */
const LABEL_SHARE = 0.1;

/**
 * Distillation: Hinton, Vinyals, Dean 2015, https://arxiv.org/abs/1503.02531; hints, with projections and in a stage of their own where
 * that is asked for: Romero et al. 2015, https://arxiv.org/abs/1412.6550.
 */
export const distillStep: Step<typeof distillOptions> = {
  name: "distill",
  summary: "Train a small model after a large one.",
  options: distillOptions,
  needs: ["training", "teacher"],
  writes: filesOfTraining,
  async run(model, options, ctx) {
    if (ctx.dryRun) return { model, report: () => ({ notes: ["training is left out of a dry run"] }) };
    const { output, teacherOutput, soft, temperature, labels, hints, hintEpochs, ...rest } = options;
    if (hintEpochs !== undefined && hints.length === 0)
      throw new TersorError(
        "bad-recipe",
        "distill: hintEpochs without hints: expected values to learn from. Name some.",
      );
    if (hintEpochs !== undefined && hintEpochs >= options.epochs)
      throw new TersorError(
        "bad-recipe",
        `distill: hintEpochs ${hintEpochs}: expected fewer than all ${options.epochs} epochs: nothing else would be learned.`,
      );
    const teacher = await modelNamed(options.teacher, ctx);
    const notes = new Set<string>();
    const losses = (sample: Sample | undefined): LossOptions[] => {
      const label = Number.isInteger(sample?.label) ? sample?.label : undefined;
      const pick = (of: Model, whose: string) => {
        const found = plausibleOutput(of.graph, outputTypes(of), label);
        if (found?.note) notes.add(`${whose}: ${found.note}`);
        return found?.value.name ?? "";
      };
      const student = output ?? pick(model, "student");
      // Outputs of one name are the same answer.
      const isShared = output === undefined && teacher.graph.outputs.some(({ name }) => name === student);
      const source = teacherOutput ?? (isShared ? student : pick(teacher, "teacher"));
      const share = labels ?? (Number.isInteger(sample?.label) ? LABEL_SHARE : 0);
      const target = `teacher:${source}`;
      const since = hintEpochs ?? 0;
      const until = hintEpochs === undefined ? {} : { until: hintEpochs };
      return [
        { name: soft, output: student, target, weight: 1 - share, temperature, since },
        ...(share > 0 ? [{ name: "cross-entropy", output: student, weight: share, since } as const] : []),
        ...hints.map(({ student: value, teacher: other, loss: name, ...how }): LossOptions => {
          return { ...how, name, output: value, target: `teacher:${other}`, ...until };
        }),
      ];
    };
    const { model: trained, report } = await trainModel(model, rest, ctx, losses);
    return { model: trained, report: () => ({ ...report, notes: [...notes, ...(report.notes ?? [])] }) };
  },
};
