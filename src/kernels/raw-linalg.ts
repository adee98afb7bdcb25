/**
 * @file The contract of the second group of kernels: matrix products and factors, GPTQ, HQQ and codebooks. As raw.ts: byte
 * addresses, element counts, strides in elements, IEEE f32 in the order written.
 */
import type { Pointer } from "./pointer.ts";

export interface RawLinalg {
  /**
   * A block [rows, n] cut into panels of `width` (4 or 8) columns: out [ceil(n / width), rows, width], the last panel filled up
   * with zeros. `out` is 16-byte aligned.
   */
  packPanels(x: Pointer, rows: number, n: number, stride: number, width: number, out: Pointer): void;
  /**
   * C[i, j] += alpha * s, s the f32 sum from 0 of a[r, i] * b[r, j] in order of r, for a [k, m] in panels of 4 and b [k, n] in
   * panels of 8, k at least 1. Only tiles [4, 8] (i0, j0) with j0 + 7 >= i0 + diagonal are computed. `tile` is 128 bytes of scratch.
   */
  gemmPanels(
    a: Pointer,
    b: Pointer,
    k: number,
    m: number,
    n: number,
    alpha: number,
    c: Pointer,
    stride: number,
    diagonal: number,
    tile: Pointer,
  ): void;
  /**
   * R of x = R^T R, upper, in place of the upper triangle of x [n, n]. Row by row: x[i, j] -= x[p, i] * x[p, j] in order of
   * p < i, then x[i, i] = sqrt, the rest of the row divided by it. Returns the row whose pivot is not positive, else -1.
   */
  cholesky(x: Pointer, n: number, stride: number): number;
  /**
   * X = R^-T X in place, R [rows, rows] upper, X [rows, n], n a multiple of 16: x[i, j] -= r[p, i] * x[p, j] in order of
   * p < i, then divided by r[i, i].
   */
  solvePanel(r: Pointer, rStride: number, rows: number, x: Pointer, n: number, stride: number): void;

  /**
   * GPTQ on some rows, n a multiple of 16. For every row i: v = w[i, j] - u[p, i] * err[p, j] in order of p < i;
   * code = round(clamp(v / scale)) + zp, nearest, as quantizeColumnsNearest; err[i, j] = (v - value of code) / u[i, i]. Scale
   * and zero point are those of slice [groups[i], j], groups u32 [rows], rows of slices sliceStride elements apart.
   */
  gptqPanel(
    w: Pointer,
    rows: number,
    n: number,
    stride: number,
    u: Pointer,
    uStride: number,
    scales: Pointer,
    zeroPoints: Pointer,
    groups: Pointer,
    sliceStride: number,
    qmin: number,
    qmax: number,
    codes: Pointer,
    codesStride: number,
    err: Pointer,
    errStride: number,
  ): void;

  /**
   * Half-quadratic refinement of scale s and zero z (f32, in codes) of each run, x ~ s * (q - z). In steps: t = x / s,
   * q = round(clamp(t + z, qmin, qmax)), d = t - (q - z), e = sign(d) * max(0, |d| - |d|^(power / 256) / beta). One iteration sums
   * |d|, and q - (t - e) (mode 0) or (q - z) * (t - e) and (q - z)^2 (mode 1); lane l takes elements l, l + 4, ..., missing
   * ones count 0; total (l0 + l1) + (l2 + l3). While |s| * sum |d| falls (by 0.2 % at least, or for the last time), at most `iterations` times, the best s and z are kept
   * and then z = mean (mode 0) or s *= first sum / second, when that is positive (mode 1), beta *= kappa.
   * errors[i] f32 is the least |s| * sum |d|. A power is that of max(|d|, 1e-30) with linear steps between powers of two: the
   * float whose bits are one + ((bits - one) >> 8) * power, one = 0x3f800000; within 7 % for exponents from -1 to 0.
   * `sums` is 48 bytes of scratch.
   */
  hqqRuns(
    x: Pointer,
    runLength: number,
    count: number,
    scales: Pointer,
    zeros: Pointer,
    errors: Pointer,
    qmin: number,
    qmax: number,
    mode: number,
    iterations: number,
    beta: number,
    kappa: number,
    power: number,
    sums: Pointer,
  ): void;

  /**
   * counts[65536] u32 and sums[65536] f64 of the elements by the top 16 bits of their order: bin 0 holds the most negative,
   * bin 32768 starts at +0. Elements must be finite.
   */
  histogramOrdered(x: Pointer, n: number, counts: Pointer, sums: Pointer): void;
  /** out[i] u8 = how many of the m ascending bounds are below x[i]: the nearest of m + 1 values when bounds lie halfway. */
  assignBounds(x: Pointer, n: number, bounds: Pointer, m: number, out: Pointer): void;
}
