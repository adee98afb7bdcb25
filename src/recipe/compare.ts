/** @file Compares a model with the original: how close its outputs are, how well it does its job, how fast it is. */
import { type Batch, batches, fixedBatch, unbatch } from "../data/batch.ts";
import { type Dataset, type SkippedSample, skippedSamples, take } from "../data/dataset.ts";
import type { InputInfo } from "../data/fit-input.ts";
import { hasNaN, holdsNaN } from "../data/not-a-number.ts";
import type { Positions } from "../data/padding.ts";
import { seededDataset } from "../data/seeded.ts";
import { type ChosenMetric, metricForLabel, outputTypes, settleMetric } from "../evaluate/choose-metric.ts";
import { type Fidelity, FidelityMeter, type PaddingLeftOut } from "../evaluate/fidelity.ts";
import { followsMask, maskInput } from "../evaluate/fidelity-padding.ts";
import { type LatencyReport, measureLatency } from "../evaluate/latency.ts";
import { PairedDifference } from "../evaluate/paired-difference.ts";
import type { Model } from "../ir/model.ts";
import type { Feeds } from "../runtime/io.ts";
import type { Session } from "../runtime/runtime.ts";
import { TersorError } from "../util/errors.ts";
import { own } from "../util/own.ts";
import { classNotes } from "./data/class-notes.ts";
import { nanNotes } from "./data/nan-note.ts";
import type { StepContext } from "./step.ts";

/** A metric of both models. */
export interface MetricChange extends Pick<ChosenMetric, "name" | "unit" | "higherIsBetter" | "output"> {
  readonly before: number;
  readonly after: number;
  /** Of `after − before`, over the samples; absent where it can't be told. */
  readonly standardError?: number;
}

export interface Agreement {
  /** What the inputs were. */
  readonly data: {
    readonly name: string;
    readonly samples: number;
    readonly madeUp: boolean;
    /** By index, where sub-folders are the classes. */
    readonly classes?: readonly string[];
    /** Left out as unreadable. */
    readonly skipped: readonly SkippedSample[];
  };
  /** By output name. */
  readonly fidelity: Readonly<Record<string, Fidelity>>;
  readonly metric?: MetricChange;
  /** What was decided without being asked, and what is wrong with the samples. */
  readonly notes?: readonly string[];
}

/** Which of several outputs a metric is of follows from the original's graph. */
type Watch = Pick<StepContext, "signal" | "progress"> & Partial<Pick<StepContext, "original">>;

/** Samples from the seed when there is no data. */
export const MADE_UP_SAMPLES = 8;

export interface InputChoice {
  /** Shapes by input name, or one size by the name of a symbol: what the model leaves open. For made-up inputs only. */
  readonly shapes?: Readonly<Record<string, readonly number[]>> | undefined;
  readonly samples?: number | undefined;
  readonly seed: number;
}

/** The data, cut to `samples`; without data, inputs made up from the seed. @throws bad-recipe for shapes that fit no input */
export function chooseInputs(data: Dataset | undefined, inputs: readonly InputInfo[], choice: InputChoice): Dataset {
  const { shapes = {}, samples, seed } = choice;
  if (data) return samples === undefined ? data : take(data, samples);
  const symbols = new Set(inputs.flatMap((input) => input.dims.filter((dim) => typeof dim === "string")));
  const isSymbol = ([name, dims]: readonly [string, readonly number[]]) => symbols.has(name) && dims.length === 1;
  const entries = Object.entries(shapes);
  const dims = Object.fromEntries(entries.filter(isSymbol).map(([name, [size = 1]]) => [name, size]));
  const own = Object.fromEntries(entries.filter((entry) => !isSymbol(entry)));
  const shaped = withShapes(inputs, own);
  // One row a sample: as many as the model wants at once are joined when it runs.
  const rows =
    fixedBatch(inputs) === undefined
      ? shaped
      : shaped.map((input) => ({ ...input, dims: [1, ...input.dims.slice(1)] }));
  return seededDataset(rows, { seed, count: samples ?? MADE_UP_SAMPLES, dims });
}

/** The inputs with other shapes. @throws bad-recipe for a name that is no input or a shape that contradicts the declared one. */
function withShapes(
  inputs: readonly InputInfo[],
  shapes: Readonly<Record<string, readonly number[]>>,
): readonly InputInfo[] {
  for (const [name, dims] of Object.entries(shapes)) {
    const input = inputs.find((each) => each.name === name);
    if (!input)
      throw new TersorError(
        "bad-recipe",
        `shape of "${name}": the model has no such input: expected one of ${inputs.map((each) => each.name).join(", ")}.`,
      );
    const fits =
      input.dims.length === 0 ||
      (dims.length === input.dims.length && input.dims.every((dim, at) => typeof dim !== "number" || dim === dims[at]));
    if (!fits)
      throw new TersorError(
        "bad-recipe",
        `shape of "${name}": does not fit the model: expected [${input.dims.map((dim) => dim ?? "?").join(", ")}], got [${dims.join(", ")}].`,
      );
  }
  return inputs.map((input) => ({ ...input, dims: own(shapes, input.name) ?? input.dims }));
}

/**
 * Runs both models on every sample. The metric is the given one, else the one that suits the labels; none without labels.
 * @throws bad-data, shape-mismatch, runtime-failed, aborted as the parts do.
 */
export async function measureAgreement(
  [reference, candidate]: readonly [Session, Session],
  data: Dataset,
  watch: Watch,
  chosen?: ChosenMetric,
): Promise<Agreement> {
  const { signal } = watch;
  const meter = new FidelityMeter(positionsOf(watch.original));
  let metric: ChosenMetric | undefined = chosen;
  let scores: { before: ReturnType<ChosenMetric["create"]>; after: ReturnType<ChosenMetric["create"]> } | undefined;
  let paired: PairedDifference | undefined;
  let samples = 0;
  const notes: string[] = [];
  const unanswered = new Map<string, string | undefined>();
  const progress = watch.progress("comparing", data.size ?? 0, "samples");
  try {
    for await (const batch of sampleBatches(reference, data)) {
      const rows = rowsOf(reference);
      const before = unbatch(await reference.run(batch.inputs, undefined, { signal }), rows);
      const after = unbatch(await candidate.run(batch.inputs, undefined, { signal }), rows);
      for (const [row, sample] of batch.samples.entries()) {
        const [wanted = {}, given = {}] = [before[row], after[row]];
        meter.add(wanted, given, sample.inputs);
        if (Object.values(wanted).some(hasNaN)) unanswered.set(sample.id, holdsNaN(sample));
        if (samples++ === 0) {
          const asked = metric ?? metricForLabel(sample);
          const settled = asked && watch.original && settleMetric(asked, watch.original, sample);
          metric = settled?.metric ?? asked;
          notes.push(...(settled?.notes ?? []), ...(metric ? classNotes(data, watch.original, metric.output) : []));
        }
        scores ??= metric && { before: metric.create(), after: metric.create() };
        paired ??= metric && new PairedDifference(metric);
        paired?.add(wanted, given, sample);
        scores?.before.add(wanted, sample);
        scores?.after.add(given, sample);
      }
      progress.update(samples);
    }
  } catch (error) {
    throw data.synthetic ? adviseData(error) : error;
  } finally {
    progress.end();
  }
  if (samples === 0) throw new TersorError("bad-data", `${data.name}: holds no samples. Nothing can be compared.`);
  notes.push(...meter.padding().map(paddingNote), ...nanNotes(unanswered, "the original"));
  return {
    data: {
      name: data.name,
      samples,
      madeUp: data.synthetic ?? false,
      ...(data.classes && { classes: data.classes }),
      skipped: skippedSamples(data),
    },
    fidelity: meter.result(),
    ...(metric &&
      scores && { metric: change(metric, [scores.before.value(), scores.after.value()], paired?.standardError) }),
    ...(notes.length > 0 && { notes }),
  };
}

/** Whether outputs have a place for each position that the mask is about, by the sizes that the original gives a name. */
function positionsOf(original: Model | undefined): (output: string) => Positions {
  const mask = original && maskInput(original.graph);
  if (!mask) return () => undefined;
  const typeOf = outputTypes(original);
  const known = new Map(original.graph.outputs.map((value) => [value.name, followsMask(typeOf(value), mask.type)]));
  return (output) => known.get(output);
}

function paddingNote({ mask, output, positions, of }: PaddingLeftOut): string {
  return `padding does not count: "${mask}" is 0 at ${positions} of ${of} positions of output "${output}"`;
}

function change(
  { name, unit, higherIsBetter, output }: ChosenMetric,
  [before, after]: readonly [number, number],
  standardError: number | undefined,
): MetricChange {
  return {
    name,
    unit,
    higherIsBetter,
    ...(output !== undefined && { output }),
    before,
    after,
    ...(standardError !== undefined && { standardError }),
  };
}

/** Samples in the batches that a model wants, one by one where it takes any number. */
export function sampleBatches(session: Session, data: Dataset): AsyncIterable<Batch> {
  return batches(data, { size: rowsOf(session), pad: "split", last: "fill" });
}

const rowsOf = ({ inputs }: Session) => fixedBatch(inputs) ?? 1;

/** Made-up inputs of made-up sizes need not suit a model: the error says what does. */
function adviseData(error: unknown): unknown {
  if (!(error instanceof TersorError) || error.code !== "runtime-failed") return error;
  return new TersorError(
    error.code,
    `${error.message} The inputs were made up: give real ones with --data, or their sizes with --shapes.`,
    { cause: error },
  );
}

/** How the two worst-measured things of an agreement sum up: mean noise-to-signal ratio over the outputs. Smaller is closer. */
export function outputError(fidelity: Agreement["fidelity"]): number {
  const ratios = Object.values(fidelity).map(({ sqnr }) => 10 ** (-sqnr / 10));
  return ratios.reduce((sum, ratio) => sum + ratio, 0) / Math.max(1, ratios.length);
}

/** Rounds of runs, in turns. */
const RUNS_PER_TURN = 5;
/** No further round begins after this long. */
const LATENCY_BUDGET_MS = 10_000;

/** Times both models in turns on the first sample, `runs` runs of each or as many as the time allows. */
export async function compareLatency(
  sessions: Readonly<Record<"before" | "after", Session>>,
  data: Dataset,
  runs: number,
  { signal, progress }: Watch,
): Promise<LatencyReport> {
  const feeds = await firstFeeds(sessions.before, data);
  const perTurn = Math.min(RUNS_PER_TURN, runs);
  const rounds = Math.max(1, Math.round(runs / perTurn));
  const line = progress("timing", rounds, "rounds");
  try {
    return await measureLatency(
      {
        before: (count) => sessions.before.time(feeds, count, { signal }),
        after: (count) => sessions.after.time(feeds, count, { signal }),
      },
      { rounds, runs: perTurn, budgetMs: LATENCY_BUDGET_MS, signal, onRound: (done) => line.update(done) },
    );
  } finally {
    line.end();
  }
}

async function firstFeeds(session: Session, data: Dataset): Promise<Feeds> {
  const size = rowsOf(session);
  for await (const { inputs } of batches(take(data, size), { size, last: "fill" })) return inputs;
  throw new TersorError("bad-data", `${data.name}: holds no samples. Nothing can be timed.`);
}
