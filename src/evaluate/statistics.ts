/** @file Order statistics of small lists of measurements. */
import { invariant } from "../util/errors.ts";

/** The p-quantile, 0 ≤ p ≤ 1, interpolated between the nearest ranks (Hyndman and Fan's type 7, as NumPy's default). */
export function quantile(values: ArrayLike<number>, p: number): number {
  invariant(values.length > 0, "a quantile of nothing");
  const sorted = Float64Array.from(values).sort();
  const at = p * (sorted.length - 1);
  const below = sorted[Math.floor(at)] as number;
  const above = sorted[Math.ceil(at)] as number;
  return below + (above - below) * (at - Math.floor(at));
}

export function median(values: ArrayLike<number>): number {
  return quantile(values, 0.5);
}

/** Distance between the quartiles: the width of the middle half. */
export function interquartileRange(values: ArrayLike<number>): number {
  return quantile(values, 0.75) - quantile(values, 0.25);
}
