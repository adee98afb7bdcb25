/** @file Step: removes channels or residual blocks, or puts zeros into weights. */

import type { Sample } from "../../data/dataset.ts";
import { metricForLabel, settleMetric } from "../../evaluate/choose-metric.ts";
import type { Model } from "../../ir/model.ts";
import type { InputShapes } from "../../ops/infer-inputs.ts";
import { pruneBlocks } from "../../prune/blocks/prune-blocks.ts";
import { type KeptReport, pruneChannels } from "../../prune/channels/prune-channels.ts";
import type { ChannelData } from "../../prune/evidence/channel-data.ts";
import { type PruneSettings, pruneOptions, structureOf } from "../../prune/options.ts";
import { pruneWeights } from "../../prune/weights/prune-weights.ts";
import { targetNamed } from "../../targets/targets.ts";
import { TersorError } from "../../util/errors.ts";
import { ownOptions } from "../../util/options.ts";
import { openCalibration } from "../data/calibration.ts";
import { countParams } from "../describe-model.ts";
import type { Step, StepContext } from "../step.ts";
import { filesOfTraining } from "./finetune.ts";
import { advised } from "./prune-advice.ts";
import { clockFor } from "./prune-latency.ts";
import { checkShare, type PruneStepOptions, pruneStepOptions } from "./prune-options.ts";
import { prove } from "./prune-proof.ts";
import { cutReport, joined, type PruneStepReport, type ScheduleRecord } from "./prune-report.ts";
import { type FinetuneBetween, partsOf, shareOfRest, trainBetween } from "./prune-schedule.ts";
import { cutVocabulary, vocabularyPaths } from "./prune-vocabulary.ts";

export const pruneStep: Step<typeof pruneStepOptions> = {
  name: "prune",
  summary: "Remove channels, neurons, heads and hidden units, residual blocks, or single weights.",
  options: pruneStepOptions,
  needs: [],
  writes: ({ finetune = {}, vocabularyFiles, tokenizer }) => [
    ...filesOfTraining(finetune),
    ...(vocabularyFiles === undefined ? [] : vocabularyPaths(vocabularyFiles, tokenizer !== undefined)),
  ],
  async run(model, options, ctx) {
    const result = await runPrune(model, options, ctx);
    const isTrained = options.finetune !== undefined && !ctx.dryRun;
    return { model: result.model, report: () => (isTrained ? result.report() : advised(result.report())) };
  },
};

/** Prunes, and leaves it to the caller to say what comes next. */
export async function runPrune(
  model: Model,
  options: PruneStepOptions,
  ctx: StepContext,
): Promise<{ readonly model: Model; report(): PruneStepReport }> {
  const { kind } = structureOf(options.structure);
  const own = ownOptions(pruneOptions, options, { seed: options.seed ?? ctx.seed });
  checkShare(options, kind, kind in cutKinds);
  const plan: Plan = { options, own, finetune: options.finetune, ctx };
  return runSchedule(model, plan, kind in cutKinds ? cutKinds[kind as keyof typeof cutKinds] : zeroWeights);
}

/** What no recipe says, but an earlier run decided: channels that stay, by layer. */
export interface DecidedWidths {
  readonly widths?: ReadonlyMap<string, number>;
}

interface Plan {
  readonly options: PruneStepOptions;
  /** Those of pruning itself, of all steps together. */
  readonly own: PruneSettings;
  readonly finetune: FinetuneBetween | undefined;
  readonly ctx: StepContext;
}

/** One step of a schedule. */
interface Pruned {
  readonly model: Model;
  /** Share of everything that is gone, of what `by` says; undefined where shares are not added up. */
  readonly removed?: number;
  /** Of all that is to go, the part that is gone; of channels. */
  readonly part?: number;
  /** Names of weights with nothing but zeros. */
  emptied(): readonly string[];
  report(): PruneStepReport;
}

/** @param part of all that is to go that is gone after this step */
type PruneOnce = (model: Model, part: number, plan: Plan, before: Pruned | undefined) => Promise<Pruned>;

async function runSchedule(model: Model, plan: Plan, prune: PruneOnce) {
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
  const params = paramsOf(model, result);
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
  return {
    model: result.model,
    emptied: () => [],
    report: () => cutReport(options.structure, result, { ...proof, params: paramsOf(model, result.model) }),
  };
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
  const params = paramsOf(model, result.model);
  const notes = [`"${result.input}" takes new ids: ${vocabulary.files.join(", ") || "the mapping"} has them`];
  const { structure } = options;
  const report = (): PruneStepReport => ({ structure, vocabulary, kept, macs, params, ...(proof && { proof }), notes });
  return { model: result.model, emptied: () => [], report };
};

const cutChannels: PruneOnce = async (model, part, plan, before) => {
  const { options, own, ctx } = plan;
  const ratio = shareOfRest((own.ratio ?? 0) * part, before?.removed ?? 0);
  // What was chosen in the first step of a schedule stays.
  const known = before?.report().approach;
  const chosen = known && { criterion: known.criteria[0], ranking: known.ranking };
  // Once is enough to look at: the model that was given.
  const given = ownOptions(pruneOptions, own, { ...chosen, ratio, sensitivity: own.sensitivity && !before });
  const left = (options as PruneStepOptions & DecidedWidths).widths;
  const widths = left && { left, share: shareOfRest(part, before?.part ?? 0) };
  const clock = own.by === "latency" && !left ? await clockFor(options, ctx) : undefined;
  const { target = targetNamed(options.runtime === "ort-web" ? "web-wasm" : "any") } = options;
  const multiple = target.widths?.depthwise;
  const taken = new Set<string>();
  const around = { judgeFor: (sample: Sample) => judgeFor(model, sample, taken), clock, multiple, widths };
  const result = await withCalibration(model, options, ctx, (data) =>
    pruneChannels(model, given, data, shapesOf(model, options), around),
  );
  const proof = options.prove && !ctx.dryRun ? await prove(result, options, ctx) : {};
  const removed = 1 - (1 - (before?.removed ?? 0)) * (1 - result.removed);
  const report = () => {
    const own = cutReport(options.structure, result, { ...proof, params: paramsOf(model, result.model) });
    return joined(before?.report(), { ...own, removed, notes: [...(own.notes ?? []), ...taken] });
  };
  return { model: result.model, removed, part, emptied: () => [], report };
};

/** The metric that suits the labels, on the output that suits them; `said` gets what the user should know of the choice. */
function judgeFor(model: Model, sample: Sample, said: Set<string>) {
  const asked = metricForLabel(sample);
  const settled = asked && settleMetric(asked, model, sample);
  for (const note of settled?.notes ?? []) said.add(note);
  return settled?.metric;
}

/** By structure: what is cut; all others put zeros into weights. */
const cutKinds = { channels: cutChannels, heads: cutChannels, blocks: cutBlocks, vocabulary: cutTokens };

/** Shapes of inputs by name, and sizes of symbols. */
function shapesOf({ graph }: Model, { shapes = {} }: PruneStepOptions): InputShapes {
  const names = new Set(graph.inputs.map(({ name }) => name));
  const entries = Object.entries(shapes);
  return Object.fromEntries(entries.map(([name, dims]) => [name, names.has(name) ? dims : (dims[0] ?? 1)]));
}

/** As the files have them: recovery may add biases, and what it needs first may turn attributes into constants. */
function paramsOf(before: Model, after: Model) {
  return { before: countParams(before), after: countParams(after) };
}

async function sizes(before: Model, after: Model, { compressed }: PruneStepOptions, ctx: StepContext) {
  if (ctx.dryRun) return {};
  // Compressors have threads of their own: both at once.
  const [whole, small] = await Promise.all([ctx.size(before, { compressed }), ctx.size(after, { compressed })]);
  return { size: { before: whole, after: small } };
}

/** Does something with the data that criteria and recovery may look at; undefined where none is named. Shows how far it is. */
async function withCalibration<T>(
  model: Model,
  options: PruneStepOptions,
  ctx: StepContext,
  work: (data: ChannelData | undefined) => Promise<T>,
): Promise<T> {
  const calibration = options.calibrate === undefined ? undefined : await openCalibration(model, options, ctx);
  if (!calibration) return work(undefined);
  const { data, running, show } = calibration;
  return show((onProgress) => work({ data, ...running, onProgress }));
}
