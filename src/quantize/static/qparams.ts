/** @file Scale and zero point of an activation from its range. */
import type { Range } from "../../calibrate/collector.ts";
import type { ActivationDType } from "./options.ts";

export interface ActivationParams {
  /** A float32 value above 0. */
  readonly scale: number;
  readonly zeroPoint: number;
}

/** Below this, products with a weight's scale leave float32. */
const LEAST_SCALE = 2 ** -60;

export const activationCodes: Readonly<Record<ActivationDType, { readonly qmin: number; readonly qmax: number }>> = {
  uint8: { qmin: 0, qmax: 255 },
  int8: { qmin: -128, qmax: 127 },
};

/**
 * The range is widened to hold 0, which is exact, and cut to `bounds`: where the largest code stands for no more than an
 * upper bound, and the smallest for no less than a lower one, quantizing does the work of the Relu or Clip before it.
 * `symmetric` puts the zero point in the middle of ranges that hold negative numbers.
 */
export function activationParams(
  range: Range,
  bounds: Range,
  dtype: ActivationDType,
  symmetric: boolean,
): ActivationParams {
  const { qmin, qmax } = activationCodes[dtype];
  const min = Math.max(bounds.min, Math.min(0, range.min));
  const max = Math.min(bounds.max, Math.max(0, range.max));
  if (!(max - min > 0)) return { scale: 1, zeroPoint: qmin };
  const middle = (qmin + qmax + 1) / 2;
  const centred = symmetric && min < 0;
  let scale = Math.fround(
    Math.max(LEAST_SCALE, centred ? Math.max(-min, max) / (qmax - middle) : (max - min) / (qmax - qmin)),
  );
  const zeroPoint = centred ? middle : Math.min(qmax, Math.max(qmin, Math.round(qmin - min / scale)));
  // Rounding the zero point may have moved an end past its bound by half a step, rounding the scale by a unit more.
  const limits = [
    { bound: bounds.max, steps: qmax - zeroPoint },
    { bound: bounds.min, steps: qmin - zeroPoint },
  ].filter(({ bound, steps }) => steps !== 0 && Number.isFinite(bound));
  for (const { bound, steps } of limits) {
    scale = Math.min(scale, Math.fround(bound / steps));
    while (Math.abs(Math.fround(scale * steps)) > Math.abs(bound)) scale = Math.fround(scale * (1 - 2 ** -23));
  }
  return { scale, zeroPoint };
}
