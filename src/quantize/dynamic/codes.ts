/** @file Codes of a weight in the form that an integer operator takes, computed when they are read. */
import { fromNumbers, Tensor } from "../../tensor/tensor.ts";
import { ComputedSource, readAll } from "../../util/bytes.ts";
import { type Slices, slicesOf } from "../grid/slices.ts";
import { middle, type QuantSpec } from "../grid/spec.ts";
import type { WeightLayer } from "../layers/sites.ts";
import { quantizeRtn } from "../lazy/rtn.ts";

/** How an operator takes its weight. */
export interface WeightForm {
  /** Axis of the weight's output channels, as the operator reads it: other readers may count theirs along another one. */
  readonly channel: (rank: number) => number;
  /** Whether every matrix of the last two dims is transposed. */
  readonly turned: boolean;
  /** Dims of the scale, from those of the weight; without it those of DequantizeLinear. */
  readonly scaleDims?: (dims: readonly number[], perChannel: boolean) => readonly number[];
  /** Whether there can be one scale only, and unsigned codes: as first operand of MatMulInteger. */
  readonly asActivation?: boolean;
  /** Whether the first dim counts matrices that have scales of their own, as the directions of an LSTM do. */
  readonly stacked?: boolean;
  /** Whether there may be a zero point per channel, and one other than the middle. */
  readonly zeroPoints: "any" | "one" | "middle";
}

export interface CodedWeight {
  /** In the weight's own dims. */
  readonly codes: Tensor;
  /** As DequantizeLinear wants it, or one per gate of each matrix. */
  readonly scale: Tensor;
  readonly zeroPoint: Tensor;
  /** Axis of the scales; absent where there is one. */
  readonly axis?: number | undefined;
  readonly bytes: number;
  /** Weight SQNR in dB; known once the codes were read. */
  sqnr(): number | undefined;
}

/** What two forms must have in common to read the same codes of a weight. */
export function codesKey({ channel, asActivation, stacked, zeroPoints }: WeightForm, rank: number): string {
  return [channel(rank), asActivation ? "activation" : "", stacked ? "stacked" : "", zeroPoints].join(" ");
}

/** @throws bad-data for NaN in the weight, when it is read */
export function codeWeight(layer: WeightLayer, spec: QuantSpec, form: WeightForm, measure: boolean): CodedWeight {
  const { value, weight } = layer;
  const { name } = value;
  const perChannel = spec.granularity.per === "channel" && !form.asActivation;
  const granularity = { per: perChannel ? "channel" : "tensor" } as const;
  const symmetric = spec.symmetric || form.zeroPoints === "middle" || (form.zeroPoints === "one" && perChannel);
  const axes = { ...layer.axes, channel: form.channel(weight.dims.length) };
  const slices = form.stacked
    ? stackedSlices(weight.dims, perChannel)
    : slicesOf(weight.dims, axes, granularity, `weight "${name}"`);
  const unsigned = { dtype: "uint8", bits: 8 } as const;
  const own: QuantSpec = { ...spec, granularity, symmetric, ...(form.asActivation && unsigned) };
  const { codes, scale, ...coded } = quantizeRtn({ name, weight, slices, spec: own, seed: 0, measure });
  const zeroPoint = symmetric && !form.stacked ? fromNumbers(own.dtype, [], [middle(own)]) : coded.zeroPoint;
  const bytes = codes.byteLength + scale.byteLength + zeroPoint.byteLength;
  return { codes, scale, zeroPoint, axis: slices.axis, bytes, sqnr: coded.sqnr };
}

/** One slice per matrix, or per row of each matrix. */
function stackedSlices(dims: readonly number[], perChannel: boolean): Slices {
  const [count = 1, rows = 1, n = 1] = dims;
  const runs = perChannel ? { rows: count * rows, n } : { rows: count, n: rows * n };
  const scaleDims = perChannel ? [count, rows] : [count];
  return { form: "runs", blocks: 1, ...runs, fold: 1, count: runs.rows, scaleDims };
}

/** 8-bit codes with the last two dims exchanged. */
export function turned({ dtype, dims, bytes }: Tensor): Tensor {
  const [rows, n] = dims.slice(-2) as [number, number];
  const size = rows * n;
  function* chunks(): Iterable<Uint8Array> {
    const codes = readAll(bytes);
    const matrix = new Uint8Array(size);
    for (let start = 0; start < codes.length; start += size) {
      for (let row = 0; row < rows; row++)
        for (let column = 0; column < n; column++)
          matrix[column * rows + row] = codes[start + row * n + column] as number;
      yield matrix;
    }
  }
  return new Tensor(dtype, [...dims.slice(0, -2), n, rows], new ComputedSource(bytes.byteLength, chunks));
}
