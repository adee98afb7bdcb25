/**
 * @file The contract of the kernels below the chunking: what the wasm module exports and the reference computes, bit for bit.
 *
 * Arguments are byte addresses in one memory, element counts and integers. Addresses of f32, i32 and u32 data are multiples
 * of 4, of f64 data of 8. Input and output must not overlap. Two shapes of slices cover every granularity:
 * - runs: `count` contiguous runs of `runLength` elements, slice i = run i;
 * - columns: a block [rows, n] whose rows are `stride` elements apart, slice j = column j.
 *
 * Arithmetic is IEEE f32 in the order written; where a sum is taken, its order is part of the contract.
 */

import type { Pointer } from "./pointer.ts";
import type { RawLinalg } from "./raw-linalg.ts";

export interface RawKernels extends RawLinalg {
  /** out[i] f32 = max(out[i], |x|). Returns 1 if a result is not finite (NaN and infinity are the greatest), else 0. */
  absMaxRuns(x: Pointer, runLength: number, count: number, out: Pointer): number;
  absMaxColumns(x: Pointer, rows: number, n: number, stride: number, out: Pointer): number;
  /** minOut[i], maxOut[i] f32, accumulating, -0 below +0, NaN at the ends by its sign. Returns as absMaxRuns. */
  minMaxRuns(x: Pointer, runLength: number, count: number, minOut: Pointer, maxOut: Pointer): number;
  minMaxColumns(x: Pointer, rows: number, n: number, stride: number, minOut: Pointer, maxOut: Pointer): number;

  /** f64 sum of x^2: lane l takes elements l, l + 4, ...; (l0 + l2) + (l1 + l3), then the last n mod 4 in order. */
  sumSquares(x: Pointer, n: number): number;
  /** f64 sum of (x - y)^2, the difference in f64, in the same order. */
  sumSquaredDifference(x: Pointer, y: Pointer, n: number): number;
  /** bins[65536] u32: counts of the top 16 bits of |x| (bits 30 to 15). */
  histogramTop(x: Pointer, n: number, bins: Pointer): void;
  /** bins[65536] u32: counts of the |x| whose bits are from, from + 1, …. Returns how many are less. */
  histogramFrom(x: Pointer, n: number, from: number, bins: Pointer): number;

  /**
   * scales f32 and zeroPoints i32 of n slices from their min and max, for codes in [qmin, qmax]; half = (qmax - qmin + 1) / 2.
   * mode 0 (full): scale = m / -half with m the end of larger magnitude (max only if strictly larger), so that m maps to
   * code -half and the scale carries its sign; mode 1 (restricted): scale = max|x| / (half - 1); both with zero point
   * qmin + half. mode 2 (asymmetric): the range is widened to hold 0, scale = (max - min) / (qmax - qmin),
   * zeroPoint = clamp(nearestEven(qmin - min / scale)).
   */
  qparams(
    minIn: Pointer,
    maxIn: Pointer,
    n: number,
    qmin: number,
    qmax: number,
    mode: number,
    scales: Pointer,
    zeroPoints: Pointer,
  ): void;

  /**
   * Codes of one byte (int8 or uint8 by the range): round(clamp(x / scale, qmin - zp, qmax - zp)) + zp. A true division, as
   * ONNX Runtime's QuantizeLinear. A zero scale gives the zero point, NaN gives qmin.
   * Nearest: to even. HalfUp: floor(t + 1/2) without the addition's rounding error. Stochastic: floor(t) + [u < t - floor(t)],
   * u of util/rng.ts; `start` is the low word of the first element's index (columns: row r, column j has start + r * stride + j).
   */
  quantizeRunsNearest(...args: QuantizeRunsArgs): void;
  quantizeRunsHalfUp(...args: QuantizeRunsArgs): void;
  quantizeRunsStochastic(...args: [...QuantizeRunsArgs, start: number, k1: number, k2: number]): void;
  quantizeColumnsNearest(...args: QuantizeColumnsArgs): void;
  quantizeColumnsHalfUp(...args: QuantizeColumnsArgs): void;
  quantizeColumnsStochastic(...args: [...QuantizeColumnsArgs, start: number, k1: number, k2: number]): void;

  /** out f32 = (code - zp) * scale, codes int8 if `signed`, else uint8. */
  dequantizeRuns(
    codes: Pointer,
    runLength: number,
    count: number,
    scales: Pointer,
    zeroPoints: Pointer,
    out: Pointer,
    signed: number,
  ): void;
  dequantizeColumns(
    codes: Pointer,
    rows: number,
    n: number,
    codesStride: number,
    scales: Pointer,
    zeroPoints: Pointer,
    out: Pointer,
    outStride: number,
    signed: number,
  ): void;

  /**
   * err[i * candidates + c] f64 += sum of (x - dequantize(quantize(x)))^2 over run i with scale f32(base[i] * ratios[c]).
   * Every 256 elements of the run: four f32 lanes (lane l takes elements l, l + 4, ...), (l0 + l1) + (l2 + l3) in f64 added to
   * the sum; after them the last n mod 4 elements, one by one.
   */
  errorRuns(
    x: Pointer,
    runLength: number,
    count: number,
    base: Pointer,
    zeroPoints: Pointer,
    qmin: number,
    qmax: number,
    ratios: Pointer,
    candidates: number,
    err: Pointer,
  ): void;
  /** err[c * n + j] f64 += the same over column j: an f32 sum of each 64 rows, added to the f64 sum. */
  errorColumns(
    x: Pointer,
    rows: number,
    n: number,
    stride: number,
    base: Pointer,
    zeroPoints: Pointer,
    qmin: number,
    qmax: number,
    ratios: Pointer,
    candidates: number,
    err: Pointer,
  ): void;

  /** n codes of one byte to 4 or 2 bits each, first element in the low bits; a partial last byte is padded with zeros. */
  pack4(codes: Pointer, n: number, out: Pointer): void;
  pack2(codes: Pointer, n: number, out: Pointer): void;
  /** Column j of codes [rows, n] becomes ceil(rows * bits / 8) packed bytes at out + j * outStride; bits 2, 4 or 8. */
  packColumns(
    codes: Pointer,
    rows: number,
    n: number,
    stride: number,
    out: Pointer,
    outStride: number,
    bits: number,
  ): void;
  /** out [n, rows] = x [rows, n], four-byte elements, strides in elements. */
  transpose32(x: Pointer, rows: number, n: number, stride: number, out: Pointer, outStride: number): void;

  /** f32 to float16 bits, nearest even; NaN becomes 0x7e00 with its sign. Returns how many finite elements became infinite. */
  floatToHalf(x: Pointer, n: number, out: Pointer): number;
  /** float16 bits to f32; NaN becomes 0x7fc00000 with its sign. */
  halfToFloat(x: Pointer, n: number, out: Pointer): void;
  /** f32 to bfloat16 bits, nearest even; NaN is quieted. */
  floatToBfloat(x: Pointer, n: number, out: Pointer): void;
  bfloatToFloat(x: Pointer, n: number, out: Pointer): void;
}

export type QuantizeRunsArgs = [
  x: Pointer,
  runLength: number,
  count: number,
  scales: Pointer,
  zeroPoints: Pointer,
  qmin: number,
  qmax: number,
  out: Pointer,
];

export type QuantizeColumnsArgs = [
  x: Pointer,
  rows: number,
  n: number,
  stride: number,
  scales: Pointer,
  zeroPoints: Pointer,
  qmin: number,
  qmax: number,
  out: Pointer,
  outStride: number,
];

/** All views of the memory the reference works on; read again on every call, since growing the memory replaces them. */
export interface Views {
  readonly i8: Int8Array;
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
  readonly i32: Int32Array;
  readonly u32: Uint32Array;
  readonly f32: Float32Array;
  readonly f64: Float64Array;
}

/** Views of a whole buffer. */
export function viewsOf(buffer: ArrayBuffer): Views {
  return {
    i8: new Int8Array(buffer),
    u8: new Uint8Array(buffer),
    u16: new Uint16Array(buffer),
    i32: new Int32Array(buffer),
    u32: new Uint32Array(buffer),
    f32: new Float32Array(buffer),
    f64: new Float64Array(buffer),
  };
}
