/** @file Scale and zero point of every slice, from its range, its percentile or the least squared error. */
import { type Kernels, kernels, type Pointer } from "../../kernels/index.ts";
import { bfloatToFloat, floatToBfloat, floatToHalf, halfToFloat } from "../../tensor/half.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { TersorError } from "../../util/errors.ts";
import { type Piece, piecesOf } from "./pieces.ts";
import type { Slices } from "./slices.ts";
import { codeRange, type QuantSpec } from "./spec.ts";
import { readFloats } from "./workspace.ts";

/** One entry per slice. */
export interface ScaleParams {
  readonly scales: Float32Array;
  readonly zeroPoints: Int32Array;
}

/** Smallest and largest weight of every slice. Symmetric 8-bit grids need the larger magnitude only: min = max = absmax. */
export interface Ranges {
  readonly min: Float32Array;
  readonly max: Float32Array;
}

interface Weight {
  readonly name: string;
  readonly weight: Tensor;
  readonly slices: Slices;
  readonly spec: QuantSpec;
}

/**
 * Factors on the scale that a search tries, 1 first. For a symmetric narrow grid the scale max|w| / 2^(b−1) clips the
 * opposite end; factors up to (2^(b−1)) / (2^(b−1) − 1) undo that. Smaller ones clip outliers.
 */
export function searchRatios(spec: QuantSpec): number[] {
  const shrink = Array.from({ length: 40 }, (_, i) => 1 - (i + 1) * 0.015);
  if (!spec.symmetric || spec.bits === 8) return [1, ...shrink];
  const half = 2 ** (spec.bits - 1);
  return [1, half / (half - 0.5), half / (half - 1), ...shrink];
}

/**
 * The parameters of one weight. `resident` is where the whole weight lies in kernel memory as float32; without it the
 * weight is read piece by piece, which only the absmax choice allows.
 * @throws bad-data when the weight holds NaN or infinity
 */
export function scaleParams(weight: Weight, resident: Pointer | undefined): ScaleParams {
  const { spec } = weight;
  if (resident !== undefined)
    return residentParams({ ...weight, dims: weight.weight.dims, dtype: weight.weight.dtype }, resident);
  if (spec.scale.by !== "absmax") throw new TersorError("internal", "a scale search needs the whole weight in memory.");
  return roundToType(paramsOf(findRanges(weight), spec), weight.weight.dtype);
}

/** A block of float32 in kernel memory, contiguous; `dims` and `name` of the weight it belongs to name it in errors. */
export interface Block {
  readonly name: string;
  readonly dims: readonly number[];
  /** Float type that the scales are stored in. */
  readonly dtype: Tensor["dtype"];
  readonly slices: Slices;
  readonly spec: QuantSpec;
}

/** The parameters of a block. @throws bad-data when it holds NaN or infinity */
export function residentParams(block: Block, x: Pointer): ScaleParams {
  const { spec, slices, dtype } = block;
  let ranges = rangesOf(block, 0, (piece) => x + piece.start * 4);
  if (spec.scale.by === "percentile") ranges = clipRanges(ranges, slices, x, spec.scale.percent);
  const params = paramsOf(ranges, spec);
  if (spec.scale.by === "mse") searchScales(params, slices, spec, x);
  return roundToType(params, dtype);
}

/** One pass over the weight, which lies at `resident` or is read piece by piece. */
export function findRanges({ weight, ...rest }: Weight, resident?: Pointer): Ranges {
  const block = { ...rest, dims: weight.dims };
  if (resident !== undefined) return rangesOf(block, 0, (piece) => resident + piece.start * 4);
  return rangesOf(block, largestPiece(rest.slices), (piece, buffer) => {
    readFloats(weight, piece.start, piece.length, buffer);
    return buffer;
  });
}

/** `locate` says where a piece lies; it may read it into the buffer of `room` elements. */
function rangesOf(
  { name, dims, slices, spec }: Omit<Block, "dtype">,
  room: number,
  locate: (piece: Piece, buffer: Pointer) => Pointer,
): Ranges {
  const shared = kernels();
  const { memory } = shared;
  return memory.scope(() => {
    const entries = slices.count * slices.fold;
    const min = memory.alloc32(entries);
    const max = memory.alloc32(entries);
    const buffer = memory.alloc32(room);
    const magnitudeOnly = spec.symmetric && spec.bits === 8;
    memory.f32(min, entries).fill(Number.POSITIVE_INFINITY);
    memory.f32(max, entries).fill(magnitudeOnly ? 0 : Number.NEGATIVE_INFINITY);
    const measure = magnitudeOnly ? absMax(shared) : minMax(shared);
    for (const piece of piecesOf(slices)) {
      const x = locate(piece, buffer);
      const finite = measure[slices.form](x, piece, min + piece.slice * 4, max + piece.slice * 4);
      if (!finite)
        throw new TersorError(
          "bad-data",
          `weight "${name}" [${dims.join(", ")}]: expected finite numbers, got NaN or infinity. The model is damaged, or leave the layer out.`,
        );
    }
    const reduce = (at: Pointer, pick: (a: number, b: number) => number) =>
      foldColumns(memory.f32(at, entries), slices.fold, pick);
    const upper = reduce(max, Math.max);
    return { min: magnitudeOnly ? upper : reduce(min, Math.min), max: upper };
  });
}

type Measure = (x: Pointer, piece: Piece, min: Pointer, max: Pointer) => boolean;

const absMax = (kernels: Kernels): Record<Slices["form"], Measure> => ({
  runs: (x, { n, rows }, _, max) => kernels.absMaxRuns(x, { runLength: n, count: rows }, max, true),
  columns: (x, piece, _, max) => kernels.absMaxColumns(x, piece, max, true),
});

const minMax = (kernels: Kernels): Record<Slices["form"], Measure> => ({
  runs: (x, { n, rows }, min, max) => kernels.minMaxRuns(x, { runLength: n, count: rows }, min, max, true),
  columns: (x, piece, min, max) => kernels.minMaxColumns(x, piece, min, max, true),
});

function largestPiece(slices: Slices): number {
  let largest = 1;
  for (const { length } of piecesOf(slices)) largest = Math.max(largest, length);
  return largest;
}

/** One entry per slice from one entry per column. */
function foldColumns(columns: Float32Array, fold: number, pick: (a: number, b: number) => number): Float32Array {
  if (fold === 1) return columns.slice();
  return Float32Array.from({ length: columns.length / fold }, (_, i) =>
    columns.subarray(i * fold, (i + 1) * fold).reduce((a, b) => pick(a, b)),
  );
}

/** Scale and zero point from the range: narrow symmetric grids use all codes, with the sign of the larger end on the scale. */
export function paramsOf({ min, max }: Ranges, spec: QuantSpec): ScaleParams {
  const shared = kernels();
  const { memory } = shared;
  const n = min.length;
  return memory.scope(() => {
    const [lo, hi, scales, zeroPoints] = [0, 0, 0, 0].map(() => memory.alloc32(n)) as [number, number, number, number];
    memory.f32(lo, n).set(min);
    memory.f32(hi, n).set(max);
    const mode = !spec.symmetric ? "asymmetric" : spec.bits === 8 ? "restricted" : "full";
    shared.qparams(lo, hi, n, storedRange(spec), mode, { scales, zeroPoints });
    return { scales: memory.f32(scales, n).slice(), zeroPoints: memory.i32(zeroPoints, n).slice() };
  });
}

/** All codes of the bit width, also those that a symmetric 8-bit grid leaves out. */
function storedRange(spec: QuantSpec) {
  const { qmin, qmax } = codeRange(spec);
  return { qmin: spec.symmetric && spec.bits === 8 ? qmin - 1 : qmin, qmax };
}

/** Cuts every slice's range to the magnitude that `percent` of its weights do not exceed. */
function clipRanges(ranges: Ranges, slices: Slices, x: Pointer, percent: number): Ranges {
  const limits = new Float32Array(slices.count);
  eachSliceRun(slices, x, (slice, at, length) => {
    const rank = Math.min(length - 1, Math.max(0, Math.ceil((percent / 100) * length) - 1));
    limits[slice] = kernels().selectAbs(at, length, rank);
  });
  return clipTo(ranges, limits);
}

/** Ranges cut to [-limit, limit], one limit per slice. */
export function clipTo({ min, max }: Ranges, limits: ArrayLike<number>): Ranges {
  const upper = max.map((value, i) => Math.min(value, limits[i] as number));
  return { min: min === max ? upper : min.map((value, i) => Math.max(value, -(limits[i] as number))), max: upper };
}

/** Replaces each scale by the candidate of least squared error. */
function searchScales(params: ScaleParams, slices: Slices, spec: QuantSpec, x: Pointer): void {
  const shared = kernels();
  const { memory } = shared;
  const ratios = searchRatios(spec);
  memory.scope(() => {
    const scales = memory.alloc32(slices.count);
    const zeroPoints = memory.alloc32(slices.count);
    memory.f32(scales, slices.count).set(params.scales);
    memory.i32(zeroPoints, slices.count).set(params.zeroPoints);
    if (slices.form === "columns" && slices.fold === 1) {
      for (let block = 0; block < slices.blocks; block++) {
        const at = block * slices.n * 4;
        const from = x + block * slices.rows * slices.n * 4;
        shared.searchColumns(
          from,
          slices,
          { scales: scales + at, zeroPoints: zeroPoints + at },
          codeRange(spec),
          ratios,
        );
      }
    } else if (slices.form === "runs")
      shared.searchRuns(
        x,
        { runLength: slices.n, count: slices.rows },
        { scales, zeroPoints },
        codeRange(spec),
        ratios,
      );
    else
      eachSliceRun(slices, x, (slice, at, runLength) => {
        const own = { scales: scales + slice * 4, zeroPoints: zeroPoints + slice * 4 };
        shared.searchRuns(at, { runLength, count: 1 }, own, codeRange(spec), ratios);
      });
    params.scales.set(memory.f32(scales, slices.count));
  });
}

/** Visits every slice as one contiguous run; columns are transposed block by block. */
function eachSliceRun(slices: Slices, x: Pointer, visit: (slice: number, at: Pointer, length: number) => void): void {
  const { form, blocks, rows, n, fold } = slices;
  if (form === "runs") {
    for (let run = 0; run < rows; run++) visit(run, x + run * n * 4, n);
    return;
  }
  const { memory } = kernels();
  memory.scope(() => {
    const turned = memory.alloc32(rows * n);
    for (let block = 0; block < blocks; block++) {
      kernels().transpose32(x + block * rows * n * 4, { rows, n }, turned);
      const perBlock = n / fold;
      for (let i = 0; i < perBlock; i++) visit(block * perBlock + i, turned + i * fold * rows * 4, fold * rows);
    }
  });
}

/** Scales as the weight's own float type will store them, so that codes are computed against what is read back. */
export function roundToType({ scales, zeroPoints }: ScaleParams, dtype: Tensor["dtype"]): ScaleParams {
  if (dtype === "float16") return { scales: scales.map((s) => halfToFloat(floatToHalf(s))), zeroPoints };
  if (dtype === "bfloat16") return { scales: scales.map((s) => bfloatToFloat(floatToBfloat(s))), zeroPoints };
  return { scales, zeroPoints };
}
