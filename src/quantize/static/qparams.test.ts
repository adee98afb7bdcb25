/** @file Properties of scale and zero point of activations. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { activationCodes, activationParams } from "./qparams.ts";

const open = { min: Number.NEGATIVE_INFINITY, max: Number.POSITIVE_INFINITY };
const end = fc.float({ min: Math.fround(-1e6), max: Math.fround(1e6), noNaN: true });

describe.each(["uint8", "int8"] as const)("%s", (dtype) => {
  const { qmin, qmax } = activationCodes[dtype];

  test("zero is exact, the range is covered to half a step, the scale is a float32 above 0", () => {
    fc.assert(
      fc.property(end, end, fc.boolean(), (a, b, symmetric) => {
        const range = { min: Math.min(a, b), max: Math.max(a, b) };
        const { scale, zeroPoint } = activationParams(range, open, dtype, symmetric);
        expect(scale).toBeGreaterThan(0);
        expect(Math.fround(scale)).toBe(scale);
        expect(Number.isInteger(zeroPoint) && zeroPoint >= qmin && zeroPoint <= qmax).toBe(true);
        const slack = scale * 0.51;
        expect(scale * (qmax - zeroPoint)).toBeGreaterThanOrEqual(Math.max(0, range.max) - slack);
        expect(scale * (qmin - zeroPoint)).toBeLessThanOrEqual(Math.min(0, range.min) + slack);
      }),
      { seed: 1 },
    );
  });

  test("codes never leave the bounds of a Relu or Clip, so that quantizing does its work", () => {
    fc.assert(
      fc.property(
        end,
        end,
        fc.float({ min: 0.5, max: 100, noNaN: true }),
        fc.float({ min: -100, max: 0, noNaN: true }),
        (a, b, max, min) => {
          const range = { min: Math.min(a, b), max: Math.max(a, b) };
          const { scale, zeroPoint } = activationParams(range, { min, max }, dtype, false);
          if (range.max <= 0 && min === 0) return;
          expect(Math.fround(scale * (qmax - zeroPoint))).toBeLessThanOrEqual(max);
          expect(Math.fround(scale * (qmin - zeroPoint))).toBeGreaterThanOrEqual(min);
        },
      ),
      { seed: 2 },
    );
  });

  test("a symmetric grid has its zero in the middle, except where nothing is negative", () => {
    const middle = (qmin + qmax + 1) / 2;
    expect(activationParams({ min: -2, max: 1 }, open, dtype, true)).toEqual({
      scale: Math.fround(2 / 127),
      zeroPoint: middle,
    });
    expect(activationParams({ min: 0, max: 1 }, open, dtype, true).zeroPoint).toBe(qmin);
  });
});
