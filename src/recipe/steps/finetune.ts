/** @file Step: trains a model's weights, on labels or after a teacher. */
import * as z from "zod";
import { type Dataset, type Sample, split, take } from "../../data/dataset.ts";
import { metricForLabel } from "../../evaluate/choose-metric.ts";
import type { Model } from "../../ir/model.ts";
import { hashTensor } from "../../ir/text/index.ts";
import type { SessionOptions } from "../../runtime/runtime.ts";
import { decodeCheckpoint, encodeCheckpoint } from "../../train/checkpoint.ts";
import { splitTarget } from "../../train/emit-losses.ts";
import { type FitEnvironment, fit } from "../../train/fit.ts";
import { type LossOptions, type LossSettings, lossOptions } from "../../train/loss-rule.ts";
import { type TrainSettings, trainOptions } from "../../train/options.ts";
import { TersorError } from "../../util/errors.ts";
import { ownOptions, parseOptions } from "../../util/options.ts";
import { classNotes } from "../data/class-notes.ts";
import { inputsOf } from "../data/inputs-of.ts";
import { dataOption, inputOptions, modelOption, runtimeOptions } from "../run-options.ts";
import type { Step, StepContext } from "../step.ts";
import { openTeacher } from "../training/open-teacher.ts";
import { modelNamed, openQuantized } from "../training/quantized-training.ts";
import { afterLogits, judgedOn, withOutputs } from "../training/training-outputs.ts";
import { compareOptions } from "./compare.ts";
import { type DataParts, reportOf, type TrainReport } from "./train-report.ts";

/** Where training data comes from, how the result is judged, and what is kept on the way. */
export const trainingInputs = {
  data: inputOptions.data.describe("samples to train on; default: the recipe's data"),
  samples: inputOptions.samples.describe("train on the first samples only"),
  validation: z
    .union([z.number().min(0).lt(1), ...dataOption.options])
    .default(0.1)
    .describe("a share of the data, drawn by the seed, or other samples: what judges every epoch; 0: nothing"),
  metric: compareOptions.shape.metric,
  checkpoint: z.string().min(1).optional().describe("a file that keeps how far the training is, after every epoch"),
  resume: z.boolean().default(false).describe("go on from the checkpoint, where there is one"),
  cache: z
    .string()
    .min(1)
    .optional()
    .describe("a file that keeps the teacher's answers, by the samples: none is computed twice, nor in the next run"),
  log: z.string().min(1).optional().describe("a file that gets a line of JSON for every step and epoch"),
  runtime: runtimeOptions.runtime,
  threads: runtimeOptions.threads,
  scales: z
    .enum(["fixed", "learned"])
    .default("fixed")
    .describe("of a quantized model: scales stay as they are, or are learned with the weights"),
  prunedZeros: z
    .boolean()
    .default(false)
    .describe("of a quantized model: weights that are zero were pruned, and stay so; without, rounded ones may change"),
};

export const finetuneOptions = trainOptions.extend({
  ...trainingInputs,
  teacher: modelOption
    .optional()
    .describe('a model whose values losses are compared with, as teacher:NAME; "original": the recipe\'s own model'),
});

export type FinetuneOptions = z.input<typeof finetuneOptions>;
/** Parsed; `loss` may be left to the caller. */
export type FinetuneSettings = Omit<z.output<typeof finetuneOptions>, "loss"> & { readonly loss?: LossSettings[] };

/** Files that a training writes. */
export function filesOfTraining({
  checkpoint,
  log,
  cache,
}: {
  checkpoint?: string | undefined;
  log?: string | undefined;
  cache?: string | undefined;
}) {
  const files = Object.entries({ checkpoint, log, cache });
  return files.flatMap(([what, path]) => (path === undefined ? [] : [[what, path] as const]));
}

export const finetuneStep: Step<typeof finetuneOptions> = {
  name: "finetune",
  summary: "Train the weights of a model on data, with labels or after a teacher.",
  options: finetuneOptions,
  needs: ["training"],
  writes: filesOfTraining,
  async run(model, options, ctx) {
    if (ctx.dryRun) return { model, report: () => ({ notes: ["training is left out of a dry run"] }) };
    const { model: trained, report } = await trainModel(model, options, ctx);
    return { model: trained, report: () => report };
  },
};

/** The loss, by the first sample of the data. */
type LossesFor = (sample: Sample | undefined) => readonly LossOptions[];

interface Trained {
  readonly model: Model;
  readonly report: TrainReport;
}

/**
 * Trains with everything that recipes have around it: data, validation, teacher, checkpoint, log, progress. A quantized model stays one:
 * its weights are trained with the rounding in between, and are integers again afterwards.
 * @param losses in place of the option, for data whose first sample is this
 */
export async function trainModel(
  model: Model,
  options: FinetuneSettings,
  ctx: StepContext,
  losses?: LossesFor,
): Promise<Trained> {
  const teacher = options.teacher === undefined ? undefined : await modelNamed(options.teacher, ctx);
  const open = openQuantized(model, options, teacher, ctx);
  if (!open) return trainFloats(model, options, { ctx, teacher, losses });
  const freeze = [...(options.freeze ?? []), ...open.fixed];
  const settings = { ...options, ...(freeze.length > 0 && { freeze }) };
  // Further optimizations would compute in integers, which saturate on some machines, and not as the gradient sees it.
  const session = { optimization: "basic" } as const;
  const { model: trained, report } = await trainFloats(open.thawed.model, settings, { ctx, teacher, losses, session });
  const notes = [...(report.notes ?? []), ...open.notes];
  return { model: await open.close(trained), report: { ...report, quantized: open.about, notes } };
}

interface Around {
  readonly ctx: StepContext;
  readonly teacher: Model | undefined;
  readonly losses: LossesFor | undefined;
  readonly session?: SessionOptions;
}

async function trainFloats(
  model: Model,
  options: FinetuneSettings,
  { ctx, teacher, losses, session = {} }: Around,
): Promise<Trained> {
  const { threads, log } = options;
  const sessionOptions = threads === undefined ? {} : { threads };
  const runtime = await ctx.runtime(options.runtime);
  const parts = await dataOf(options, inputsOf(model), ctx);
  const given = losses
    ? losses(parts.first).map((each) => parseOptions(lossOptions, each, "loss"))
    : await withCharsets(options.loss ?? [], ctx);
  const { loss, notes: taken } = withOutputs(given, model, parts.first);
  const training = ownOptions(trainOptions, options, { loss: loss.map((each) => afterLogits(each, teacher)) });
  const { validation, notes: judged } = judgedOn(parts, model, loss);
  const about = loss.some(({ target }) => target === "label") ? classNotes(parts.training, model, loss[0]?.output) : [];
  const values = training.loss.flatMap(({ target }) => {
    const [kind, name = ""] = splitTarget(target);
    return kind === "teacher" ? [name] : [];
  });
  const identity = identityOf(model, teacher, training, parts);
  const resume = await resumeFrom(options, identity, ctx);
  const tutor = await openTeacher(teacher, [...new Set(values)], options, { runtime, session: sessionOptions, ctx });
  const lines = await openLog(log, ctx);
  const watch = ctx.progress("training", Math.round((parts.training.size ?? 0) * options.epochs), "samples");
  const env: FitEnvironment = {
    runtime,
    session: { ...session, ...sessionOptions },
    data: parts.training,
    ...(validation && { validation }),
    ...(tutor && { teacher: tutor.teacher }),
    signal: ctx.signal,
    onStep: (event) => {
      watch.update(event.samples, `loss ${event.loss.toPrecision(4)}  rate ${event.rate.toPrecision(2)}`);
      lines.add(event);
    },
    onEpoch: lines.add,
    ...(options.checkpoint !== undefined && {
      onCheckpoint: (checkpoint) => ctx.files.write(options.checkpoint ?? "", encodeCheckpoint(checkpoint, identity)),
    }),
    resume,
  };
  try {
    const result = await fit(model, training, env).finally(() => tutor?.keep());
    await lines.written();
    return {
      model: result.model,
      report: reportOf(result, { ...parts, validation }, [
        ...new Set([...taken, ...judged, ...about, ...(tutor?.notes() ?? [])]),
      ]),
    };
  } finally {
    watch.end();
    await tutor?.teacher.release();
  }
}

/** A file of lines. What can't be written ends the training with the next line: it was asked for. @throws bad-data before the first one */
async function openLog(path: string | undefined, ctx: StepContext) {
  let last: Promise<void> = Promise.resolve();
  let failure: { readonly error: unknown } | undefined;
  const append = (text: string) => {
    if (path === undefined) return;
    last = last
      .then(() => ctx.files.append(path, text))
      .catch((error: unknown) => {
        failure ??= { error };
      });
  };
  const check = () => {
    if (failure) throw failure.error;
  };
  const written = async () => {
    await last;
    check();
  };
  append("");
  await written();
  return {
    written,
    add: (entry: object) => {
      check();
      append(`${JSON.stringify(entry)}\n`);
    },
  };
}

/** A charset is a file in a recipe. @throws bad-data where there is none */
function withCharsets(losses: readonly LossSettings[], ctx: StepContext): Promise<LossSettings[]> {
  return Promise.all(
    losses.map(async (loss) => {
      if (typeof loss.charset !== "string") return loss;
      const bytes = await ctx.files.read(loss.charset);
      if (bytes) return { ...loss, charset: new TextDecoder().decode(bytes) };
      throw new TersorError("bad-data", `loss ${loss.name}: charset "${loss.charset}": no such file. Check the path.`);
    }),
  );
}

/** Training and validation data without a sample in common. @throws bad-recipe where there is none */
async function dataOf(
  options: FinetuneSettings,
  inputs: Parameters<StepContext["data"]>[1],
  ctx: StepContext,
): Promise<DataParts> {
  const all = await ctx.data(options.data, inputs);
  if (!all) throw new TersorError("bad-recipe", "training: no data: name samples with data.");
  const data = options.samples === undefined ? all : take(all, options.samples);
  const { validation: share } = options;
  const isShare = typeof share === "number";
  const first = await firstSample(data);
  const metric = options.metric ? await ctx.metric(options.metric) : first && metricForLabel(first);
  if (!metric || share === 0) return { first, training: data };
  if (!isShare) {
    const other = await ctx.data(share, inputs);
    return { first, training: data, ...(other && { validation: { data: other, metric } }) };
  }
  const [held, training] = await split(data, share, options.seed);
  return { first, training, validation: { data: held, metric } };
}

async function firstSample(data: Dataset) {
  for await (const sample of data) return sample;
  return undefined;
}

/** What a checkpoint must share with the training that it resumes. */
function identityOf(model: Model, teacher: Model | undefined, options: TrainSettings, parts: DataParts): string {
  const weights = (each: Model) =>
    each.graph.initializers.flatMap(({ tensor }) => (tensor && tensor.dtype !== "string" ? [hashTensor(tensor)] : []));
  const data = [parts.training, parts.validation?.data].map((each) => each && [each.name, each.size]);
  return JSON.stringify([options, data, weights(model), teacher ? weights(teacher) : []]);
}

async function resumeFrom({ resume, checkpoint }: FinetuneSettings, identity: string, ctx: StepContext) {
  if (!resume) return undefined;
  if (checkpoint === undefined)
    throw new TersorError("bad-recipe", "resume: there is no checkpoint to go on from. Name its file with checkpoint.");
  const bytes = await ctx.files.readOwn(checkpoint);
  return bytes && decodeCheckpoint(bytes, checkpoint, identity);
}
