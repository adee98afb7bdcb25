/** @file Recovery without training: what the cut channels gave to the next layers is made up for, as far as the others can. */
import type { Gram } from "../../calibrate/gram.ts";
import { fromNumbers, type Tensor } from "../../tensor/tensor.ts";
import type { Analysis } from "../analysis.ts";
import { type Cut, keptIndices } from "../cut.ts";
import { type Reader, readersOf } from "../readers.ts";
import { channelsFirst } from "../scores.ts";
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

interface Place {
  readonly reader: Reader;
  /** Channels of the input that stay. */
  readonly channels: readonly number[];
  /** Outputs that stay. */
  readonly outputs: readonly number[];
}

/** The readers that lose channels. */
function places(analysis: Analysis, cut: Cut): Place[] {
  const kept = keptIndices(analysis, cut);
  return readersOf(analysis).flatMap((reader) => {
    const own = kept.get(reader.weight) ?? [];
    const channels = own[reader.inAxis];
    const all = Array.from({ length: reader.weight.tensor?.dims[reader.outAxis] ?? 0 }, (_, i) => i);
    return channels ? [{ reader, channels, outputs: own[reader.outAxis] ?? all }] : [];
  });
}

/** The layers that lose channels to a cut and can be made up for. */
export function recoverable(analysis: Analysis, cut: Cut): Reader[] {
  return places(analysis, cut).map(({ reader }) => reader);
}

/** The mean of every removed channel, times its weights, goes into the layer's bias. At padded borders that is too much, by what padding leaves out. */
export function foldMeans(analysis: Analysis, cut: Cut, { means }: RecoveryStats): Repair[] {
  return places(analysis, cut).flatMap((place): Repair[] => {
    const { reader, channels, outputs } = place;
    const mean = means.get(reader.node);
    if (!mean) return [];
    const { values, inner, count } = outputsFirst(reader);
    const gone = new Set(channels);
    const shift = Float64Array.from(outputs, (output) => {
      let sum = 0;
      for (let c = 0; c < count; c++) {
        if (gone.has(c)) continue;
        for (let i = 0; i < inner; i++)
          sum += (values[(output * count + c) * inner + i] as number) * (mean[c] as number);
      }
      return sum;
    });
    return [() => addToBias(reader, shift)];
  });
}

/**
 * The weights on what is left that come closest, in least squares over the calibration data, to what the layer gave before the cut (He,
 * Zhang and Sun 2017, Channel Pruning for Accelerating Very Deep Neural Networks, https://arxiv.org/abs/1707.06168; inputs are those
 * of the original model). Weights that several layers share stay.
 */
export function solveWeights(analysis: Analysis, cut: Cut, { grams }: RecoveryStats, damp: number): Repair[] {
  return places(analysis, cut).flatMap(({ reader, channels, outputs }): Repair[] => {
    const gram = grams.get(reader.node);
    if (!gram || reader.weight.uses.size > 1) return [];
    const { values, inner, count } = outputsFirst(reader);
    const full = count * inner;
    const rows = channels.flatMap((c) => Array.from({ length: inner }, (_, i) => c * inner + i));
    const [n, m] = [rows.length, outputs.length];
    const a = new Float64Array(n * n);
    const b = new Float64Array(n * m);
    rows.forEach((row, i) => {
      for (let j = 0; j < n; j++) a[i * n + j] = gram.sums[row * full + (rows[j] as number)] as number;
      outputs.forEach((output, j) => {
        let sum = 0;
        for (let k = 0; k < full; k++)
          sum += (gram.sums[row * full + k] as number) * (values[output * full + k] as number);
        b[i * m + j] = sum;
      });
    });
    solveSymmetric(a, n, b, m, damp);
    const isOutFirst = reader.outAxis < reader.inAxis;
    const solved = isOutFirst ? Float64Array.from(b, (_, at) => b[(at % n) * m + Math.floor(at / n)] as number) : b;
    return [
      () => {
        const { tensor } = reader.weight;
        if (tensor) reader.weight.tensor = fromNumbers(tensor.dtype, tensor.dims, solved);
      },
    ];
  });
}

/** A weight as [outputs, inputs, inner], inner being the places of a kernel. */
function outputsFirst({ weight, inAxis, outAxis }: Reader) {
  const tensor = weight.tensor as Tensor;
  const count = tensor.dims[inAxis] as number;
  const values = channelsFirst(tensor, outAxis);
  return { values, count, inner: values.length / (tensor.dims[outAxis] as number) / count };
}

/** Adds to the bias of a layer that was cut already, or gives it one. */
function addToBias({ node }: Reader, shift: Float64Array): void {
  const { graph } = node;
  const constant = (hint: string) => graph.addInitializer(hint, fromNumbers("float32", [shift.length], shift));
  if (node.opType === "MatMul") {
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
