/** @file fit: trains a model on data, from the graph alone. */
import { type Batch, batches, unbatch } from "../data/batch.ts";
import { collect, type Dataset, datasetOf, type IndexedDataset, isIndexed, select } from "../data/dataset.ts";
import { hasNaN, holdsNaN } from "../data/not-a-number.ts";
import type { ChosenMetric } from "../evaluate/choose-metric.ts";
import type { Model } from "../ir/model.ts";
import { exposeWeights } from "../passes/expose-weights.ts";
import { throwIfAborted } from "../runtime/abort.ts";
import type { Outputs } from "../runtime/io.ts";
import type { Runtime, SessionOptions } from "../runtime/runtime.ts";
import type { HostTensor } from "../tensor/host-tensor.ts";
import { TersorError } from "../util/errors.ts";
import { parseOptions } from "../util/options.ts";
import { Rng } from "../util/rng.ts";
import { augmented } from "./augment.ts";
import { splitTarget } from "./emit-losses.ts";
import { causeOfNaN } from "./non-finite.ts";
import { optimizers } from "./optimizer.ts";
import { type TrainOptions, type TrainSettings, trainOptions } from "./options.ts";
import { chooseParameters, withWeights } from "./parameters.ts";
import { rateAt } from "./schedule.ts";
import { TrainSession } from "./session.ts";
import type { Teacher } from "./teacher.ts";

/** How far a training is, with all that the rest of it depends on. */
export interface Checkpoint {
  /** Steps done. */
  readonly step: number;
  /** Weights, running statistics and the optimizer's state, by name. */
  readonly state: Outputs;
  readonly best?: BestWeights | undefined;
  readonly history: readonly EpochRecord[];
  /** Losses since the last full epoch. */
  readonly losses: readonly number[];
  /** The metric on the validation data before the first step. */
  readonly before?: number | undefined;
}

export interface EpochRecord {
  readonly epoch: number;
  readonly steps: number;
  /** Mean over the epoch's steps. */
  readonly loss: number;
  readonly rate: number;
  /** The metric on the validation data. */
  readonly validation?: number;
}

interface BestWeights {
  readonly epoch: number;
  readonly value: number;
  readonly weights: Outputs;
}

export interface StepEvent {
  /** Counted from 1. */
  readonly step: number;
  readonly steps: number;
  readonly epoch: number;
  readonly loss: number;
  readonly parts: readonly number[];
  readonly rate: number;
  readonly samples: number;
}

export interface FitEnvironment {
  readonly runtime: Runtime;
  readonly session?: SessionOptions;
  readonly data: Dataset;
  /** Judged after every epoch; the weights that do best are returned. */
  readonly validation?: { readonly data: Dataset; readonly metric: ChosenMetric } | undefined;
  /** Opened with the values that losses compare with. */
  readonly teacher?: Teacher | undefined;
  /** Stops between two steps: {@link onCheckpoint} gets a last one, then `aborted` is thrown. */
  readonly signal?: AbortSignal | undefined;
  readonly onStep?: (event: StepEvent) => void;
  readonly onEpoch?: (record: EpochRecord) => void;
  /** Called after every epoch, and when stopped. */
  readonly onCheckpoint?: (checkpoint: Checkpoint) => Promise<void>;
  /** Where to go on; the same data and options are expected. */
  readonly resume?: Checkpoint | undefined;
}

export interface FitResult {
  readonly model: Model;
  readonly history: readonly EpochRecord[];
  /** The metric on the validation data before the first step. */
  readonly before?: number;
  /** The epoch whose weights these are, where validation chose; 0 is before the first. */
  readonly best?: { readonly epoch: number; readonly value: number };
  /** Names of what was trained, and of what was to be and has no influence on the loss. */
  readonly trained: readonly string[];
  readonly withoutGradient: readonly string[];
  /** The training broke off: the weights are the last good ones. */
  readonly diverged?: string;
  /** Samples of the validation that were answered with NaN at some time, which no metric takes for right, and which of their parts holds NaN. */
  readonly unanswered?: ReadonlyMap<string, string | undefined>;
}

/**
 * Trains float32 weights of a model and gives the same graph with new ones. Deterministic for a number of threads: the seed decides the
 * order of samples and how they vary.
 * @throws bad-data for data without samples or with labels that do not fit; shape-mismatch, unsupported-op as the step's graph; aborted
 */
export async function fit(
  model: Model,
  options: TrainOptions | TrainSettings,
  env: FitEnvironment,
): Promise<FitResult> {
  const settings = parseOptions(trainOptions, options, "train");
  const data = await inMemory(env.data);
  const batchSize = Math.min(settings.batchSize, data.size);
  const perEpoch = Math.floor(data.size / batchSize);
  const steps = Math.max(1, Math.round(settings.epochs * perEpoch));
  const parameters = chooseParameters(exposeWeights(model).model, settings);
  const wanted = settings.loss.map(({ target }) => splitTarget(target)).filter(([kind]) => kind === "teacher");
  if (wanted.length > 0 && !env.teacher)
    throw new TersorError("bad-recipe", `loss target "teacher:${wanted[0]?.[1]}": there is no teacher. Name a model.`);
  const session = new TrainSession(model, {
    runtime: env.runtime,
    session: env.session ?? {},
    settings,
    parameters,
    teacherSlots: new Map(wanted.map(([, name = ""]) => [name, teacherSlot(name)])),
  });
  const run = new Run({ model, settings, env, session, data, batchSize, perEpoch, steps });
  try {
    return await run.train(model, parameters);
  } finally {
    await session.release();
    await env.runtime.slots.drop(wanted.map(([, name = ""]) => teacherSlot(name)));
  }
}

const teacherSlot = (name: string) => `teacher.${name}`;

interface Plan {
  readonly model: Model;
  readonly settings: TrainSettings;
  readonly env: FitEnvironment;
  readonly session: TrainSession;
  readonly data: IndexedDataset;
  readonly batchSize: number;
  /** Steps in an epoch. */
  readonly perEpoch: number;
  readonly steps: number;
}

/** One training under way. */
class Run {
  readonly #plan: Plan;
  #step = 0;
  #history: EpochRecord[] = [];
  #losses: number[] = [];
  #best: BestWeights | undefined;
  #before: number | undefined;
  /** Samples of the validation that the model answers NaN to, with where they hold NaN themselves. */
  readonly #unanswered = new Map<string, string | undefined>();
  /** The last batch whose loss was finite. */
  #last: Batch | undefined;
  /** The last weights that were all finite. */
  #good: Record<string, HostTensor> | undefined;

  constructor(plan: Plan) {
    this.#plan = plan;
  }

  async train(model: Model, parameters: readonly string[]): Promise<FitResult> {
    const { session, env, steps, settings } = this.#plan;
    const first = await this.#firstBatch();
    await this.#teach(first);
    const { step } = await session.load(first);
    if (env.resume) await this.#resume(env.resume);
    this.#good = await session.weights();
    // A training that was stopped before it had judged the model as it was begins with that.
    if (this.#step === 0 && this.#before === undefined) {
      this.#before = await this.#validate();
      // Training that never helps gives the model as it was.
      if (this.#before !== undefined) this.#best = { epoch: 0, value: this.#before, weights: this.#good };
    }
    const { withoutGradient } = step;
    const trained = parameters.filter((name) => !withoutGradient.includes(name));
    if (trained.length === 0)
      throw new TersorError(
        "bad-data",
        `nothing to train: the loss depends on none of ${parameters.slice(0, 8).join(", ")}.`,
      );
    let diverged: string | undefined;
    while ((this.#step < steps || this.#losses.length > 0) && diverged === undefined) {
      // A training that was stopped while it was judged goes on with that.
      const epoch = this.#history.length;
      diverged = await this.#epoch(epoch);
      if (diverged !== undefined) break;
      diverged = await this.#endEpoch(epoch);
      if (this.#isStale(settings.patience)) break;
    }
    const weights =
      (diverged === undefined ? undefined : this.#good) ?? this.#best?.weights ?? (await session.weights());
    return {
      model: withWeights(model, weights),
      history: this.#history,
      ...(this.#before !== undefined && { before: this.#before }),
      ...(this.#best && { best: { epoch: this.#best.epoch, value: this.#best.value } }),
      trained,
      withoutGradient,
      ...(diverged !== undefined && { diverged }),
      ...(this.#unanswered.size > 0 && { unanswered: this.#unanswered }),
    };
  }

  /** The rest of an epoch. Gives the reason when the loss is no number any more. */
  async #epoch(epoch: number): Promise<string | undefined> {
    const { session, env, steps, perEpoch, settings, batchSize } = this.#plan;
    const source = this.#batches(epoch, this.#step % perEpoch)[Symbol.asyncIterator]();
    // The next batch is read while a step runs.
    let coming = source.next();
    coming.catch(() => {});
    while (this.#step < Math.min(steps, (epoch + 1) * perEpoch)) {
      const { value: batch, done } = await coming;
      if (done) break;
      coming = source.next();
      coming.catch(() => {});
      await this.#stopIfAborted();
      await this.#teach(batch);
      const rate = rateAt(this.#step, steps, settings.rate, settings.schedule);
      const { loss, parts } = await session.step(batch, this.#step, this.#scalars(rate));
      this.#step++;
      if (!Number.isFinite(loss)) return this.#reason(`the loss became ${loss}`, rate, batch);
      this.#last = batch;
      this.#losses.push(loss);
      env.onStep?.({ step: this.#step, steps, epoch, loss, parts, rate, samples: this.#step * batchSize });
    }
    return undefined;
  }

  /** Leaves what the teacher says of a batch in its slots. */
  async #teach(batch: Batch): Promise<void> {
    await this.#plan.env.teacher?.run(batch, teacherSlot);
  }

  /** Updates are counted, not batches, where several make one. Losses have the weight that they have at this step. */
  #scalars(rate: number): Record<string, number> {
    const { settings, perEpoch } = this.#plan;
    const { optimizer, accumulate, loss } = settings;
    const update = Math.floor(this.#step / accumulate) + 1;
    const isLast = (this.#step + 1) % accumulate === 0;
    const weights = loss.map(({ weight, since, until = Number.POSITIVE_INFINITY }, i) => {
      const [begin, end] = [since, until].map((epochs) => Math.round(epochs * perEpoch)) as [number, number];
      return [`loss.${i}`, this.#step >= begin && this.#step < end ? weight : 0] as const;
    });
    return {
      ...optimizers[optimizer.name].scalars(update, rate, optimizer),
      ...Object.fromEntries(weights),
      apply: Number(isLast),
    };
  }

  /** Judges the epoch and keeps what it gave. Gives the reason when weights are no numbers any more: the last step has no loss after it. */
  async #endEpoch(epoch: number): Promise<string | undefined> {
    const { env, session, settings, steps, perEpoch } = this.#plan;
    const rate = rateAt(this.#step - 1, steps, settings.rate, settings.schedule);
    const weights = await session.weights();
    const good = this.#good ?? {};
    const broken = Object.entries(weights).find(([name, value]) => !allFinite(value) && allFinite(good[name] ?? value));
    if (broken) return this.#reason(`weight "${broken[0]}" is no longer finite`, rate, undefined);
    this.#good = weights;
    const validation = await this.#validate();
    const loss = this.#losses.reduce((sum, each) => sum + each, 0) / Math.max(1, this.#losses.length);
    const record = { epoch: epoch + 1, steps: Math.min(this.#step, perEpoch), loss, rate };
    this.#losses = [];
    this.#history.push({ ...record, ...(validation !== undefined && { validation }) });
    if (validation !== undefined && this.#isBetter(validation))
      this.#best = { epoch: epoch + 1, value: validation, weights };
    env.onEpoch?.(this.#history.at(-1) as EpochRecord);
    await env.onCheckpoint?.(await this.#checkpoint());
    return undefined;
  }

  async #validate(): Promise<number | undefined> {
    const { env, session, batchSize, settings } = this.#plan;
    if (!env.validation) return undefined;
    const { data, metric } = env.validation;
    const score = metric.create();
    const options = { size: batchSize, pad: settings.pad ?? "split", last: "keep" } as const;
    for await (const batch of batches(data, options)) {
      await this.#stopIfAborted();
      const outputs = unbatch(await session.predict(batch), batch.samples.length);
      for (const [row, sample] of batch.samples.entries()) {
        const answers = outputs[row] ?? {};
        if (Object.values(answers).some(hasNaN)) this.#unanswered.set(sample.id, holdsNaN(sample));
        score.add(answers, sample);
      }
    }
    return score.value();
  }

  async #stopIfAborted(): Promise<void> {
    const { signal, onCheckpoint } = this.#plan.env;
    if (!signal?.aborted) return;
    await onCheckpoint?.(await this.#checkpoint());
    throwIfAborted(signal, "training");
  }

  #isBetter(value: number): boolean {
    if (!this.#best) return true;
    return this.#plan.env.validation?.metric.higherIsBetter ? value > this.#best.value : value < this.#best.value;
  }

  #isStale(patience: number | undefined): boolean {
    if (patience === undefined || !this.#best) return false;
    // What was judged before all losses count is no measure of what comes.
    const begun = Math.max(this.#best.epoch, ...this.#plan.settings.loss.map(({ since }) => Math.ceil(since)));
    return (this.#history.at(-1)?.epoch ?? 0) - begun >= patience;
  }

  /** Batches of an epoch from a step of it on: the order depends on seed and epoch alone. */
  #batches(epoch: number, from: number): AsyncIterable<Batch> {
    const { settings, data, batchSize } = this.#plan;
    const order = new Rng(settings.seed, `epoch ${epoch}`).shuffle(Array.from({ length: data.size }, (_, i) => i));
    const rest = select(data, order.slice(from * batchSize));
    const { variants = Number.POSITIVE_INFINITY } = settings.augment;
    const varied = augmented(rest, settings.augment, settings.seed * 1_000_003 + (epoch % variants));
    return batches(varied, { size: batchSize, pad: settings.pad ?? "error", last: "drop" });
  }

  async #firstBatch(): Promise<Batch> {
    for await (const batch of this.#batches(0, 0)) return batch;
    throw new TersorError("bad-data", `${this.#plan.data.name}: holds no samples. There is nothing to train on.`);
  }

  /** What broke the training off: the data or an operator, where finite weights show it; else the rate is the likely cause. */
  async #reason(what: string, rate: number, batch: Batch | undefined): Promise<string> {
    const last = this.#losses.at(-1) ?? this.#history.at(-1)?.loss;
    const before = last === undefined ? "from the first step on" : `after ${last.toPrecision(4)}`;
    const { env, settings } = this.#plan;
    const cause = await causeOfNaN({
      model: withWeights(this.#plan.model, this.#good ?? {}),
      losses: settings.loss,
      batches: [batch, this.#last].flatMap((each) => each ?? []),
      runtime: env.runtime,
      session: env.session ?? {},
    });
    const advice = cause
      ? `The cause is not the rate: ${cause}`
      : last === undefined
        ? "Look at the inputs and labels for values that are far too large."
        : "The likely cause is a learning rate that is too high: try a tenth of it, clipNorm 1 or a warm-up.";
    const kept = this.#history.length > 0 ? `epoch ${this.#history.at(-1)?.epoch}` : "the beginning";
    return `step ${this.#step}: ${what} ${before}, at a rate of ${rate.toPrecision(3)}. The weights are those of ${kept}. ${advice}`;
  }

  async #checkpoint(): Promise<Checkpoint> {
    return {
      step: this.#step,
      state: await this.#plan.session.state(),
      best: this.#best,
      history: this.#history,
      losses: this.#losses,
      before: this.#before,
    };
  }

  async #resume({ step, state, best, history, losses, before }: Checkpoint): Promise<void> {
    const { steps, perEpoch } = this.#plan;
    if (step > steps || Math.min(steps, history.length * perEpoch) + losses.length !== step)
      throw new TersorError(
        "bad-data",
        `checkpoint: does not fit this training: expected at most ${steps} steps, ${perEpoch} in an epoch, got step ${step} after ${history.length} epochs and ${losses.length} more steps. Train from the start without resume.`,
      );
    await this.#plan.session.restore(state);
    this.#step = step;
    this.#best = best;
    this.#before = before;
    this.#history = [...history];
    this.#losses = [...losses];
  }
}

const allFinite = ({ data }: HostTensor) => (data as Float32Array).every(Number.isFinite);

/** Training reads samples in any order. */
async function inMemory(dataset: Dataset): Promise<IndexedDataset> {
  if (isIndexed(dataset) && !dataset.skipped) return dataset;
  return datasetOf(dataset.name, await collect(dataset));
}
