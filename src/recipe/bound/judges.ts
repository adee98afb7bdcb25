/** @file The samples of an accuracy bound: those that the search sees, those that judge its result, and the metric. */
import { type Dataset, split, take } from "../../data/dataset.ts";
import { type ChosenMetric, metricForLabel } from "../../evaluate/choose-metric.ts";
import type { Session } from "../../runtime/runtime.ts";
import { TersorError } from "../../util/errors.ts";
import { chooseInputs } from "../compare.ts";
import type { StepContext } from "../step.ts";
import type { BoundSettings } from "./bound.ts";

/** With fewer samples, the search and the judgement share all of them. */
const LEAST_TO_SPLIT = 16;

/** The samples of a bound, and by what they are judged. */
export interface Judges {
  readonly search: Dataset;
  readonly judge: Dataset;
  readonly heldOut: boolean;
  readonly metric?: ChosenMetric;
  /** The outputs that count; all when absent. */
  readonly outputs?: ReadonlySet<string>;
  /** The model is far from the bound, and few layers are to blame: all step up, and most back again. */
  readonly isRepair?: boolean;
}

/**
 * Which samples search and which judge: halves of the data, drawn by the seed.
 * @throws bad-recipe for a drop without data, bad-data for one without labels
 */
export async function judgesOf(bound: BoundSettings, { inputs }: Session, ctx: StepContext): Promise<Judges> {
  const given = await ctx.data(undefined, inputs);
  if (!given && bound.maxDrop !== undefined)
    throw new TersorError(
      "bad-recipe",
      "maxDrop: a drop of what the model is for can't be measured without data: expected labelled samples. Name some with data, or bound the outputs with minSqnr (--min-sqnr).",
    );
  const { samples, shapes } = bound;
  const all = chooseInputs(given, inputs, { samples, shapes, seed: ctx.seed });
  const metric = bound.maxDrop === undefined ? undefined : await metricOf(bound, all, ctx);
  if ((await count(all, LEAST_TO_SPLIT)) < LEAST_TO_SPLIT)
    return { search: all, judge: all, heldOut: false, ...(metric && { metric }) };
  const [search, judge] = await split(all, 0.5, ctx.seed);
  return { search, judge, heldOut: true, ...(metric && { metric }) };
}

/** @throws bad-data for samples from whose labels no metric follows */
async function metricOf({ metric }: BoundSettings, data: Dataset, ctx: StepContext): Promise<ChosenMetric> {
  if (metric !== undefined) return ctx.metric(metric);
  for await (const sample of take(data, 1)) {
    const chosen = metricForLabel(sample);
    if (chosen) return chosen;
    const [what, advice] =
      sample.label === undefined
        ? ["has no label", "Give data with labels"]
        : ["has a text as its label", 'Name a metric, such as {"name":"cer","charset":"FILE"}'];
    throw new TersorError(
      "bad-data",
      `maxDrop: sample "${sample.id}" of ${data.name} ${what}: expected one that a metric follows from. ${advice}, or bound the outputs with minSqnr (--min-sqnr).`,
    );
  }
  throw new TersorError("bad-data", `${data.name}: holds no samples. No drop can be measured.`);
}

/** The number of samples, as far as `enough`. */
async function count(data: Dataset, enough: number): Promise<number> {
  if (data.size !== undefined) return data.size;
  let samples = 0;
  for await (const _ of take(data, enough)) samples++;
  return samples;
}
