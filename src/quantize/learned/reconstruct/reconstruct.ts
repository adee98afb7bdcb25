/**
 * @file Learns how weights are rounded: unit after unit, so that each gives what it gave in the float model, on inputs that the units before it
 * give when they are rounded already.
 */
import { type Batch, batches } from "../../../data/batch.ts";
import type { Dataset } from "../../../data/dataset.ts";
import type { Model } from "../../../ir/model.ts";
import { tensorType } from "../../../ir/types.ts";
import type { Value } from "../../../ir/value.ts";
import { exposeWeights } from "../../../passes/expose-weights.ts";
import { throwIfAborted } from "../../../runtime/abort.ts";
import type { Outputs } from "../../../runtime/io.ts";
import type { Runtime, Session, SessionOptions } from "../../../runtime/runtime.ts";
import { type HostTensor, hostTensor } from "../../../tensor/host-tensor.ts";
import type { Tensor } from "../../../tensor/tensor.ts";
import { optimizers } from "../../../train/optimizer.ts";
import { trainOptions } from "../../../train/options.ts";
import { TrainSession } from "../../../train/session.ts";
import { TersorError } from "../../../util/errors.ts";
import { Rng } from "../../../util/rng.ts";
import { findSlots, type WeightSlot } from "../qat/slots.ts";
import { extractUnit, unitInputs } from "./extract.ts";
import { decidedCodes, type SoftUnit, softenUnit } from "./soft-rounding.ts";
import { reconstructionUnits, type Unit, type UnitKind } from "./units.ts";

export interface ReconstructOptions {
  readonly kind: UnitKind;
  /** Steps of training for each unit. */
  readonly iterations: number;
  readonly seed: number;
  /** Learning rate of Adam. */
  readonly rate?: number;
  /** Weight of the penalty for what is not decided; the reconstruction error counts in units of what rounding to nearest leaves. */
  readonly pressure?: number;
}

export interface ReconstructEnvironment {
  /** Trains units. */
  readonly runtime: Runtime;
  readonly session?: SessionOptions;
  /** Loads a model to see its values; sessions are released. */
  readonly open: (model: Model) => Promise<Session>;
  /** Samples in a run and in a step of training; 32 when absent. */
  readonly batchSize?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Steps done, of how many. */
  readonly onProgress?: (done: number, total: number) => void;
}

export interface ReconstructedUnit {
  /** Names of the layers' outputs. */
  readonly layers: readonly string[];
  /** SQNR in dB of the unit's output, on what it reads in the quantized model, rounded to nearest and as learned. */
  readonly before: number;
  readonly after: number;
}

export interface ReconstructResult {
  readonly model: Model;
  readonly units: readonly ReconstructedUnit[];
}

/** Bytes of a unit's inputs and outputs that are kept in memory; later batches are not learned from. */
const KEEP_BYTES = 1 << 30;

/** Share of the steps in which nothing presses towards the ends yet. */
const FREE = 0.2;
/** The exponent of the penalty falls from one to the other: at first only weights near an end feel it. */
const EXPONENTS = [20, 2] as const;
const BATCH = 32;
const RATE = 0.1;
const PRESSURE = 50;

/**
 * AdaRound (Nagel et al. 2020, https://arxiv.org/abs/2004.10568) by layers, BRECQ (Li et al. 2021, https://arxiv.org/abs/2102.05426) by blocks.
 * Deviations: the squared error of all outputs counts alike, where BRECQ weighs it by squared gradients of a task's loss; both terms of the loss are
 * in units that do not depend on the model; biases of Conv and Gemm train along, since what rounding does to means is lost in the error
 * of all outputs and adds up behind pooling; a unit that would come out worse on the data keeps its rounding.
 * @param float the model that was quantized: values and weights have the same names
 * @param quantized what it became; 8-bit weights stay as they are
 * @throws bad-data for data without samples; shape-mismatch, unsupported-op, runtime-failed and aborted as training
 */
export async function reconstruct(
  float: Model,
  quantized: Model,
  data: Dataset,
  { kind, iterations, seed, rate = RATE, pressure = PRESSURE }: ReconstructOptions,
  env: ReconstructEnvironment,
): Promise<ReconstructResult> {
  const result = exposeWeights(quantized).model.clone();
  const original = exposeWeights(float).model;
  const units = reconstructionUnits(original, result, kind);
  const given: Batch[] = [];
  const size = rowsAtOnce(original, env.batchSize ?? BATCH);
  for await (const batch of batches(data, { size, pad: "split" })) given.push(batch);
  if (given.length === 0)
    throw new TersorError("bad-data", `${data.name}: holds no samples. Rounding is learned from some: 256 and more.`);
  const done: ReconstructedUnit[] = [];
  for (const [index, unit] of units.entries()) {
    const inputs = unitInputs(result, unit);
    const onStep = (step: number) => env.onProgress?.(index * iterations + step, units.length * iterations);
    const seen = inputs && (await observe(original, result, unit, inputs, given, env));
    const part = seen?.[0] && extractUnit(result, unit, seen[0].inputs);
    const before = seen && part ? await errorOf(part, seen, env) : 0;
    const isShared = (name: string) => (result.graph.find(name)?.uses.size ?? 0) > 1;
    const soft = part && before > 0 ? softenUnit(part, original, Math.sqrt(before), isShared) : undefined;
    if (seen && part && soft) {
      const learning = { before, iterations, seed, rate, force: pressure, onStep };
      const trained = await learn(soft, unit, seen, learning, env);
      const tensors = tensorsOf(soft, trained, result);
      const after = await errorOf(replaced(part, tensors), seen, env);
      const isBetter = after < before;
      if (isBetter) exchange(result, tensors);
      const energy = meanOf(seen, ({ target }) => meanSquare(target.data as Float32Array));
      const decibels = (error: number) => 10 * Math.log10(energy / error);
      done.push({ layers: unit.layers, before: decibels(before), after: decibels(isBetter ? after : before) });
    }
    onStep(iterations);
  }
  return { model: result, units: done };
}

/**
 * Rows that the model is run with: those that all its inputs are made for, else as many as are asked for. One by one where an input, such as
 * a recurrent state, has its samples along another axis than the first: they can't be joined.
 */
function rowsAtOnce({ graph }: Model, asked: number): number {
  const shapes = graph.inputs.flatMap(({ isConstant, type }) =>
    !isConstant && type?.kind === "tensor" && type.shape?.length !== 0 ? [type.shape ?? []] : [],
  );
  const firsts = new Set(shapes.map(([first]) => first));
  const [first] = firsts;
  if (typeof first === "number" && firsts.size === 1) return first;
  // The name that leads one input stands inside of another that something else leads.
  const isInside = shapes.some(([lead, ...inner]) =>
    inner.some((dim) => typeof dim === "string" && dim !== lead && firsts.has(dim)),
  );
  return isInside || [...firsts].some((lead) => typeof lead === "number") ? 1 : asked;
}

/** What a unit reads and is to give, in one batch. */
interface Seen {
  readonly inputs: Outputs;
  readonly target: HostTensor;
}

async function observe(
  float: Model,
  quantized: Model,
  unit: Unit,
  inputs: readonly string[],
  given: readonly Batch[],
  { open, signal }: ReconstructEnvironment,
): Promise<Seen[]> {
  const fed = new Set(quantized.graph.inputs.map(({ name }) => name));
  const wanted = inputs.filter((name) => !fed.has(name));
  const sessions = [await open(withOutputs(float, [unit.target]))];
  const seen: Seen[] = [];
  let bytes = 0;
  try {
    if (wanted.length > 0) sessions.push(await open(withOutputs(quantized, wanted)));
    for (const batch of given) {
      throwIfAborted(signal, "reconstruction");
      const [targets, values = {}] = await Promise.all(
        sessions.map((session, i) => session.run(batch.inputs, i === 0 ? [unit.target] : wanted)),
      );
      const own = Object.fromEntries(inputs.map((name) => [name, (values[name] ?? batch.inputs[name]) as HostTensor]));
      const target = targets?.[unit.target] as HostTensor;
      bytes += [...Object.values(own), target].reduce((sum, { data }) => sum + data.length * 4, 0);
      if (bytes > KEEP_BYTES && seen.length > 0) break;
      seen.push({ inputs: own, target });
    }
  } finally {
    for (const session of sessions) await session.release();
  }
  return seen;
}

function withOutputs(model: Model, names: readonly string[]): Model {
  const copy = model.clone();
  for (const name of names) {
    const value = copy.graph.find(name) as Value;
    if (!value.isOutput) copy.graph.addOutput(value);
  }
  return copy;
}

interface Learning {
  readonly before: number;
  readonly iterations: number;
  readonly seed: number;
  readonly rate: number;
  readonly force: number;
  readonly onStep: (step: number) => void;
}

/** What the initializers of a unit become. */
function tensorsOf({ weights, biases }: SoftUnit, trained: Outputs, { graph }: Model): Map<string, Tensor> {
  const slots = new Map(findSlots(graph).weights.map((slot) => [slot.codes.name, slot]));
  const valuesOf = (name: string) => trained[name]?.data as Float32Array;
  const codes = weights.map((weight) => {
    const slot = slots.get(weight.codes) as WeightSlot;
    return [weight.codes, slot.encode(decidedCodes(weight, valuesOf(weight.parameter)))] as const;
  });
  return new Map([...codes, ...biases.map((bias) => [bias.name, bias.tensor(valuesOf(bias.parameter))] as const)]);
}

/** Trains one unit: what became of the parameters. */
async function learn(
  { model, weights, biases, exponent, pressure, penalty, count }: SoftUnit,
  { output }: Unit,
  seen: readonly Seen[],
  { before, iterations, seed, rate, force, onStep }: Learning,
  { runtime, session: sessionOptions = {}, signal }: ReconstructEnvironment,
): Promise<Outputs> {
  const { graph } = model;
  const rank = (seen[0] as Seen).target.dims.map(() => null);
  const target = graph.addValue("rounding.target", tensorType("float32", rank));
  const none = graph.addValue("rounding.none", tensorType("float32", []));
  for (const input of [target, none]) graph.addInput(input);
  const settings = trainOptions.parse({
    loss: [
      { name: "mse", output, target: `input:${target.name}`, weight: 1 / before },
      { name: "l1", output: penalty, target: `input:${none.name}` },
    ],
    optimizer: "adam",
    rate,
    keepZeros: false,
    batchNorm: "frozen",
    dropout: false,
  });
  const parameters = [...weights, ...biases].map(({ parameter }) => parameter);
  const session = new TrainSession(model, {
    runtime,
    session: sessionOptions,
    settings,
    parameters,
    teacherSlots: new Map(),
  });
  const scalar = (value: number) => hostTensor("float32", [], [value]);
  const rng = new Rng(seed, output);
  const free = Math.round(FREE * iterations);
  let order: number[] = [];
  try {
    for (let step = 0; step < iterations; step++) {
      throwIfAborted(signal, "reconstruction");
      if (order.length === 0) order = rng.shuffle(seen.map((_, i) => i));
      const { inputs, target: wanted } = seen[order.pop() as number] as Seen;
      const progress = Math.max(0, step - free) / Math.max(1, iterations - free);
      const [from, to] = EXPONENTS;
      const feeds = {
        ...inputs,
        [target.name]: wanted,
        [none.name]: scalar(0),
        [exponent]: scalar(to + (from - to) * (1 - progress)),
        [pressure]: scalar(step < free ? 0 : force / count),
      };
      const scalars = optimizers.adam.scalars(step + 1, rate, settings.optimizer);
      await session.step({ samples: [], inputs: feeds }, step, scalars, signal);
      onStep(step + 1);
    }
    return await session.weights();
  } finally {
    await session.release();
  }
}

/** Mean squared error of a unit's output. */
async function errorOf(unit: Model, seen: readonly Seen[], { open }: ReconstructEnvironment): Promise<number> {
  const session = await open(unit);
  try {
    const [output = ""] = unit.graph.outputs.map(({ name }) => name);
    let sum = 0;
    for (const { inputs, target } of seen) {
      const given = (await session.run(inputs, [output]))[output] as HostTensor;
      const wanted = target.data as Float32Array;
      sum += meanSquare((given.data as Float32Array).map((value, i) => value - (wanted[i] as number)));
    }
    return sum / seen.length;
  } finally {
    await session.release();
  }
}

const meanSquare = (values: Float32Array) => values.reduce((sum, value) => sum + value * value, 0) / values.length;

const meanOf = <T>(items: readonly T[], value: (item: T) => number) =>
  items.reduce((sum, item) => sum + value(item), 0) / items.length;

function replaced(model: Model, tensors: ReadonlyMap<string, Tensor>): Model {
  const copy = model.clone();
  exchange(copy, tensors);
  return copy;
}

function exchange({ graph }: Model, tensors: ReadonlyMap<string, Tensor>): void {
  for (const [name, tensor] of tensors) (graph.find(name) as Value).tensor = tensor;
}
