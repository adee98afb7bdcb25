/** @file Learning rates over time. */
import * as z from "zod";

export const scheduleOptions = z.strictObject({
  name: z.enum(["constant", "step", "cosine", "linear"]).default("cosine").describe("how the learning rate falls"),
  warmup: z.number().min(0).lt(1).default(0).describe("share of all steps in which the rate rises from 0"),
  every: z
    .number()
    .gt(0)
    .max(1)
    .default(1 / 3)
    .describe("step: share of the steps after which the rate falls"),
  factor: z.number().gt(0).lt(1).default(0.1).describe("step: what the rate is multiplied by"),
  end: z.number().min(0).max(1).default(0).describe("cosine, linear: share of the rate that is left at the end"),
});

export type ScheduleSettings = z.output<typeof scheduleOptions>;

type Shape = (progress: number, settings: ScheduleSettings) => number;

const shapes: Readonly<Record<ScheduleSettings["name"], Shape>> = {
  constant: () => 1,
  step: (progress, { every, factor }) => factor ** Math.floor(progress / every + 1e-9),
  // Loshchilov & Hutter 2017, https://arxiv.org/abs/1608.03983, without restarts
  cosine: (progress, { end }) => end + ((1 - end) * (1 + Math.cos(Math.PI * progress))) / 2,
  linear: (progress, { end }) => 1 - (1 - end) * progress,
};

/** The learning rate of step `step` (from 0) of `steps`. */
export function rateAt(step: number, steps: number, rate: number, settings: ScheduleSettings): number {
  const rising = Math.round(settings.warmup * steps);
  if (step < rising) return (rate * (step + 1)) / rising;
  const progress = (step - rising) / Math.max(1, steps - rising);
  return rate * shapes[settings.name](progress, settings);
}
