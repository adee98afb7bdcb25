/** @file The sessions of one training: a step graph for every shape of batch, all on one set of weights in the runtime's slots. */
import type { Batch } from "../data/batch.ts";
import { openModel } from "../evaluate/open-model.ts";
import type { Model } from "../ir/model.ts";
import type { Outputs } from "../runtime/io.ts";
import type { Runtime, Session, SessionOptions } from "../runtime/runtime.ts";
import { type HostTensor, hostTensor } from "../tensor/host-tensor.ts";
import { elementCount, type TypedArray } from "../tensor/tensor.ts";
import { TersorError } from "../util/errors.ts";
import { drawMask } from "./dropout.ts";
import { splitTarget } from "./emit-losses.ts";
import type { TrainSettings } from "./options.ts";
import { withWeightsAsInputs } from "./parameters.ts";
import { type StateTensor, type TrainingStep, trainingStep } from "./step-graph.ts";
import { labelTensor } from "./targets.ts";

/** Step graphs that are kept loaded: one for every shape of batch. */
const SESSION_LIMIT = 16;

interface LoadedStep {
  readonly step: TrainingStep;
  readonly session: Session;
}

export interface TrainSessionOptions {
  readonly runtime: Runtime;
  readonly session: SessionOptions;
  readonly settings: TrainSettings;
  readonly parameters: readonly string[];
  /** Slots that hold values of a teacher for the batch at hand, by the value's name. */
  readonly teacherSlots: ReadonlyMap<string, string>;
}

export interface StepResult {
  /** The weighted sum of the losses, and each of them. */
  readonly loss: number;
  readonly parts: readonly number[];
}

export class TrainSession {
  readonly #model: Model;
  readonly #options: TrainSessionOptions;
  readonly #steps = new Map<string, LoadedStep>();
  #state: readonly StateTensor[] = [];
  #trained: TrainingStep["trained"] = [];
  #evaluation: Session | undefined;

  constructor(model: Model, options: TrainSessionOptions) {
    this.#model = model;
    this.#options = options;
  }

  /** Parameters that train. Known after {@link load}. */
  get trained(): TrainingStep["trained"] {
    return this.#trained;
  }

  /** Loads the step for batches like this one; the first call puts the state into the slots. The teacher has seen the batch already. */
  async load(batch: Batch): Promise<LoadedStep> {
    const key = Object.entries(batch.inputs)
      .map(([name, { dims }]) => `${name} ${dims}`)
      .join(";");
    const known = this.#steps.get(key);
    if (known) return known;
    const { runtime, settings, parameters } = this.#options;
    const shapes = Object.fromEntries(Object.entries(batch.inputs).map(([name, { dims }]) => [name, dims]));
    const teacherTypes = await this.#teacherTypes();
    const step = trainingStep(this.#model, { ...settings, losses: settings.loss, parameters, shapes, teacherTypes });
    const [oldest] = this.#steps;
    if (oldest && this.#steps.size >= SESSION_LIMIT) {
      await oldest[1].session.release();
      this.#steps.delete(oldest[0]);
    }
    const session = await openModel(step.model, runtime, this.#options.session);
    const loaded = { step, session };
    this.#steps.set(key, loaded);
    if (this.#trained.length === 0) {
      this.#state = step.state;
      this.#trained = step.trained;
      await runtime.slots.put(initialState(this.#model, step.state));
    }
    return loaded;
  }

  /** Step `index` of the training, on a batch: the weights in the slots are the next ones afterwards. */
  async step(
    batch: Batch,
    index: number,
    scalars: Readonly<Record<string, number>>,
    signal?: AbortSignal,
  ): Promise<StepResult> {
    const { step, session } = await this.load(batch);
    const read = new Map(step.state.map(({ name }) => [name, name]));
    const write = Object.fromEntries(step.state.map(({ name, next }) => [next, name]));
    const feeds = new Map<string, HostTensor>();
    const known = new Set(session.inputs.map(({ name }) => name));
    for (const [name, tensor] of Object.entries(batch.inputs)) if (known.has(name)) feeds.set(name, tensor);
    for (const target of step.targets) {
      const [kind = "", source = ""] = splitTarget(target.target);
      const slot = kind === "teacher" ? this.#options.teacherSlots.get(source) : undefined;
      if (slot !== undefined) read.set(target.name, slot);
      else feeds.set(target.name, labelTensor(batch.samples, target));
    }
    for (const [name, input] of step.scalars) feeds.set(input, hostTensor("float32", [], [scalars[name] ?? 0]));
    for (const mask of step.masks) feeds.set(mask.name, drawMask(mask, this.#options.settings.seed, index));
    const fetches = [...new Set([step.loss, ...step.parts])];
    const outputs = await session.run(Object.fromEntries(feeds), fetches, {
      read: Object.fromEntries(read),
      write,
      ...(signal && { signal }),
    });
    const scalar = (name: string) => Number(outputs[name]?.data[0]);
    return { loss: scalar(step.loss), parts: step.parts.map(scalar) };
  }

  /** Runs the model as it was given, in inference form, on the weights as they are now. */
  async predict(batch: Batch, signal?: AbortSignal): Promise<Outputs> {
    const names = this.#weightSlots();
    this.#evaluation ??= await openModel(
      withWeightsAsInputs(this.#model, Object.keys(names)),
      this.#options.runtime,
      this.#options.session,
    );
    return this.#evaluation.run(batch.inputs, undefined, { read: names, ...(signal && { signal }) });
  }

  /** The weights as they are now, averaged where an average is kept: by name. */
  async weights(): Promise<Record<string, HostTensor>> {
    const names = this.#weightSlots();
    const tensors = await this.#stateOf(Object.values(names));
    return Object.fromEntries(Object.entries(names).map(([name, slot]) => [name, tensors[slot] as HostTensor]));
  }

  /** Everything that the next step reads. */
  async state(): Promise<Outputs> {
    return this.#stateOf(this.#state.map(({ name }) => name));
  }

  /** What {@link state} gave, put back. @throws bad-data for anything else */
  async restore(state: Outputs): Promise<void> {
    const names = new Set(this.#state.map(({ name }) => name));
    const odd =
      this.#state.find(({ name, dims }) => !Object.hasOwn(state, name) || `${state[name]?.dims}` !== `${dims}`)?.name ??
      Object.keys(state).find((name) => !names.has(name));
    if (odd !== undefined)
      throw new TersorError(
        "bad-data",
        `checkpoint: state "${odd}": expected what the training has at every step, got ${Object.hasOwn(state, odd) ? `[${state[odd]?.dims}]` : "nothing"}. Train from the start without resume.`,
      );
    await this.#options.runtime.slots.put(state);
  }

  async release(): Promise<void> {
    for (const { session } of this.#steps.values()) await session.release();
    await this.#evaluation?.release();
    await this.#options.runtime.slots.drop(this.#state.map(({ name }) => name));
  }

  /** dtype and dims of the teacher's values for the batch at hand. */
  async #teacherTypes() {
    const { runtime, teacherSlots } = this.#options;
    const tensors = await runtime.slots.get([...teacherSlots.values()]);
    return new Map([...teacherSlots].map(([name, slot]) => [name, tensors[slot] as HostTensor]));
  }

  /** What slots hold, in the dims of the state: steps leave it in tiles. */
  async #stateOf(names: readonly string[]): Promise<Outputs> {
    const dims = new Map(this.#state.map((each) => [each.name, each.dims]));
    const tensors = await this.#options.runtime.slots.get(names);
    return Object.fromEntries(
      Object.entries(tensors).map(([name, tensor]) => [name, { ...tensor, dims: dims.get(name) ?? tensor.dims }]),
    );
  }

  /** Weights and running statistics of the model, and the slots to read them from. */
  #weightSlots(): Record<string, string> {
    const averages = new Map(this.#trained.map(({ name, average }) => [name, average ?? name]));
    const own = this.#state.filter(({ name, from }) => from === name);
    return Object.fromEntries(own.map(({ name }) => [name, averages.get(name) ?? name]));
  }
}

function initialState(model: Model, state: readonly StateTensor[]): Record<string, HostTensor> {
  return Object.fromEntries(
    state.map(({ name, dims, from, initial }) => {
      const tensor = from === undefined ? initial?.slice() : tensorNamed(model, from);
      const data: TypedArray = tensor ?? new Float32Array(elementCount(dims));
      return [name, { dtype: "float32", dims, data }];
    }),
  );
}

/** A copy: slots own what they hold. Old exporters keep weights in Constant nodes. */
function tensorNamed(model: Model, name: string): TypedArray | undefined {
  const value = model.graph.find(name);
  const tensor = value?.tensor ?? value?.producer?.tensor("value");
  return tensor?.toTypedArray().slice();
}
