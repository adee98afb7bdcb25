/**
 * @file The library: the steps of recipes as functions. Each takes a model, options and an environment, changes nothing that it is given,
 * and gives a new model and a report. The command line and recipes run the same steps.
 */

import type { Model } from "../ir/model.ts";
import type { InputShapes } from "../ops/infer-inputs.ts";
import type { LeftConstant } from "../quantize/layers/left-float.ts";
import type { LayerReport } from "../quantize/layers/report.ts";
import type { BoundReport } from "../recipe/bound/run-bound.ts";
import { describeModel, type ModelDescription } from "../recipe/describe-model.ts";
import type { JudgedReport } from "../recipe/judge/judge.ts";
import { computed, type ModelLike, modelFrom } from "../recipe/model-like.ts";
import { parseSteps, type QuantizeStepOptions, type Recipe, type RecipeStep } from "../recipe/recipe.ts";
import { runSteps, type StepRecord } from "../recipe/run-steps.ts";
import type { StepReport } from "../recipe/step.ts";
import { type CompareReport, compareModels } from "../recipe/steps/compare.ts";
import type { PruneStepReport } from "../recipe/steps/prune-report.ts";
import type { TrainReport } from "../recipe/steps/train-report.ts";
import { TersorError } from "../util/errors.ts";
import type { Env } from "./env.ts";
import { currentPlatform, inMemory } from "./platform.ts";

/** A model and what was done to it, as plain data. */
export interface Result<Report = StepReport> {
  readonly model: Model;
  readonly report: Report;
}

type OptionsOf<Name extends string, Step = RecipeStep> = Step extends { readonly [name in Name]: infer Options }
  ? Options
  : never;
type Held = Pick<Recipe, "bound" | "asAsked" | "fitLatency">;

/** What a quantization says of its result. */
export interface QuantizeReport extends StepReport {
  /** What became of every layer: its codes, its SQNR in dB, its bytes, or why it stayed float. */
  readonly layers: readonly LayerReport[];
  /** Constants that stay float, with their readers and reasons. */
  readonly left: readonly LeftConstant[];
  /** What the outputs lose. */
  readonly judged?: JudgedReport;
  readonly bound?: BoundReport;
}

/** Steps in a row, as in a recipe; models and samples are given in memory. */
export interface Steps extends Held {
  readonly steps: readonly RecipeStep[];
}

/** What a model is made of: operators, layers, bytes, multiply-accumulates. @throws bad-model */
export async function inspect(
  model: ModelLike,
  { shapes = {} }: { readonly shapes?: InputShapes } = {},
): Promise<Result<ModelDescription>> {
  const opened = await open(model);
  return { model: opened, report: describeModel(opened, { shapes, layered: opened }) };
}

/** Folds constants and batch norms, removes what has no effect: the outputs stay, but for rounding. Before quantization and pruning. */
export function simplify(model: ModelLike, options: OptionsOf<"simplify"> = {}, env: Env = {}): Promise<Result> {
  return one(model, "simplify", options, {}, env);
}

/**
 * Quantizes a model: its weights (`mode: "weights"`, the default), weights and activations with ranges from samples (`"static"`),
 * activations as they come (`"dynamic"`), or everything to float16. On samples, layers that bring an output below 20 dB step up by themselves
 * (`asAsked` leaves them); `bound` holds the result to a drop or an SQNR.
 * @throws bad-recipe for wrong options; bad-data, shape-mismatch for samples that do not fit; runtime-failed; aborted
 */
export function quantize(
  model: ModelLike,
  options: QuantizeStepOptions & Held = {},
  env: Env = {},
): Promise<Result<QuantizeReport>> {
  const { bound, asAsked, fitLatency, ...own } = options;
  return one(model, "quantize", own, { bound, asAsked, fitLatency }, env);
}

/**
 * Removes channels, attention heads or residual blocks, or puts zeros into weights (`structure`): a share of them (`ratio`). With samples
 * (`calibrate`) what goes is chosen by what the outputs lose, and the next layers are solved anew.
 * @throws as {@link quantize}
 */
export function prune(model: ModelLike, options: OptionsOf<"prune">, env: Env = {}): Promise<Result<PruneStepReport>> {
  return one(model, "prune", options, {}, env);
}

/** Trains the weights of a model on samples with labels, or after a teacher. Quantized models stay quantized. @throws as {@link quantize} */
export function finetune(
  model: ModelLike,
  options: OptionsOf<"finetune">,
  env: Env = {},
): Promise<Result<TrainReport>> {
  return one(model, "finetune", options, {}, env);
}

/** Trains a small model after a large one, `teacher`. @throws as {@link quantize} */
export function distill(
  student: ModelLike,
  options: Omit<OptionsOf<"distill">, "teacher"> & { readonly teacher: ModelLike },
  env: Env = {},
): Promise<Result<TrainReport>> {
  return one(student, "distill", options as OptionsOf<"distill">, {}, env);
}

/**
 * Measures a model against another, `against`: outputs, the metric, bytes, time.
 * @throws as {@link quantize}
 */
export async function compare(
  model: ModelLike,
  { against, ...options }: OptionsOf<"compare"> & { readonly against: ModelLike },
  env: Env = {},
): Promise<Result<CompareReport>> {
  const [candidate, reference] = [await open(model), await open(against)];
  return within(reference, env, async (context) => ({
    model: candidate,
    report: await compareModels(reference, candidate, options, context),
  }));
}

/** Runs steps in a row; `reports` has one for each. @throws bad-recipe for wrong steps; what the steps throw */
export async function run(
  model: ModelLike,
  { steps, ...held }: Steps,
  env: Env = {},
): Promise<{ readonly model: Model; readonly steps: readonly StepRecord[] }> {
  const original = await open(model);
  const bound = parseSteps(
    { steps, ...held, seed: env.seed ?? 0, ...(env.data !== undefined && { data: env.data }) },
    "steps",
  );
  return within(original, env, async (context) => {
    const { model: changed, records } = await runSteps(original, bound, context);
    // Weights that are computed while they are written have their numbers afterwards.
    return { model: changed === original ? original : computed(changed), steps: records() };
  });
}

async function one<Report>(
  model: ModelLike,
  name: string,
  options: object,
  held: object,
  env: Env,
): Promise<Result<Report>> {
  const given = Object.fromEntries(Object.entries(held).filter(([, value]) => value !== undefined));
  const { model: changed, steps } = await run(model, { steps: [{ [name]: options } as RecipeStep], ...given }, env);
  return { model: changed, report: (steps[0] as StepRecord).report as Report };
}

function open(model: ModelLike): Promise<Model> {
  return modelFrom(model, currentPlatform().load);
}

async function within<T>(
  original: Model,
  env: Env,
  work: (context: Parameters<typeof runSteps>[2]) => Promise<T>,
): Promise<T> {
  if (env.signal?.aborted) throw new TersorError("aborted", "interrupted: nothing was done.");
  const { context, close } = (env.runtime ? inMemory : currentPlatform()).open(original, env);
  try {
    return await work(context);
  } finally {
    await close();
  }
}
