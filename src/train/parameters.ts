/** @file Which weights train: chosen by name, read from a model and put back into it. */
import picomatch from "picomatch";
import { parametersOf } from "../autodiff/parameters.ts";
import type { Model } from "../ir/model.ts";
import type { Value } from "../ir/value.ts";
import { exposeWeights } from "../passes/expose-weights.ts";
import type { HostTensor } from "../tensor/host-tensor.ts";
import { fromTypedArray, type TypedArray } from "../tensor/tensor.ts";
import { TersorError } from "../util/errors.ts";
import { nearestNames } from "../util/nearest.ts";

export interface ParameterChoice {
  /** Names or globs of weights or of the nodes that use them; all weights when absent. */
  readonly train?: readonly string[] | undefined;
  /** Names or globs of those that stay as they are. */
  readonly freeze?: readonly string[] | undefined;
}

const trainable = ({ graph }: Model) => parametersOf(graph).filter(({ tensor }) => tensor?.dtype === "float32");

/** Those of the weights that a pattern names. @throws bad-data for a pattern that names none */
function matching(all: readonly Value[], patterns: readonly string[]): Set<Value> {
  const found = new Set<Value>();
  for (const pattern of patterns) {
    const matches = matcher(pattern);
    const values = all.filter((value) => namesOf(value).some(matches));
    if (values.length === 0) throw unknown(pattern, all);
    for (const value of values) found.add(value);
  }
  return found;
}

const fractions: ReadonlySet<string> = new Set(["float16", "bfloat16", "float64"]);

/** The type that most weights have in place of float32; undefined without any. */
function otherFloats({ graph }: Model): { readonly dtype: string; readonly count: number } | undefined {
  const counts = new Map<string, number>();
  for (const { tensor } of graph.initializers)
    if (tensor && tensor.size > 1 && fractions.has(tensor.dtype))
      counts.set(tensor.dtype, (counts.get(tensor.dtype) ?? 0) + 1);
  const [most] = [...counts].sort(([, a], [, b]) => b - a);
  return most && { dtype: most[0], count: most[1] };
}

/** Names of the float32 weights to train. @throws bad-data for a pattern that matches nothing, or where nothing is left */
export function chooseParameters(model: Model, { train, freeze = [] }: ParameterChoice): string[] {
  const all = trainable(model);
  const chosen = train ? matching(all, train) : new Set(all);
  for (const value of matching(all, freeze)) chosen.delete(value);
  if (chosen.size > 0) return all.filter((value) => chosen.has(value)).map(({ name }) => name);
  const other = all.length === 0 ? otherFloats(model) : undefined;
  if (other)
    throw new TersorError(
      "bad-data",
      `nothing to train: the model's ${other.count} weights are ${other.dtype}: expected float32. Train the float32 model that it was made of, then convert the result${other.dtype === "float16" ? " (tersor quantize --float16)" : ""}.`,
    );
  throw new TersorError(
    "bad-data",
    `nothing to train: the model has ${all.length} float32 weights, and none is left. Quantized weights are trained as they are with "tersor finetune" of a QDQ model only; freeze fewer.`,
  );
}

/** What a weight has of its own in the optimizer. */
export interface ParameterGroup {
  /** Names or globs of weights or of the nodes that use them. */
  readonly weights: readonly string[];
  /** Factor on the learning rate. */
  readonly rate: number;
  readonly weightDecay?: number | undefined;
}

/** The first group that names each weight, by the weight's name. @throws bad-data for a pattern that matches nothing */
export function groupsByName(model: Model, groups: readonly ParameterGroup[]): ReadonlyMap<string, ParameterGroup> {
  const all = trainable(model);
  const found = groups
    .toReversed()
    .map((group) => [...matching(all, group.weights)].map(({ name }) => [name, group] as const));
  return new Map(found.flat());
}

/** A weight goes by its own name and by those of the nodes that it is an input of. */
const namesOf = (value: Value) => [value.name, ...value.users().map(({ name }) => name)];

function matcher(pattern: string): (name: string) => boolean {
  // A slash is a letter like any other in these names.
  const flat = (text: string) => text.replaceAll("/", "\u0000");
  const glob = picomatch(flat(pattern), { dot: true, nonegate: true });
  return (name) => name === pattern || glob(flat(name));
}

function unknown(pattern: string, values: readonly Value[]): TersorError {
  const near = nearestNames(pattern, [...new Set(values.flatMap(namesOf))]);
  const hint = near.length > 0 ? ` Did you mean ${near.join(", ")}?` : "";
  return new TersorError("bad-data", `"${pattern}": matches none of the model's ${values.length} weights.${hint}`);
}

/** A model whose named weights are inputs in place of initializers: it runs on weights that are not in a file. */
export function withWeightsAsInputs(model: Model, names: readonly string[]): Model {
  const copy = exposeWeights(model).model.clone();
  for (const name of names) {
    const value = copy.graph.find(name);
    if (!value?.tensor) continue;
    const { type } = value;
    value.tensor = undefined;
    value.type = type;
    if (!value.isInput) copy.graph.addInput(value);
  }
  return copy;
}

/** The model with new weights: the same graph, names and metadata. */
export function withWeights(model: Model, weights: Readonly<Record<string, HostTensor>>): Model {
  const copy = exposeWeights(model).model.clone();
  for (const [name, { dtype, dims, data }] of Object.entries(weights)) {
    const value = copy.graph.find(name);
    if (value?.tensor) value.tensor = fromTypedArray(dtype, dims, (data as TypedArray).slice());
  }
  return copy;
}
