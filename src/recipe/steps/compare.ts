/** @file Step: measures the model against the original. Changes nothing. */
import * as z from "zod";
import type { Dataset } from "../../data/dataset.ts";
import type { InputInfo } from "../../data/fit-input.ts";
import type { Cause } from "../../evaluate/diagnose/cause.ts";
import { diagnose } from "../../evaluate/diagnose/diagnose.ts";
import type { LatencyReport } from "../../evaluate/latency.ts";
import { joinModels, type LayerFidelity, measureLayers } from "../../evaluate/layer-fidelity.ts";
import type { Model } from "../../ir/model.ts";
import { targetSchema } from "../../targets/target.ts";
import { targetNamed } from "../../targets/targets.ts";
import { parseOptions } from "../../util/options.ts";
import { type Agreement, chooseInputs, compareLatency, measureAgreement, sampleBatches } from "../compare.ts";
import { countParams } from "../describe-model.ts";
import { inputOptions, runtimeOptions } from "../run-options.ts";
import type { ModelSize, Step, StepContext } from "../step.ts";

export const compareOptions = z.strictObject({
  ...inputOptions,
  metric: z
    .union([z.string().min(1), z.looseObject({ name: z.string() })])
    .optional()
    .describe(
      "top-1, top-5, accuracy, cross-entropy, perplexity, cer, mse or a module; default: what suits the labels",
    ),
  ...runtimeOptions,
  runs: z.int().min(0).default(55).describe("timed runs of each model; 0 times nothing"),
  perLayer: z
    .boolean()
    .default(false)
    .describe("also measure every layer, by itself and with all before it changed, and name the causes"),
  target: z
    .union([z.string().transform(targetNamed), targetSchema])
    .optional()
    .describe("where the model is to run, for causes; default: any"),
  calibrate: inputOptions.data.describe("samples that it was calibrated on, for causes: were they prepared like data?"),
  compressed: z.boolean().default(true).describe("measure the sizes after gzip and brotli too"),
});

export type CompareOptions = z.input<typeof compareOptions>;

/** Both sides of a number. */
export interface BeforeAfter<T> {
  readonly before: T;
  readonly after: T;
}

export interface CompareReport extends Agreement {
  readonly size: BeforeAfter<ModelSize>;
  /** Elements of the constants that are weights: floats and narrow integers. */
  readonly params: BeforeAfter<number>;
  /** Milliseconds to load the model. */
  readonly loadMs: BeforeAfter<number>;
  readonly latency?: LatencyReport;
  /** Worst first. */
  readonly layers?: readonly LayerFidelity[];
  /** Why it is worse, of layers and of the whole; worst first. Goes with `layers`. */
  readonly causes?: readonly Cause[];
  readonly runtime: string;
}

export const compareStep: Step<typeof compareOptions> = {
  name: "compare",
  summary: "Measure outputs, accuracy, size and latency against the original.",
  options: compareOptions,
  needs: [],
  async run(model, options, ctx) {
    if (ctx.dryRun) return { model, report: () => ({ notes: ["compare: nothing is measured in a dry run"] }) };
    const report = await compareModels(ctx.original, model, options, ctx);
    return { model, report: () => ({ ...report }) };
  },
};

/** Measures `candidate` against `reference`. @throws as {@link measureAgreement}; bad-recipe for wrong options */
export async function compareModels(
  reference: Model,
  candidate: Model,
  options: CompareOptions | z.output<typeof compareOptions>,
  ctx: StepContext,
): Promise<CompareReport> {
  const {
    data: spec,
    metric,
    runs,
    compressed,
    perLayer,
    runtime,
    target,
    calibrate,
    ...rest
  } = parseOptions(compareOptions, options, "compare");
  const { threads, optimization } = rest;
  const chosen = metric === undefined ? undefined : await ctx.metric(metric);
  const settings = { runtime, optimization, ...(threads !== undefined && { threads }) };
  const before = await ctx.open(reference, settings);
  try {
    const after = await ctx.open(candidate, settings);
    try {
      const inputs: readonly InputInfo[] = before.inputs;
      const data = chooseInputs(await ctx.data(spec, inputs), inputs, { ...rest, seed: ctx.seed });
      const agreement = await measureAgreement([before, after], data, ctx, chosen);
      const latency = runs > 0 ? await compareLatency({ before, after }, data, runs, ctx) : undefined;
      const layers = perLayer ? await compareLayers(reference, candidate, data, settings, ctx) : undefined;
      const calibration = layers && calibrate !== undefined ? await ctx.data(calibrate, inputs) : undefined;
      const causes =
        layers &&
        (await diagnose(reference, candidate, data, {
          open: (model) => ctx.open(model, settings),
          discard: (model) => ctx.discard(model),
          layers,
          broken: Object.values(agreement.fidelity).some(({ broken }) => broken > 0),
          target,
          calibration,
          signal: ctx.signal,
        }));
      const size = {
        before: await ctx.size(reference, { compressed }),
        after: await ctx.size(candidate, { compressed }),
      };
      return {
        ...agreement,
        size,
        params: { before: countParams(reference), after: countParams(candidate) },
        loadMs: { before: before.loadMs, after: after.loadMs },
        ...(latency && { latency }),
        ...(layers && { layers }),
        ...(causes && { causes }),
        runtime,
      };
    } finally {
      await after.release();
    }
  } finally {
    await before.release();
  }
}

/** Every layer of the candidate against the reference's, worst first. */
async function compareLayers(
  reference: Model,
  candidate: Model,
  data: Dataset,
  settings: Parameters<StepContext["open"]>[1],
  ctx: StepContext,
): Promise<LayerFidelity[]> {
  const joined = joinModels(reference, candidate);
  const session = await ctx.open(joined.model, settings);
  try {
    const layers = await measureLayers(joined, session, sampleBatches(session, data));
    return layers.toSorted((a, b) => a.own - b.own);
  } finally {
    await session.release();
    ctx.discard(joined.model);
  }
}
