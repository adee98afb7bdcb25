/** @file One step of training as one graph: forward, losses, gradients, and the optimizer's update of every parameter. */
import { type Emitter, makeEmitter } from "../autodiff/emitter.ts";
import { gradient, gradientOpset } from "../autodiff/gradient.ts";
import type { Graph } from "../ir/graph.ts";
import type { Model } from "../ir/model.ts";
import type { Value } from "../ir/value.ts";
import { infer } from "../ops/infer.ts";
import type { InputShapes } from "../ops/infer-inputs.ts";
import { convertOpset } from "../passes/convert-opset/convert-opset.ts";
import { removeDeadCode } from "../passes/dead-code.ts";
import { exposeWeights } from "../passes/expose-weights.ts";
import type { TypedArray } from "../tensor/tensor.ts";
import { startTraining, trainableBatchNorms } from "./batch-norm.ts";
import { type DropoutMask, startDropping, trainableDropouts } from "./dropout.ts";
import { emitLosses, newInput, type TargetInput, type ValueTypes } from "./emit-losses.ts";
import type { LossSettings } from "./loss-rule.ts";
import { type OptimizerSettings, optimizers, rateScalars } from "./optimizer.ts";
import { groupsByName, type ParameterGroup } from "./parameters.ts";
import { inTiles } from "./tiles/tiles.ts";

export interface TrainingStepOptions {
  readonly losses: readonly LossSettings[];
  readonly optimizer: OptimizerSettings;
  /** Initializers to train, by name. */
  readonly parameters: readonly string[];
  /** Sizes of the model's inputs in one step, the batch included. */
  readonly shapes: InputShapes;
  /** Batch norms normalize by the batch and follow it, or stay as they are. */
  readonly batchNorm: "train" | "frozen";
  /** Whether dropouts drop. */
  readonly dropout: boolean;
  /** Parameters with a rate or a decay of their own. */
  readonly groups?: readonly ParameterGroup[] | undefined;
  /** Largest norm of all gradients together; longer ones are shortened. */
  readonly clipNorm?: number | undefined;
  /** Steps whose gradients are averaged into one update. */
  readonly accumulate: number;
  /** Decay of a moving average of the weights, kept beside them. */
  readonly average?: number | undefined;
  /** What the teacher's values are like in one step, by name; as the predictions where absent. */
  readonly teacherTypes?: ValueTypes;
  /** Seed of what is learned beside the model. */
  readonly seed?: number;
  /** Weights that are exactly zero stay so, pruned ones, say; but not those of a tensor of nothing but zeros, as biases begin. */
  readonly keepZeros: boolean;
}

/** What one step changes and the next one reads. */
export interface StateTensor {
  /** Name of the step's input. */
  readonly name: string;
  /** Name of the output that is the next one's input. It has as many elements, but may have them in tiles: see `inTiles`. */
  readonly next: string;
  readonly dims: readonly number[];
  /** The initializer that it begins as; zeros where absent. */
  readonly from?: string;
  /** What it begins as, where it is no part of the model. */
  readonly initial?: TypedArray;
}

export interface TrainingStep {
  /** Inputs: the model's, targets, scalars and state. Outputs: the losses and the next state. */
  readonly model: Model;
  /** Parameters, running statistics, the optimizer's state, averages. */
  readonly state: readonly StateTensor[];
  readonly targets: readonly TargetInput[];
  /** What dropouts keep, fed at every step. */
  readonly masks: readonly DropoutMask[];
  /**
   * Scalars of the optimizer by name, and their inputs; `apply` too where gradients are accumulated: 1 at the last of them; and
   * `loss.0` and so on, the weights of losses that count for a time only.
   */
  readonly scalars: ReadonlyMap<string, string>;
  /** The weighted sum of the losses: one element. */
  readonly loss: string;
  /** The single losses, in order, without their weights. */
  readonly parts: readonly string[];
  /** Parameters that are trained, and the averages kept of them. */
  readonly trained: readonly { readonly name: string; readonly average?: string }[];
  /** Parameters asked for that no loss depends on. */
  readonly withoutGradient: readonly string[];
}

/**
 * Builds the step. The model's weights become inputs, so one session serves the whole training.
 * @throws bad-data for names that the model lacks; shape-mismatch for losses that don't fit; as {@link gradient}.
 */
export function trainingStep(model: Model, options: TrainingStepOptions): TrainingStep {
  const forward = forwardAt(model, options.shapes);
  const { graph } = forward;
  const groupOf = groupsByName(forward, options.groups ?? []);
  const op = makeEmitter(graph, forward.opset, infer(forward));
  const statistics =
    options.batchNorm === "train" ? trainableBatchNorms(graph).flatMap((node) => startTraining(op, node)) : [];
  const masks = options.dropout ? trainableDropouts(op).map((node) => startDropping(op, node)) : [];
  graph.sort();
  const { targets, total, parts, learned, weights } = emitLosses(op, options);
  for (const output of [...graph.outputs]) graph.removeOutput(output);
  for (const value of [total, ...parts, ...statistics.map(({ next }) => next)])
    if (!value.isOutput) graph.addOutput(value);
  const next = statistics.map((each) => ({ name: each.name, next: each.next.name }));
  const names = { loss: total.name, parts: parts.map(({ name }) => name) };

  const beside = new Map(learned.map((name) => [name, graph.find(name)?.tensor?.toTypedArray()]));
  const result = gradient(forward, { of: total.name, with: [...options.parameters, ...learned] });
  const update = emitUpdates(result.model, result.gradients, { ...options, beside, groupOf });
  const state = [...update.state, ...next.map((each) => stateInput(result.model.graph, each.name, each.next))];
  return {
    ...names,
    ...update,
    scalars: new Map([...update.scalars, ...weights]),
    model: inTiles(removeDeadCode(result.model).model).model,
    state,
    targets,
    masks,
    withoutGradient: result.withoutGradient,
  };
}

/** A copy that a loss can be added to, with the sizes of one step: at an operator set that gradients read, its weights as initializers. */
export function forwardAt(model: Model, shapes: InputShapes): Model {
  const raised = convertOpset(model, Math.max(gradientOpset, model.opset)).model;
  const visible = exposeWeights(raised).model;
  const copy = visible === model ? model.clone() : visible;
  for (const input of [...copy.graph.inputs]) if (input.isConstant) copy.graph.removeInput(input);
  const { types } = infer(copy, { inputShapes: shapes });
  for (const input of copy.graph.inputs) input.type = types.get(input) ?? input.type;
  return copy;
}

/** Adds the optimizer to a graph that computes gradients; parameters become inputs. */
function emitUpdates(
  model: Model,
  gradients: ReadonlyMap<string, string>,
  options: TrainingStepOptions & {
    readonly beside: ReadonlyMap<string, TypedArray | undefined>;
    readonly groupOf: ReadonlyMap<string, ParameterGroup>;
  },
) {
  const { graph } = model;
  const op = makeEmitter(graph, model.opset, infer(model));
  const { optimizer: settings, accumulate } = options;
  const rule = optimizers[settings.name];
  const scalars = new Map<string, string>();
  const scalar = (name: string): Value => {
    const known = scalars.get(name);
    if (known !== undefined) return graph.find(known) as Value;
    const value = newInput(op, `train.${name}`, []);
    scalars.set(name, value.name);
    return value;
  };
  for (const name of Object.keys(rule.scalars(1, 1, settings))) scalar(name);

  const pairs = [...gradients].map(([name, gradientName]) => {
    const g = graph.find(gradientName) as Value;
    graph.removeOutput(g);
    return { w: graph.find(name) as Value, g };
  });
  const state: StateTensor[] = [];
  const keep = (input: Value, next: Value, from?: string) => {
    graph.rename(next, graph.uniqueName(`${input.name}.next`));
    graph.addOutput(next);
    const initial = from === undefined ? undefined : options.beside.get(from);
    const begins = initial ? { initial } : from !== undefined && { from };
    state.push({ name: input.name, next: next.name, dims: op.shape(input), ...begins });
  };

  op.subject = "clip";
  const sums = pairs.map(({ w, g }) => {
    if (accumulate === 1) return { w, g };
    const sum = newInput(op, `${w.name}.sum`, op.shape(w));
    op.subject = `${w.name}.sum`;
    const total = op.Add(sum, op.Mul(g, 1 / accumulate));
    keep(sum, op.Mul(total, op.Sub(op.like(w, 1), scalar("apply"))));
    return { w, g: total };
  });
  const scale = options.clipNorm === undefined ? undefined : clipping(op, sums, options.clipNorm);
  const trained = sums.map(({ w, g }) => {
    op.subject = w.name;
    const inputs = rule.state.map((name) => newInput(op, `${w.name}.${name}`, op.shape(w)));
    const group = options.groupOf.get(w.name);
    const decay = group?.weightDecay ?? (op.rank(w) > 1 ? settings.weightDecay : 0);
    const own = (name: string) => {
      const isRate = group && group.rate !== 1 && rateScalars.has(name);
      return isRate ? op.Mul(scalar(name), group.rate) : scalar(name);
    };
    const clipped = scale ? op.Mul(g, scale) : g;
    let updated = rule.update({ op, w, g: clipped, state: inputs, scalar: own, settings, decay });
    if (options.keepZeros && hasSomeZeros(w)) {
      const [next, ...rest] = updated;
      updated = [op.Where(op.Equal(w, op.like(w, 0)), op.like(w, 0), next), ...rest];
    }
    if (accumulate > 1) {
      const isLast = op.Greater(scalar("apply"), op.like(w, 0.5));
      updated = updated.map((value, i) => op.Where(isLast, value, [w, ...inputs][i])) as [Value, ...Value[]];
    }
    const [next, ...rest] = updated;
    asInput(graph, w);
    let average: Value | undefined;
    if (options.average !== undefined && !options.beside.has(w.name)) {
      average = newInput(op, `${w.name}.average`, op.shape(w));
      keep(average, op.Add(op.Mul(average, options.average), op.Mul(next, 1 - options.average)), w.name);
    }
    keep(w, next, w.name);
    inputs.forEach((input, i) => void keep(input, rest[i] as Value));
    return { name: w.name, ...(average && { average: average.name }) };
  });
  return { state, scalars, trained };
}

/** Whether zeros stand between other numbers: something was pruned. */
function hasSomeZeros({ tensor }: Value): boolean {
  const data = tensor?.toTypedArray();
  return data?.some((x) => Number(x) === 0) === true && data.some((x) => Number(x) !== 0);
}

/** min(1, limit / norm of all gradients). */
function clipping(op: Emitter, pairs: readonly { readonly g: Value }[], limit: number): Value | undefined {
  const squares = pairs.map(({ g }) => op.emit("ReduceSumSquare", [g, { keepdims: 0 }])[0] as Value);
  if (squares.length === 0) return undefined;
  const norm = op.Sqrt(op.sum(squares));
  return op.Div(op.like(norm, limit), op.emit("Max", [norm, op.like(norm, limit)])[0]);
}

/** Makes an input of an initializer. */
function asInput(graph: Graph, value: Value): void {
  const { type } = value;
  value.tensor = undefined;
  value.type = type;
  graph.addInput(value);
}

/** A running statistic: its initializer becomes an input. */
function stateInput(graph: Graph, name: string, next: string): StateTensor {
  const value = graph.find(name) as Value;
  const dims = value.tensor?.dims ?? [];
  asInput(graph, value);
  return { name, next, dims, from: name };
}
