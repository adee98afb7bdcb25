/** @file Scores of the atoms of a group: from its layers' channels, by a criterion, brought to one scale. */
import type { Tensor } from "../../tensor/tensor.ts";
import { elementCount } from "../../tensor/tensor.ts";
import type { ChannelSlice, Criterion, Measured } from "../criteria/criterion.ts";
import { type Normalization, normalizeScores } from "../criteria/normalize.ts";
import type { Analysis, PortRow } from "../graph/analysis.ts";
import type { Group } from "../graph/groups.ts";
import { byAtom } from "../graph/per-atom.ts";
import { numbersOf } from "../graph/weight-numbers.ts";

/** How the scores of a group's layers become one. */
export type Reduction = "mean" | "sum" | "max";

export interface ScoreOptions {
  readonly criterion: Criterion;
  readonly reduce: Reduction;
  readonly normalize: Normalization;
  readonly seed: number;
  /** From calibration, for criteria that look at data. */
  readonly measured?: Measured | undefined;
}

/** A score for each atom of a group; undefined where no layer has what the criterion looks at. */
export function scoresOf(analysis: Analysis, group: Group, options: ScoreOptions): Float64Array | undefined {
  const place = new Map(group.atoms.map((atom, i) => [atom, i]));
  const layers = group.layers.flatMap(({ port }) => {
    const scores = options.criterion.score(sliceOf(analysis, port, options));
    if (!scores) return [];
    const own = new Float64Array(group.atoms.length);
    for (let i = 0; i < port.size; i++) {
      const at = place.get(analysis.atomOf(port.base + i));
      if (at !== undefined) own[at] = (own[at] as number) + (scores[i] as number);
    }
    return [own];
  });
  if (layers.length === 0) return undefined;
  return normalizeScores(reduced(layers, options.reduce), options.normalize);
}

function reduced(layers: readonly Float64Array[], by: Reduction): Float64Array {
  const [first = new Float64Array(0), ...others] = layers;
  const sum = first.slice();
  for (const other of others)
    for (let i = 0; i < sum.length; i++)
      sum[i] =
        by === "max" ? Math.max(sum[i] as number, other[i] as number) : (sum[i] as number) + (other[i] as number);
  return by === "mean" ? sum.map((x) => x / layers.length) : sum;
}

function sliceOf(analysis: Analysis, port: PortRow, options: ScoreOptions): ChannelSlice {
  const tensor = port.value.tensor as Tensor;
  return {
    name: port.value.name,
    channels: port.size,
    seed: options.seed,
    weight: () => ({
      values: axisFirst(numbersOf(port.value), tensor.dims, port.axis),
      elements: tensor.size / port.size,
    }),
    gamma: () => byAtom(analysis, port, gammas(analysis)),
    measured: () => options.measured?.of(port),
  };
}

const gammasOf = new WeakMap<Analysis, Map<number, number>>();

/** Sum of the magnitudes of batch norm factors by atom. */
function gammas(analysis: Analysis): ReadonlyMap<number, number> {
  const known = gammasOf.get(analysis);
  if (known) return known;
  const result = new Map<number, number>();
  for (const { nodes } of analysis.model.graphs())
    for (const node of nodes) {
      const scale = node.opType === "BatchNormalization" ? node.inputs[1] : undefined;
      const port = scale && analysis.port(scale, 0);
      if (!scale?.tensor || !port) continue;
      scale.tensor.toFloat32().forEach((gamma, i) => {
        const atom = analysis.atomOf(port.base + i);
        result.set(atom, (result.get(atom) ?? 0) + Math.abs(gamma));
      });
    }
  gammasOf.set(analysis, result);
  return result;
}

/** A weight as [channels, elements], the channels being those of an axis. */
export function channelsFirst(tensor: Tensor, axis: number): Float32Array {
  return axisFirst(tensor.toFloat32(), tensor.dims, axis);
}

/** Numbers with an axis moved to the front. */
export function axisFirst<T extends Float32Array | Float64Array>(values: T, dims: readonly number[], axis: number): T {
  if (axis === 0) return values;
  const channels = dims[axis] as number;
  const outer = elementCount(dims.slice(0, axis));
  const inner = elementCount(dims.slice(axis + 1));
  const result = values.slice() as T;
  for (let o = 0; o < outer; o++)
    for (let c = 0; c < channels; c++) {
      const from = (o * channels + c) * inner;
      result.set(values.subarray(from, from + inner), (c * outer + o) * inner);
    }
  return result;
}
