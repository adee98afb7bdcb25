/** @file Step: quantizes weights; on request with the best of several seeds of stochastic rounding. */
import * as z from "zod";
import type { Dataset } from "../../data/dataset.ts";
import type { Model } from "../../ir/model.ts";
import { exposeWeights } from "../../passes/expose-weights.ts";
import { methodNames, specOptions, withOwn } from "../../quantize/grid/spec.ts";
import { askedLayers, type LayerRule } from "../../quantize/layers/layer-rules.ts";
import { findLayers } from "../../quantize/layers/sites.ts";
import { roundingMethodNames } from "../../quantize/learned/reconstruct/index.ts";
import { methods } from "../../quantize/methods/index.ts";
import { quantizeSequentially } from "../../quantize/sequential/sequential.ts";
import { collectMethodStats, plannedMethodStats } from "../../quantize/weights/method-stats.ts";
import {
  type LazyQuantizeResult,
  type QuantizeSettings,
  quantize,
  quantizeOptions,
} from "../../quantize/weights/quantize-weights.ts";
import type { Session } from "../../runtime/runtime.ts";
import { TersorError } from "../../util/errors.ts";
import { ownOptions } from "../../util/options.ts";
import { laddersOf, rulesAt, weightRungs } from "../bound/ladders.ts";
import { chooseInputs, measureAgreement, outputError } from "../compare.ts";
import { calibrationOptions, openCalibration } from "../data/calibration.ts";
import { quantizeReport } from "../quantize-report.ts";
import { inputOptions, runtimeOptions } from "../run-options.ts";
import type { Progress, Step, StepContext } from "../step.ts";
import {
  firstMethod,
  isRoundingMethod,
  iterationsOption,
  learnRounding,
  refuseBound,
  withoutSqnr,
  withTrained,
} from "../training/learned-rounding.ts";

export const quantizeStepOptions = quantizeOptions.extend({
  method: z
    .enum([...methodNames, ...roundingMethodNames])
    .default("rtn")
    .describe(
      "rtn: each weight to the nearest code; hqq: robust to outliers; gptq, awq: least error on calibration data; adaround, brecq: rounding is learned on them, by layers or blocks",
    ),
  iterations: iterationsOption,
  seeds: z
    .int()
    .min(1)
    .max(1000)
    .default(1)
    .describe("try this many seeds of stochastic rounding, keep the one with the least output error"),
  ...calibrationOptions,
  calibrate: calibrationOptions.calibrate.describe(
    "samples for gptq, awq, adaround, brecq and sequential; do not measure on the same ones",
  ),
  sequential: z
    .boolean()
    .default(false)
    .describe(
      "layer by layer: each is quantized on what those before it give when quantized, to make up for their errors",
    ),
  ...inputOptions,
  ...runtimeOptions,
});

type Options = z.output<typeof quantizeStepOptions>;

/** The error of one seed: mean noise-to-signal ratio over the outputs. */
interface SeedTrial {
  readonly seed: number;
  readonly error: number;
}

export const quantizeStep: Step<typeof quantizeStepOptions> = {
  name: "quantize",
  mode: "weights",
  summary: "Quantize weights: int8, int4, int2, float16, per model, tensor, channel or group.",
  options: quantizeStepOptions,
  needs: [],
  async run(model, options, ctx) {
    const { method, sequential } = options;
    if (isRoundingMethod(method) && sequential)
      throw new TersorError(
        "bad-recipe",
        `sequential: ${method} goes layer by layer by itself: expected another method. Leave it out.`,
      );
    // Old exporters keep weights in Constant nodes.
    const visible = exposeWeights(model).model;
    const trials = ctx.dryRun ? undefined : await trySeeds(visible, options, ctx);
    const result = trials?.best.result ?? (await (await quantizer(visible, options, ctx))([]));
    if (!ctx.dryRun) await precompute(result, ctx);
    const learned = ctx.dryRun ? undefined : await learn(visible, result.model, options, ctx);
    return {
      model: learned?.model ?? result.model,
      report: () => ({
        ...quantizeReport(result),
        ...(learned && {
          layers: withoutSqnr(result.layers()),
          ...withTrained(
            { left: result.left(), rewritten: result.rewritten() },
            { float: visible, quantized: result.model, trained: learned.model },
          ),
        }),
        notes: [...result.notes, ...(learned?.notes ?? [])],
        ...(learned && { units: learned.units }),
        ...(trials && { seed: trials.best.seed, seeds: trials.all, seedData: trials.data }),
      }),
    };
  },
  async variants(model, options, ctx) {
    const { seeds, method } = options;
    refuseBound(method);
    if (seeds > 1)
      throw new TersorError(
        "bad-recipe",
        `seeds ${seeds}: does not go with an accuracy bound: expected 1. Leave one out.`,
      );
    const own = weightsOf(options);
    // The search tries methods that look at data.
    const quantized = await quantizer(model, options, ctx, true);
    const { layers } = findLayers(model);
    const asked = askedLayers(layers, own.layers);
    const common = ownOptions(specOptions, own);
    const ladders = laddersOf(layers, (await quantized([])).layers(), (layer) =>
      weightRungs(layer, withOwn(common, asked[layer.index]?.options ?? {}), options.calibrate !== undefined),
    );
    return {
      ladders,
      apply: async (levels) => {
        const result = await quantized(rulesAt(ladders, levels));
        await precompute(result, ctx);
        return { model: result.model, report: () => quantizeReport(result) };
      },
    };
  },
};

/** What a method that trains makes of the model; undefined for others. */
async function learn(float: Model, quantized: Model, options: Options, ctx: StepContext) {
  const { method, iterations } = options;
  if (!isRoundingMethod(method)) return undefined;
  return learnRounding(float, quantized, { method, iterations, calibration: options }, ctx);
}

/** Quantizes with options of single layers on top of the step's; what was found out on the data serves the next time too. */
async function quantizer(model: Model, options: Options, ctx: StepContext, looks = looksAtData(options)) {
  const own = weightsOf(options);
  const { calibrate, sequential, method } = options;
  if (isRoundingMethod(method)) return (overrides: readonly LayerRule[]) => quantize(model, own, undefined, overrides);
  if (sequential && calibrate === undefined)
    throw new TersorError(
      "bad-recipe",
      "sequential: needs to run the model: expected calibration data. Name some with calibrate.",
    );
  const calibration =
    calibrate === undefined || ctx.dryRun || !looks ? undefined : await openCalibration(model, options, ctx);
  if (!calibration) {
    const planned = calibrate === undefined ? undefined : plannedMethodStats(model);
    return (overrides: readonly LayerRule[]) => quantize(model, own, planned, overrides);
  }
  const { data, running, show } = calibration;
  if (!sequential) {
    const stats = await show((onProgress) => collectMethodStats(model, data, { ...running, onProgress }));
    return (overrides: readonly LayerRule[]) => quantize(model, own, stats, overrides);
  }
  return (overrides: readonly LayerRule[]) =>
    show(async (onProgress) => {
      // The layers and methods are the same with moments to come as with those that are only planned.
      const pool = await ctx.methodPool?.(quantize(model, own, plannedMethodStats(model), overrides).work);
      const environment = { ...running, onProgress, ...(pool && { pool }) };
      return quantizeSequentially(model, data, (stats) => quantize(model, own, stats, overrides), environment);
    });
}

/** Whether anything that is asked for needs to know the inputs of layers. */
function looksAtData({ sequential, method, layers = [] }: Options): boolean {
  const names = [firstMethod(method), ...layers.flatMap(({ options }) => options.method ?? [])];
  return sequential || names.some((name) => methods[name].needs !== "nothing");
}

/** Computes what takes long in the workers that the context has, if any. */
async function precompute({ work, precompute }: LazyQuantizeResult, ctx: StepContext): Promise<void> {
  const pool = await ctx.methodPool?.(work);
  if (!pool) return;
  let line: Progress | undefined;
  const onProgress = (done: number, total: number) => {
    line ??= ctx.progress("quantizing", total, "layers");
    line.update(done);
  };
  try {
    await precompute(pool, { signal: ctx.signal, onProgress });
  } finally {
    line?.end();
  }
}

/** The part of the options that the quantization of weights itself knows. */
function weightsOf(options: Options): QuantizeSettings {
  return ownOptions(quantizeOptions, options, { method: firstMethod(options.method) });
}

/** Quantizes with each seed and runs the results against the original. Undefined when there is nothing to choose from. */
async function trySeeds(model: Model, options: Options, ctx: StepContext) {
  const { seeds, data: spec, ...rest } = options;
  if (seeds === 1) return undefined;
  const own = weightsOf(options);
  checkStochastic(own, seeds);
  const { runtime, threads, optimization } = rest;
  const settings = { runtime, optimization, ...(threads !== undefined && { threads }) };
  const first = own.seed;
  const reference = await ctx.open(ctx.original, settings);
  const progress = ctx.progress("trying seeds", seeds, "seeds");
  try {
    const data = chooseInputs(await ctx.data(spec, reference.inputs), reference.inputs, { ...rest, seed: first });
    const all: SeedTrial[] = [];
    let best: (SeedTrial & { result: LazyQuantizeResult }) | undefined;
    for (let k = 0; k < seeds; k++) {
      const seed = first + k;
      const result = quantize(model, ownOptions(quantizeOptions, own, { seed }));
      const error = await errorOf(result.model, reference, data, ctx, settings);
      all.push({ seed, error });
      if (!best || error < best.error) {
        if (best) ctx.discard(best.result.model);
        best = { seed, error, result };
      } else ctx.discard(result.model);
      progress.update(k + 1);
    }
    if (!best) throw new TersorError("internal", "quantize: no seed was tried. This is a bug in Tersor.");
    return { best, all, data: { name: data.name, madeUp: data.synthetic ?? false } };
  } finally {
    progress.end();
    await reference.release();
  }
}

async function errorOf(
  model: Model,
  reference: Session,
  data: Dataset,
  ctx: StepContext,
  settings: Parameters<StepContext["open"]>[1],
): Promise<number> {
  const session = await ctx.open(model, settings);
  try {
    const quiet = { update: () => {}, end: () => {} };
    const watch = { signal: ctx.signal, progress: () => quiet, original: ctx.original };
    const { fidelity } = await measureAgreement([reference, session], data, watch);
    return outputError(fidelity);
  } finally {
    await session.release();
  }
}

/** @throws bad-recipe when nothing depends on the seed. */
function checkStochastic({ layers, rounding }: QuantizeSettings, seeds: number): void {
  if (rounding === "stochastic" || layers?.some(({ options }) => options.rounding === "stochastic")) return;
  throw new TersorError(
    "bad-recipe",
    `seeds ${seeds}: only stochastic rounding depends on the seed: expected rounding "stochastic", got "${rounding}".`,
  );
}
