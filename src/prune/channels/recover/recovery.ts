/** @file Recovery without training: what the cut channels gave to the next layers is made up for, as far as the others can. */
import type { Gram } from "../../../calibrate/gram.ts";
import { fromNumbers } from "../../../tensor/tensor.ts";
import type { Analysis } from "../../graph/analysis.ts";
import { type Cut, type Kept, keptIndices } from "../../graph/cut.ts";
import { findReaders, nameOf, obstacleToSolving, type Reader } from "../../graph/readers.ts";
import { stridesOf } from "../../graph/reads.ts";
import { numbersOf } from "../../graph/weight-numbers.ts";
import { solveSymmetric } from "./solve.ts";

/** What calibration gives of the layers that read channels, by node. */
export interface RecoveryStats {
  /** Mean of every channel of the input. */
  readonly means: ReadonlyMap<Reader["node"], ArrayLike<number>>;
  /** X^T X of what the layer multiplies its weight with. */
  readonly grams: ReadonlyMap<Reader["node"], Gram>;
}

/** What is done to the model once it was cut. */
export type Repair = () => void;

/** A reader that loses something it sums over, and what stays of its layout's axes. */
export interface Place {
  readonly reader: Reader;
  readonly kept: readonly (readonly number[])[];
}

/** A layer that loses channels and is not made up for. */
export interface Unrecovered {
  readonly layer: string;
  readonly opType: string;
  readonly reason: string;
}

export interface Recoverable {
  readonly places: readonly Place[];
  readonly unrecovered: readonly Unrecovered[];
}

/** The layers that lose what they sum over, and can be made up for in this way; and those that can't, with the reason. */
export function recoverable(analysis: Analysis, cut: Cut, kind: "mean" | "least-squares"): Recoverable {
  const kept = keptIndices(analysis, cut);
  const losing = new Set(
    analysis.summed.flatMap(({ node, port }) => (kept.get(port.value)?.[port.axis] ? [node] : [])),
  );
  const { readers, others } = findReaders(analysis);
  const places: Place[] = [];
  const unrecovered: Unrecovered[] = [];
  const add = (node: Reader["node"], reason: string) =>
    unrecovered.push({ layer: nameOf({ node }), opType: node.opType, reason });
  for (const reader of readers) {
    if (!losing.has(reader.node)) continue;
    const own = keptOf(reader, kept);
    if (losesInputs(reader, own)) {
      const obstacle = kind === "mean" ? obstacleToMeans(reader) : obstacleToSolving(reader);
      if (obstacle === undefined) places.push({ reader, kept: own });
      else add(reader.node, obstacle);
    }
    if (losesStates(reader, kept)) add(reader.node, "its recurrent weights read states that feed back");
  }
  for (const { node, reason } of others) if (losing.has(node)) add(node, reason);
  return { places, unrecovered };
}

/** What stays of every axis of the layout. Where groups were taken apart, the same is kept in each. */
function keptOf({ weight, layout }: Reader, kept: Kept): (readonly number[])[] {
  const own = kept.get(weight) ?? [];
  const all = (size: number) => Array.from({ length: size }, (_, i) => i);
  const [first = 1, second = 1] = layout.dims;
  const isSplit = layout.dims.length > (weight.tensor?.dims.length ?? 0);
  return layout.dims.map((size, axis) => {
    const indices = own[isSplit ? Math.max(0, axis - 1) : axis];
    if (!indices) return all(size);
    if (!isSplit || axis > 1) return indices;
    const parts = indices.map((index) => (axis === 0 ? Math.floor(index / second) : index % second));
    return [...new Set(parts)].sort((a, b) => a - b).filter((part) => part < (axis === 0 ? first : second));
  });
}

function losesInputs({ layout }: Reader, kept: Place["kept"]): boolean {
  return layout.in.some((axis) => (kept[axis] as readonly number[]).length < (layout.dims[axis] as number));
}

/** Whether hidden units go, over which a recurrent layer sums as well. */
function losesStates({ node, bias }: Reader, kept: Kept): boolean {
  const states = node.inputs[2];
  return bias === undefined && node.int("hidden_size") !== undefined && states !== undefined && kept.has(states);
}

function obstacleToMeans({ node, bias, layout, weight }: Reader): string | undefined {
  if (bias === undefined) return `${node.opType} has no bias that means could go into`;
  const isWhole = layout.batch.every((axis) => layout.dims[axis] === 1) && layout.out.length === 1;
  if (!isWhole) return "means are folded into the bias of layers without groups only";
  return weight.tensor?.dtype === "float32" ? undefined : `the weight is stored as ${weight.tensor?.dtype}`;
}

/** The mean of every removed channel, times its weights, goes into the layer's bias. At padded borders that is too much, by what padding leaves out. */
export function foldMeans(places: readonly Place[], { means }: RecoveryStats): Repair[] {
  return places.flatMap(({ reader, kept }): Repair[] => {
    const mean = means.get(reader.node);
    if (!mean) return [];
    const { layout } = reader;
    const [channels = 0, ...others] = layout.in;
    const [out = 0] = layout.out;
    const stays = new Set(kept[channels]);
    const gone = Array.from({ length: layout.dims[channels] as number }, (_, i) => i).filter((i) => !stays.has(i));
    const values = numbersOf(reader.weight);
    const at = placesOf(layout.dims, [out, channels, ...others]);
    const shift = Float64Array.from(kept[out] as readonly number[], (output) => {
      let sum = 0;
      for (const channel of gone)
        for (const place of at([[output], [channel], ...others.map((axis) => kept[axis] as readonly number[])]))
          sum += (values[place] as number) * (mean[channel] as number);
      return sum;
    });
    return [() => addToBias(reader, shift)];
  });
}

/**
 * The weights on what is left that come closest, in least squares over the calibration data, to what the layer gave before the cut (He,
 * Zhang and Sun 2017, Channel Pruning for Accelerating Very Deep Neural Networks, https://arxiv.org/abs/1707.06168; inputs are those
 * of the original model), for every group by itself.
 */
export function solveWeights(places: readonly Place[], { grams }: RecoveryStats, damp: number): Repair[] {
  return places.flatMap(({ reader, kept }): Repair[] => {
    const gram = grams.get(reader.node);
    if (!gram) return [];
    const { weight, layout } = reader;
    const values = numbersOf(weight);
    const every = layout.dims.map((size) => Array.from({ length: size }, (_, i) => i));
    const of = (axes: readonly number[], from: Place["kept"]) =>
      placesOf(layout.dims, axes)(axes.map((axis) => from[axis] as readonly number[]));
    // Offsets in the weight: of groups, of what is summed over, of outputs; and where they end up once all is cut.
    const groups = of(layout.batch, kept);
    const [all, stay] = [of(layout.in, every), of(layout.in, kept)];
    const rowOf = new Map(all.map((offset, row) => [offset, row]));
    const rows = stay.map((offset) => rowOf.get(offset) as number);
    const outputs = of(layout.out, kept);
    const numberOf = new Map(of(layout.batch, every).map((offset, at) => [offset, at]));
    const [n, m] = [rows.length, outputs.length];
    const place = new Map(of([...layout.dims.keys()], kept).map((offset, at) => [offset, at]));
    const solved = new Float64Array(place.size);
    for (const group of groups) {
      const from = gram.groups > 1 ? (numberOf.get(group) as number) * gram.k * gram.k : 0;
      const a = new Float64Array(n * n);
      const b = new Float64Array(n * m);
      rows.forEach((row, i) => {
        const base = from + row * gram.k;
        for (let j = 0; j < n; j++) a[i * n + j] = gram.sums[base + (rows[j] as number)] as number;
        outputs.forEach((output, j) => {
          let sum = 0;
          for (let k = 0; k < all.length; k++)
            sum += (gram.sums[base + k] as number) * (values[group + output + (all[k] as number)] as number);
          b[i * m + j] = sum;
        });
      });
      solveSymmetric(a, n, b, m, damp);
      stay.forEach((offset, i) => {
        outputs.forEach((output, j) => {
          solved[place.get(group + output + offset) as number] = b[i * m + j] as number;
        });
      });
    }
    return [
      () => {
        const { tensor } = weight;
        if (tensor) weight.tensor = fromNumbers(tensor.dtype, tensor.dims, solved);
      },
    ];
  });
}

/** Offsets of the elements at some indices of some axes, the last axis running fastest; index 0 of all others. */
function placesOf(dims: readonly number[], axes: readonly number[]) {
  const strides = stridesOf(dims);
  return (indices: readonly (readonly number[])[]): number[] =>
    axes.reduce<number[]>(
      (offsets, axis, i) =>
        offsets.flatMap((offset) =>
          (indices[i] as readonly number[]).map((at) => offset + at * (strides[axis] as number)),
        ),
      [0],
    );
}

/** Adds to the bias of a layer that was cut already, or gives it one. */
function addToBias({ node, bias: place }: Reader, shift: Float64Array): void {
  const { graph } = node;
  const constant = (hint: string) => graph.addInitializer(hint, fromNumbers("float32", [shift.length], shift));
  if (place === "add") {
    const output = node.output();
    const [use] = output.uses;
    const added = output.uses.size === 1 && use?.node.opType === "Add" ? use.node.inputs[1 - use.index] : undefined;
    if (use && added?.tensor?.size === shift.length) {
      const old = added.tensor.toNumbers();
      const sums = fromNumbers(
        added.tensor.dtype,
        added.tensor.dims,
        shift.map((x, i) => x + (old[i] as number)),
      );
      use.node.setInput(1 - use.index, graph.addInitializer(added.name, sums));
      return;
    }
    const inputs = [output, constant(`${output.name}_bias`)];
    const sum = graph.addNode({ opType: "Add", inputs, outputs: [`${output.name}_recovered`] }, { after: node });
    graph.replaceUses(output, sum.output());
    sum.setInput(0, output);
    return;
  }
  const bias = node.inputs[2];
  const old = bias?.tensor?.toNumbers();
  if (old && old.length !== 1 && old.length !== shift.length) return;
  if (!bias || !old) node.setInput(2, constant(`${node.output().name}_bias`));
  else {
    // Of Gemm it may be a scalar, or [1, n].
    const sums = shift.map((x, i) => x + ((old.length === 1 ? old[0] : old[i]) ?? 0));
    node.setInput(2, graph.addInitializer(bias.name, fromNumbers("float32", [sums.length], sums)));
  }
}
