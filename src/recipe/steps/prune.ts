/** @file Step: removes channels or residual blocks, or puts zeros into weights. */
import * as z from "zod";
import { metricForLabel } from "../../evaluate/choose-metric.ts";
import { FidelityMeter } from "../../evaluate/fidelity.ts";
import type { Model } from "../../ir/model.ts";
import type { InputShapes } from "../../ops/infer-inputs.ts";
import { type BlockReport, type BlockResult, pruneBlocks } from "../../prune/blocks/prune-blocks.ts";
import type { LatencyReport } from "../../prune/latency/select-by-latency.ts";
import { type ParsedPruneOptions, pruneOptions, type Structure, structureOf } from "../../prune/options.ts";
import {
  type ChannelData,
  type ChannelResult,
  type GroupReport,
  type KeptReport,
  pruneChannels,
} from "../../prune/prune-channels.ts";
import type { SensitivityReport } from "../../prune/sensitivity.ts";
import { pruneWeights, type WeightReport } from "../../prune/weights/prune-weights.ts";
import type { ModelSize, Step, StepContext, StepReport, StepResult } from "../../step.ts";
import { TersorError } from "../../util/errors.ts";
import { openCalibration } from "../calibration.ts";
import { chooseInputs, sampleBatches } from "../compare.ts";
import { countParams } from "../describe-model.ts";
import { type BeforeAfter, inputOptions, runtimeOptions } from "./compare.ts";
import type { TrainReport } from "./finetune.ts";
import { clockFor } from "./prune-latency.ts";
import { type FinetuneBetween, partsOf, scheduleOptions, shareOfRest, trainBetween } from "./prune-schedule.ts";
import { cutVocabulary, type VocabularyReport, vocabularyOptions } from "./prune-vocabulary.ts";

export const pruneStepOptions = pruneOptions.extend({
  calibrate: inputOptions.data.describe(
    "samples for criteria and recovery that look at data; do not measure on the same ones",
  ),
  calibrationSamples: z.int().min(1).default(256).describe("calibrate on the first samples"),
  batchSize: z
    .int()
    .min(1)
    .optional()
    .describe("samples in one calibration run; default the model's fixed batch size, else 1"),
  prove: z
    .boolean()
    .default(false)
    .describe("run the cut model against the one with zeros in place of what was removed: they compute the same"),
  ...scheduleOptions,
  latencyTable: z
    .string()
    .min(1)
    .optional()
    .describe("for latency: what was timed before, a manifest or its table: with the same table the same channels go"),
  ...vocabularyOptions,
  compressed: z.boolean().default(true).describe("measure the sizes after gzip and brotli"),
  ...inputOptions,
  ...runtimeOptions,
});

type Options = z.output<typeof pruneStepOptions>;

export interface PruneStepReport extends StepReport {
  readonly structure: string;
  /** Of channels. */
  readonly groups?: readonly GroupReport[];
  /** Of blocks, in the graph's order. */
  readonly blocks?: readonly BlockReport[];
  readonly kept?: readonly KeptReport[];
  readonly vocabulary?: VocabularyReport;
  /** Share of what was asked for that was removed, and whether that was enough. */
  readonly removed?: number;
  readonly reached?: boolean;
  /** Of weights. */
  readonly layers?: readonly WeightReport[];
  readonly macs?: BeforeAfter<number>;
  readonly params: BeforeAfter<number>;
  readonly size?: BeforeAfter<ModelSize>;
  /** What the outputs lose when shares of single groups go. */
  readonly sensitivity?: SensitivityReport;
  /** What was timed, for a ratio of latency. */
  readonly latency?: LatencyReport;
  /** What was trained after each step of a schedule. */
  readonly schedule?: readonly ScheduleRecord[];
  /** Largest difference between the cut and the masked model (of a vocabulary, the original), as a share of the largest output. */
  readonly proof?: { readonly data: string; readonly maxRelativeError: number };
}

export interface ScheduleRecord {
  /** Share that was to be gone by then. */
  readonly ratio?: number;
  readonly training?: TrainReport;
}

export const pruneStep: Step<typeof pruneStepOptions> = {
  name: "prune",
  summary: "Remove channels, neurons, heads and hidden units, residual blocks, or single weights.",
  options: pruneStepOptions,
  needs: [],
  async run(model, given, ctx) {
    const options = pruneStepOptions.parse(given);
    const { kind } = structureOf(options.structure);
    const own = pruneOptions.parse({ ...pick(given, Object.keys(pruneOptions.shape)), seed: options.seed ?? ctx.seed });
    checkShare(options, kind);
    if (options.prove && !(kind in cutKinds))
      throw new TersorError(
        "bad-recipe",
        "prune: prove is for channels, blocks and vocabulary: zeros in weights remove nothing.",
      );
    const plan: Plan = { options, own, finetune: given.finetune, ctx };
    return runSchedule(model, plan, kind in cutKinds ? cutKinds[kind as keyof typeof cutKinds] : zeroWeights);
  },
};

interface Plan {
  readonly options: Options;
  /** Those of pruning itself, of all steps together. */
  readonly own: ParsedPruneOptions;
  readonly finetune: FinetuneBetween | undefined;
  readonly ctx: StepContext;
}

/** One step of a schedule. */
interface Pruned {
  readonly model: Model;
  /** Share of everything that is gone, of what `by` says; undefined where shares are not added up. */
  readonly removed?: number;
  /** Names of weights with nothing but zeros. */
  emptied(): readonly string[];
  report(): PruneStepReport;
}

/** @param part of all that is to go that is gone after this step */
type PruneOnce = (model: Model, part: number, plan: Plan, before: Pruned | undefined) => Promise<Pruned>;

async function runSchedule(model: Model, plan: Plan, prune: PruneOnce): Promise<StepResult> {
  const { options, finetune, ctx } = plan;
  const { schedule, steps, ratio } = options;
  if (schedule !== "once" && ratio === undefined)
    throw new TersorError("bad-recipe", `prune: schedule "${schedule}" raises a ratio: expected one from 0 to 1.`);
  let current = model;
  let last: Pruned | undefined;
  const history: ScheduleRecord[] = [];
  for (const part of partsOf(schedule, steps)) {
    last = await prune(current, part, plan, last);
    current = last.model;
    const record = { ...(ratio !== undefined && { ratio: ratio * part }) };
    if (finetune && !ctx.dryRun) {
      const { model: trained, report } = await trainBetween(current, finetune, last.emptied(), ctx);
      current = trained;
      history.push({ ...record, training: report });
    } else history.push(record);
  }
  const size = await sizes(model, current, options, ctx);
  const isTrained = finetune !== undefined && !ctx.dryRun;
  return {
    model: current,
    report: () => {
      const report = { ...(last as Pruned).report(), ...size };
      const skipped = finetune && ctx.dryRun ? ["training is left out of a dry run"] : [];
      const notes = [...(report.notes ?? []), ...history.flatMap(({ training }) => training?.notes ?? []), ...skipped];
      return { ...report, ...((isTrained || history.length > 1) && { schedule: history }), notes: [...new Set(notes)] };
    },
  };
}

const zeroWeights: PruneOnce = async (model, part, { options, own, ctx }) => {
  const {
    model: result,
    layers,
    emptied,
    notes,
  } = await withCalibration(model, options, ctx, (data) => pruneWeights(model, own, data, part));
  const params = { before: countParams(model), after: countParams(result) };
  const { structure } = options;
  return { model: result, emptied, report: () => ({ structure, layers: layers(), params, notes }) };
};

const cutBlocks: PruneOnce = async (model, _, plan) => {
  const { options, own, ctx } = plan;
  if (options.schedule !== "once")
    throw new TersorError(
      "bad-recipe",
      `prune: schedule "${options.schedule}" is for channels and weights, not for blocks.`,
    );
  const result = await withCalibration(model, options, ctx, (data) =>
    pruneBlocks(model, own, data, shapesOf(model, options)),
  );
  const proof = options.prove && !ctx.dryRun ? await prove(result, options, ctx) : {};
  return { model: result.model, emptied: () => [], report: () => cutReport(options.structure, result, proof) };
};

/** Always proved, on the corpus. */
const cutTokens: PruneOnce = async (model, _, { options, finetune, ctx }) => {
  if (options.schedule !== "once" || finetune)
    throw new TersorError(
      "bad-recipe",
      "prune: structure vocabulary loses nothing: expected no schedule and no training.",
    );
  const { result, report: vocabulary, macs, proof } = await cutVocabulary(model, options, ctx);
  const kept = result.whole.map(({ output, obstacle: { opType: because, reason } }): KeptReport => {
    return { layer: output, opType: "output", channels: result.size, because, reason };
  });
  const params = { before: countParams(model), after: countParams(result.model) };
  const notes = [`"${result.input}" takes new ids: ${vocabulary.files.join(", ") || "the mapping"} has them`];
  const { structure } = options;
  const report = (): PruneStepReport => ({ structure, vocabulary, kept, macs, params, ...(proof && { proof }), notes });
  return { model: result.model, emptied: () => [], report };
};

const cutChannels: PruneOnce = async (model, part, plan, before) => {
  const { options, own, ctx } = plan;
  const ratio = shareOfRest((own.ratio ?? 0) * part, before?.removed ?? 0);
  // Once is enough to look at: the model that was given.
  const given = { ...own, ratio, sensitivity: own.sensitivity && !before };
  const clock = own.by === "latency" ? await clockFor(options, ctx) : undefined;
  const around = { judgeFor: metricForLabel, clock };
  const result = await withCalibration(model, options, ctx, (data) =>
    pruneChannels(model, given, data, shapesOf(model, options), around),
  );
  const proof = options.prove && !ctx.dryRun ? await prove(result, options, ctx) : {};
  const removed = 1 - (1 - (before?.removed ?? 0)) * (1 - result.removed);
  const report = () => joined(before?.report(), { ...cutReport(options.structure, result, proof), removed });
  return { model: result.model, removed, emptied: () => [], report };
};

/** By structure: what is cut; all others put zeros into weights. */
const cutKinds = { channels: cutChannels, heads: cutChannels, blocks: cutBlocks, vocabulary: cutTokens };

/** The report of a step with what was removed before it. */
function joined(before: PruneStepReport | undefined, after: PruneStepReport): PruneStepReport {
  if (!before) return after;
  const gone = new Map(before.groups?.map((group) => [group.name, group]));
  const errors = [before, after].flatMap(({ proof }) => proof ?? []);
  const [proof] = errors.toSorted((a, b) => b.maxRelativeError - a.maxRelativeError);
  return {
    ...after,
    groups: (after.groups ?? []).map((group) => {
      const { channels = group.channels, removed = 0 } = gone.get(group.name) ?? {};
      return { ...group, channels, removed: removed + group.removed };
    }),
    ...(before.sensitivity && { sensitivity: before.sensitivity }),
    ...(after.macs && before.macs && { macs: { before: before.macs.before, after: after.macs.after } }),
    params: { before: before.params.before, after: after.params.after },
    ...(proof && { proof }),
  };
}

/** Shapes of inputs by name, and sizes of symbols. */
function shapesOf({ graph }: Model, { shapes = {} }: Options): InputShapes {
  const names = new Set(graph.inputs.map(({ name }) => name));
  const entries = Object.entries(shapes);
  return Object.fromEntries(entries.map(([name, dims]) => [name, names.has(name) ? dims : (dims[0] ?? 1)]));
}

/** @throws bad-recipe where nothing says how much is to go, or something that does not fit the structure */
function checkShare({ ratio, threshold, count, sensitivity, ranking, by }: Options, kind: Structure["kind"]): void {
  const fail = (message: string) => new TersorError("bad-recipe", `prune: ${message}`);
  if (kind !== "channels" && by === "latency") throw fail(`by latency is for channels, not for structure ${kind}.`);
  const isSensed = sensitivity || ranking === "sensitivity";
  if (kind !== "channels" && isSensed) throw fail(`sensitivity is for channels, not for structure ${kind}.`);
  const isUnsaid = ratio === undefined && threshold === undefined && count === undefined;
  if (kind === "vocabulary") {
    if (isUnsaid) return;
    throw fail("structure vocabulary takes what a corpus does not need: expected no ratio, count or threshold.");
  }
  if (isUnsaid && kind !== "n:m" && !sensitivity)
    throw fail("no ratio: expected a share to remove from 0 to 1. Give one.");
  if (kind in cutKinds && threshold !== undefined)
    throw fail(`threshold is for weights: expected a ratio for ${kind}.`);
  if (count !== undefined && kind !== "blocks") throw fail("count is for blocks: expected a ratio.");
  if (count !== undefined && ratio !== undefined) throw fail("ratio and count say the same twice. Give one of them.");
}

function cutReport(
  structure: string,
  result: ChannelResult | BlockResult,
  more: Partial<PruneStepReport>,
): PruneStepReport {
  const { kept, before, after, removed, reached, notes } = result;
  return {
    structure,
    ...("blocks" in result ? { blocks: result.blocks } : { groups: result.groups }),
    ...("sensitivity" in result && { sensitivity: result.sensitivity }),
    ...("latency" in result && { latency: result.latency }),
    kept,
    removed,
    reached,
    macs: { before: before.macs, after: after.macs },
    params: { before: before.params, after: after.params },
    ...more,
    notes,
  };
}

async function sizes(before: Model, after: Model, { compressed }: Options, ctx: StepContext) {
  if (ctx.dryRun) return {};
  const size = { before: await ctx.size(before, { compressed }), after: await ctx.size(after, { compressed }) };
  return { size };
}

/** Does something with the data that criteria and recovery may look at; undefined where none is named. Shows how far it is. */
async function withCalibration<T>(
  model: Model,
  { calibrate, calibrationSamples: samples, batchSize, threads }: Options,
  ctx: StepContext,
  work: (data: ChannelData | undefined) => Promise<T>,
): Promise<T> {
  const calibration =
    calibrate === undefined
      ? undefined
      : await openCalibration(model, { data: calibrate, samples, batchSize, threads }, ctx);
  if (!calibration) return work(undefined);
  const { data, running, show } = calibration;
  return show((onProgress) => work({ data, ...running, onProgress }));
}

/** Runs the cut model, before recovery, against the masked one. Graph optimizations are off: they would round differently. */
async function prove({ plain, masked }: ChannelResult | BlockResult, options: Options, ctx: StepContext) {
  const { data: spec, runtime, threads, samples, shapes } = options;
  const settings = { runtime, optimization: "disabled", ...(threads !== undefined && { threads }) } as const;
  const whole = masked();
  const reference = await ctx.open(whole, settings);
  try {
    const candidate = await ctx.open(plain, settings);
    try {
      const data = chooseInputs(await ctx.data(spec, reference.inputs), reference.inputs, {
        samples,
        shapes,
        seed: ctx.seed,
      });
      const meter = new FidelityMeter();
      for await (const { inputs } of sampleBatches(reference, data))
        meter.add(
          await reference.run(inputs, undefined, { signal: ctx.signal }),
          await candidate.run(inputs, undefined, { signal: ctx.signal }),
        );
      const maxRelativeError = Math.max(0, ...Object.values(meter.result()).map((each) => each.maxRelativeError));
      return { proof: { data: data.name, maxRelativeError } };
    } finally {
      await candidate.release();
    }
  } finally {
    await reference.release();
    ctx.discard(whole);
  }
}

function pick(options: object, keys: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(Object.entries(options).filter(([key]) => keys.includes(key)));
}
