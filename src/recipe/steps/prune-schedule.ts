/** @file Pruning in steps, with training in between: how much goes at each of them, and what is trained on. */
import * as z from "zod";
import type { Sample } from "../../data/dataset.ts";
import type { Model } from "../../ir/model.ts";
import { hasClass } from "../../prune/evidence/gradients/objective.ts";
import type { LossOptions } from "../../train/loss-rule.ts";
import { TersorError } from "../../util/errors.ts";
import { inputsOf } from "../data/inputs-of.ts";
import type { StepContext } from "../step.ts";
import { finetuneOptions, trainModel } from "./finetune.ts";
import type { TrainReport } from "./train-report.ts";

/** Training between the steps: what `finetune` takes, on data of its own. */
const training = finetuneOptions.omit({ loss: true, teacher: true, checkpoint: true, resume: true }).extend({
  data: finetuneOptions.shape.data.unwrap().describe("samples to train on after every step; measure on others"),
  from: z
    .enum(["auto", "labels", "original"])
    .default("auto")
    .describe(
      "what is learned: labels (auto, where the data has classes or numbers), or what the original model gives",
    ),
  seed: z.int().min(0).optional().describe("seed of the order of samples and of augmentation; default the recipe's"),
});

export const scheduleOptions = {
  schedule: z
    .enum(["once", "iterative", "cubic"])
    .default("once")
    .describe("how the ratio grows: at once, in equal steps, or fast first and slowly at the end"),
  steps: z.int().min(1).max(1000).optional().describe("steps of a schedule; default 5"),
  finetune: training.optional().describe("training after every step, pruned weights held at zero"),
};

export type ScheduleName = z.output<typeof scheduleOptions.schedule>;
export type FinetuneBetween = z.output<typeof training>;

const DEFAULT_STEPS = 5;

/**
 * The part of all that is to go that is gone after each step. Cubic: 1 − (1 − t/n)³, Zhu and Gupta 2017, https://arxiv.org/abs/1710.01878, from none on.
 * @throws bad-recipe for steps without a schedule
 */
export function partsOf(schedule: ScheduleName, steps: number | undefined): number[] {
  if (schedule === "once" && steps !== undefined && steps > 1)
    throw new TersorError("bad-recipe", `prune: ${steps} steps without a schedule: expected iterative or cubic.`);
  const count = schedule === "once" ? 1 : (steps ?? DEFAULT_STEPS);
  return Array.from({ length: count }, (_, i) => {
    const done = (i + 1) / count;
    return schedule === "cubic" ? 1 - (1 - done) ** 3 : done;
  });
}

/** The share to take of what is left, so that `goal` of everything is gone where `gone` is already. */
export function shareOfRest(goal: number, gone: number): number {
  return gone >= 1 ? 0 : Math.min(1, Math.max(0, (goal - gone) / (1 - gone)));
}

/**
 * Trains a pruned model on labels, or after the recipe's original where there are none.
 * @param freeze names of weights that must stay as they are
 */
export async function trainBetween(
  model: Model,
  { from, ...options }: FinetuneBetween,
  freeze: readonly string[],
  ctx: StepContext,
): Promise<{ readonly model: Model; readonly report: TrainReport }> {
  const sample = await firstOf(options.data, model, ctx);
  const isLabelled = from === "labels" || (from === "auto" && hasTarget(sample));
  const frozen = [...(options.freeze ?? []), ...freeze];
  return trainModel(
    model,
    {
      ...options,
      checkpoint: undefined,
      resume: false,
      seed: options.seed ?? ctx.seed,
      ...(frozen.length > 0 && { freeze: frozen }),
      teacher: isLabelled ? undefined : "original",
    },
    ctx,
    () => (isLabelled ? onLabels(sample) : afterOriginal(model)),
  );
}

const hasTarget = (sample: Sample) => hasClass(sample) || isNumeric(sample);
const isNumeric = ({ label }: Sample) => typeof label === "number" || typeof label === "object";

function onLabels(sample: Sample): LossOptions[] {
  return [{ name: hasClass(sample) ? "cross-entropy" : "mse" }];
}

/** All outputs as the original gives them: probabilities by kl, others by their squared difference. */
function afterOriginal({ graph }: Model): LossOptions[] {
  return graph.outputs
    .filter(({ type }) => type?.kind !== "tensor" || type.dtype === "float32")
    .map((output) => ({
      name: output.producer?.opType === "Softmax" ? "kl" : "mse",
      output: output.name,
      target: `teacher:${output.name}`,
    }));
}

async function firstOf(spec: FinetuneBetween["data"], model: Model, ctx: StepContext): Promise<Sample> {
  const data = await ctx.data(spec, inputsOf(model));
  for await (const sample of data ?? []) return sample;
  throw new TersorError("bad-data", `${data?.name ?? "finetune"}: holds no samples. There is nothing to train on.`);
}
