/** @file The losses of a training step, added to its graph: their targets become inputs, their weighted sum is what gradients are of. */
import type { Emitter } from "../autodiff/emitter.ts";
import type { Graph } from "../ir/graph.ts";
import { tensorType } from "../ir/types.ts";
import type { Value } from "../ir/value.ts";
import { type DType, dtypeInfo } from "../tensor/dtype.ts";
import { TersorError } from "../util/errors.ts";
import { nearestNames } from "../util/nearest.ts";
import { classesOf } from "./ctc-loss.ts";
import { losses, targetType, type ValueType } from "./loss.ts";
import type { LossSettings } from "./loss-rule.ts";
import { projected } from "./projection.ts";

/** dtype and dims, by name. */
export type ValueTypes = ReadonlyMap<string, Omit<ValueType, "name">>;

/** A target that is fed at every step. */
export interface TargetInput {
  /** Name of the step's input. */
  readonly name: string;
  /** As {@link LossSettings.target}. */
  readonly target: string;
  readonly dtype: DType;
  readonly dims: readonly number[];
  /** Number of classes, where the target is class indices. */
  readonly classes?: number;
  /** What labels of sequences are made of. */
  readonly sequence?: { readonly blank: number; readonly charset: readonly string[]; readonly steps: number };
}

export interface EmitLossesOptions {
  readonly losses: readonly LossSettings[];
  readonly teacherTypes?: ValueTypes;
  readonly seed?: number;
}

export interface EmittedLosses {
  readonly targets: readonly TargetInput[];
  readonly total: Value;
  readonly parts: readonly Value[];
  /** Initializers to train that are no part of the model. */
  readonly learned: readonly string[];
  /** The weight inputs of losses that count for a time only: input by scalar, `loss.0` and so on. */
  readonly weights: ReadonlyMap<string, string>;
}

/** @throws bad-data for values that the model lacks; shape-mismatch for targets that don't suit their prediction */
export function emitLosses(
  op: Emitter,
  { losses: settings, teacherTypes, seed = 0 }: EmitLossesOptions,
): EmittedLosses {
  const targets = new Map<string, TargetInput>();
  const learned = new Set<string>();
  const parts = settings.map((options) => {
    const output = predictionOf(op.graph, options);
    checkFloat(op, output, options);
    const source = sourceOf(op, options, teacherTypes);
    const target =
      source.value ?? targetInput(op, options, targets, source.type ?? targetType(options, typed(op, output)));
    const { y, t, learned: names } = projected(op, output, target, { project: options.project, seed });
    for (const name of names) learned.add(name);
    targetType(options, typed(op, y), { ...typed(op, t), name: splitTarget(options.target).at(-1) ?? "" });
    op.subject = `loss.${options.name}`;
    return losses[options.name].emit({ op, y, t, options });
  });
  op.subject = "loss";
  const weights = new Map<string, string>();
  const weighted = parts.map((part, i) => {
    const { weight, since, until } = settings[i] as LossSettings;
    if (since === 0 && until === undefined) return weight === 1 ? part : op.Mul(part, weight);
    const input = newInput(op, `train.loss.${i}`, []);
    weights.set(`loss.${i}`, input.name);
    return op.Mul(part, input);
  });
  return { targets: [...targets.values()], total: op.sum(weighted), parts, learned: [...learned], weights };
}

function typed(op: Emitter, value: Value): ValueType {
  return { name: value.name, dtype: op.dtype(value), dims: op.shape(value) };
}

/** What the target is, as far as it is known: a value of the model, or the type of one of the teacher. */
function sourceOf(op: Emitter, { name, target }: LossSettings, teacherTypes: ValueTypes | undefined) {
  const [kind, source = ""] = splitTarget(target);
  if (kind === "teacher") return { type: teacherTypes?.get(source) };
  if (kind !== "input") return {};
  const value = op.graph.inputs.find((input) => input.name === source);
  if (!value) throw unknownName(op.graph.inputs, source, `loss ${name}: target`);
  return { value };
}

/** Two losses may share a target, when they see it alike. */
function targetInput(
  op: Emitter,
  options: LossSettings,
  known: Map<string, TargetInput>,
  type: Pick<ValueType, "dtype" | "dims">,
): Value {
  const { dtype, dims } = type;
  const key = `${options.target} ${dtype} ${dims}`;
  const same = known.get(key);
  if (same) return op.graph.find(same.name) as Value;
  const value = newInput(op, `target.${options.target.replace(":", ".")}`, dims, dtype);
  const y = predictionOf(op.graph, options);
  const { target: kind } = losses[options.name];
  const classes = op.shape(y).at(kind === "sequence" ? -1 : options.classAxis) ?? 0;
  const sequence = {
    blank: options.blank === "first" ? 0 : classes - 1,
    charset: classesOf(options),
    steps: op.shape(y)[1] ?? 0,
  };
  known.set(key, {
    ...{ name: value.name, target: options.target, dtype, dims },
    ...((kind === "classes" || kind === "sequence") && { classes }),
    ...(kind === "sequence" && { sequence }),
  });
  return value;
}

export function newInput(op: Emitter, name: string, dims: readonly number[], dtype: DType = "float32"): Value {
  const value = op.graph.addValue(name, tensorType(dtype, dims));
  op.declare(value, value.type);
  op.graph.addInput(value);
  return value;
}

/** "label", or the kind and the name of "input:NAME" and "teacher:NAME". */
export function splitTarget(target: string): readonly string[] {
  const at = target.indexOf(":");
  return at < 0 ? [target] : [target.slice(0, at), target.slice(at + 1)];
}

function predictionOf(graph: Graph, { name, output }: LossSettings): Value {
  const value = output === undefined ? graph.outputs[0] : graph.find(output);
  if (value) return value;
  throw unknownName([...graph.values], output ?? "", `loss ${name}: output`);
}

/** @throws bad-data for class indices and other values without a gradient */
function checkFloat(op: Emitter, value: Value, { name }: LossSettings): void {
  const dtype = op.dtype(value);
  if (dtypeInfo(dtype).kind === "float") return;
  const before = scoresBefore(op, value);
  const advice = before
    ? `Train what it is made from: {"name":"${name}","output":"${before.name}"} as the loss.`
    : "Name another value of the model as the loss's output.";
  throw new TersorError(
    "bad-data",
    `loss ${name} of "${value.name}": it is ${dtype}: class indices and other integers have no gradient: expected floats, such as logits. ${advice}`,
  );
}

/** The floats that an output of integers comes from. */
function scoresBefore(op: Emitter, value: Value): Value | undefined {
  for (let at: Value | undefined = value; at; at = at.producer?.inputs[0])
    if (dtypeInfo(op.dtype(at)).kind === "float") return at;
  return undefined;
}

function unknownName(values: readonly Value[], name: string, what: string): TersorError {
  const known = values.map((value) => value.name);
  const near = nearestNames(name, known);
  const hint =
    near.length > 0 ? `did you mean ${near.join(", ")}?` : `expected one of ${known.slice(0, 8).join(", ")}.`;
  return new TersorError("bad-data", `${what} "${name}": the model has no such value; ${hint}`);
}
