/** @file Rounding as the SIMD kernels do it. */

/** Rounds a number of magnitude below 2^51 to the nearest even integer: in f64, adding 1.5 * 2^52 does it. */
export const nearestEven = (t: number) => t + 6755399441055744 - 6755399441055744;

/** A zero scale divides by infinity, so that every code is the zero point. */
export const divisorOf = (scale: number) => (scale === 0 ? Number.POSITIVE_INFINITY : scale);

/** x / divisor in f32, clamped; NaN to lo. */
export const clampedQuotient = (x: number, divisor: number, lo: number, hi: number) => {
  const t = Math.fround(x / divisor);
  return t > lo ? (t < hi ? t : hi) : lo;
};
