/** @file What methods that look at data need to know: X^T X of every layer's inputs, gathered in one pass. */
import { type CalibrateOptions, calibrate } from "../../calibrate/calibrate.ts";
import { type Gram, gramOf, patches, rowsOf, type Unfolding } from "../../calibrate/gram.ts";
import type { Dataset } from "../../data/dataset.ts";
import type { Model } from "../../ir/model.ts";
import type { Node } from "../../ir/node.ts";
import type { Value } from "../../ir/value.ts";
import { convertOpset } from "../../passes/convert-opset/convert-opset.ts";
import { exposeWeights } from "../../passes/expose-weights.ts";
import { inferShapes } from "../../passes/infer-shapes.ts";
import { parseOptions } from "../../util/options.ts";
import { own } from "../../util/own.ts";
import type { MethodName } from "../grid/spec.ts";
import { findLayers, opKey, type WeightLayer } from "../layers/sites.ts";
import type { LayerStats } from "../methods/index.ts";
import { type MethodRun, methods } from "../methods/index.ts";
import { shrinkMoments } from "../methods/shrink.ts";

/** What is known about the inputs of a layer. */
export interface LayerMoments extends Gram {
  /** Of layers whose moments come in only when those before them are quantized. */
  readonly sequential?: {
    /** Called when a method is going to ask for the moments. */
    wanted(): void;
    /** Called when it has: they may go. */
    finished(): void;
  };
}

/** By the name of the weight. */
export type MethodStats = ReadonlyMap<string, LayerMoments>;

/** Lowest opset that the probes are written in. */
export const PROBE_OPSET = 13;

/** How operators with their weight on the right read their inputs; others are quantized without data. */
const unfoldings: Readonly<Record<string, (node: Node, dims: readonly number[]) => Unfolding | undefined>> = {
  MatMul: (_, dims) => rowsOf(dims.at(-2)),
  Gemm: (node, dims) => (node.int("transA", 0) === 0 ? rowsOf(dims[node.int("transB", 0)]) : undefined),
  Conv: patches,
  // What W multiplies; what R does, the states, never leaves the operator.
  LSTM: (_, dims) => rowsOf(dims[2]),
  GRU: (_, dims) => rowsOf(dims[2]),
  RNN: (_, dims) => rowsOf(dims[2]),
};

/** Where and how a layer's input is seen. */
export interface Observation {
  readonly node: Node;
  readonly value: Value;
  readonly unfolding: Unfolding;
}

/** Where the inputs of the layers of a model's main graph are seen, by the name of the weight. The model's types must be inferred. */
export function observations(model: Model): Map<string, Observation> {
  const seen = findLayers(model).layers.flatMap((layer) => {
    const observation = observationOf(layer);
    return observation?.value.graph === model.graph ? [[layer.value.name, observation] as const] : [];
  });
  return new Map(seen);
}

function observationOf({ sites, weight }: WeightLayer): Observation | undefined {
  for (const { node, input } of sites) {
    const value = node.inputs[0];
    const usable = input === 1 && value && !value.isConstant && weight.dtype === "float32";
    const unfolding = usable
      ? own(unfoldings, opKey(node))?.(node, node.inputs[1]?.tensor?.dims ?? weight.dims)
      : undefined;
    if (value && unfolding) return { node, value, unfolding };
  }
  return undefined;
}

/** The model as observations of it are made: constants in sight, types inferred, in an opset that has the probes. */
export function observable(model: Model, opset = PROBE_OPSET): Model {
  const visible = exposeWeights(model).model;
  return inferShapes(convertOpset(visible, Math.max(opset, PROBE_OPSET, visible.opset)).model).model;
}

/** Stands for the statistics of a model that is planned, not written: it says which layers have some. */
export function plannedMethodStats(model: Model): MethodStats {
  const none: Gram = { sums: new Float64Array(0), groups: 1, k: 0 };
  return new Map([...observations(observable(model)).keys()].map((weight) => [weight, none]));
}

/** Runs the model on the data. @throws as {@link calibrate} */
export async function collectMethodStats(model: Model, data: Dataset, running: CalibrateOptions): Promise<MethodStats> {
  const typed = observable(model);
  const seen = observations(typed);
  const collectors = new Map<string, Map<string, ReturnType<typeof gramOf>>>();
  for (const { value, unfolding } of seen.values()) {
    const own = collectors.get(value.name) ?? new Map();
    collectors.set(value.name, own);
    if (!own.has(unfolding.key)) own.set(unfolding.key, gramOf(unfolding));
  }
  await calibrate(typed, data, new Map([...collectors].map(([name, own]) => [name, [...own.values()]])), running);
  const momentsOf = ({ value, unfolding }: Observation) =>
    collectors.get(value.name)?.get(unfolding.key)?.result() as Gram;
  return new Map([...seen].map(([weight, observation]) => [weight, momentsOf(observation)]));
}

/** A method bound to a layer, or the reason why the layer is rounded plainly instead. @throws bad-recipe for options that it does not have */
export function methodRun(
  layer: WeightLayer,
  name: MethodName,
  stats: MethodStats | undefined,
  given: Readonly<Record<string, unknown>> = {},
): MethodRun | string {
  const method = methods[name];
  const moments = stats?.get(layer.value.name);
  if (method.needs !== "nothing" && !moments) return `${name} sees no inputs of this layer: rtn instead`;
  moments?.sequential?.wanted();
  const finished = moments?.sequential && (() => moments.sequential?.finished());
  return {
    method: method as MethodRun["method"],
    options: parseOptions<unknown>(method.options, given, `method ${name}`),
    stats: (part) => (moments ? statsOf(moments, part) : {}),
    axes: layer.axes,
    groups: moments ? groupsOf(layer) : 1,
    ...(finished && { finished }),
  };
}

/** Names in a note. */
const NAMES = 5;

/** What there is to say of layers that saw fewer rows than they have inputs. */
export function fewRowsNotes(layers: readonly WeightLayer[], stats: MethodStats | undefined): string[] {
  const few = layers.flatMap((layer) => {
    const moments = stats?.get(layer.value.name);
    // Those to come are counted by nobody yet.
    const { rows: seen, k = 0 } = moments?.sequential ? {} : (moments ?? {});
    return seen !== undefined && seen > 0 && seen < k ? [`${layer.name} (${seen} of ${k})`] : [];
  });
  if (few.length === 0) return [];
  const more = few.length > NAMES ? `, … ${few.length - NAMES} more` : "";
  return [
    `${few.length} layers saw fewer rows of samples than they have inputs: ${few.slice(0, NAMES).join(", ")}${more}. What rows do not tell of their inputs is taken for independent: give more samples`,
  ];
}

/** Directions of a recurrent layer and entries of a batch of weights read the same inputs. */
function statsOf({ sums, shift, groups, k, rows: seen }: LayerMoments, part: number): LayerStats {
  const start = (part % groups) * k * k;
  const cut = (numbers: Float64Array) => Float32Array.from(numbers.subarray(start, start + k * k));
  const hessian = cut(sums);
  return {
    hessian: seen === undefined ? hessian : shrinkMoments(hessian, k, seen),
    ...(shift && { shift: cut(shift) }),
  };
}

function groupsOf({ opType, sites }: WeightLayer): number {
  return opType === "Conv" ? (sites[0]?.node.int("group", 1) ?? 1) : 1;
}
