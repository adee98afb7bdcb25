import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type HostTensor, hostTensor } from "../tensor/host-tensor.ts";
import { FidelityMeter, fidelityOf } from "./fidelity.ts";

const floats = (...values: number[]): HostTensor => hostTensor("float32", [values.length], values);

describe("fidelity", () => {
  it("is what the formulas say", () => {
    const found = fidelityOf([3, 4, 0], [3, 3, 1]);
    expect(found).toMatchObject({
      samples: 1,
      elements: 3,
      maxAbsError: 1,
      maxRelativeError: 0.25,
      nonFinite: 0,
      broken: 0,
    });
    expect(found.sqnr).toBeCloseTo(10 * Math.log10(25 / 2), 12);
    expect(found.cosine).toBeCloseTo(21 / (5 * Math.sqrt(19)), 12);
  });

  it("is perfect for equal outputs", () => {
    fc.assert(
      fc.property(fc.array(fc.double({ noNaN: false })), (values) => {
        const { sqnr, maxAbsError, maxRelativeError, broken } = fidelityOf(values, values);
        expect([sqnr, maxAbsError, maxRelativeError, broken]).toEqual([Number.POSITIVE_INFINITY, 0, 0, 0]);
      }),
      { seed: 1 },
    );
  });

  it.each([
    ["both zero", [0], [0], { sqnr: Number.POSITIVE_INFINITY, cosine: 1, maxRelativeError: 0 }],
    ["candidate zero", [2], [0], { sqnr: 0, cosine: 0, maxRelativeError: 1 }],
    [
      "reference zero",
      [0],
      [2],
      { sqnr: Number.NEGATIVE_INFINITY, cosine: 0, maxRelativeError: Number.POSITIVE_INFINITY },
    ],
    ["the same infinity", [1, -Infinity], [1, -Infinity], { sqnr: Infinity, nonFinite: 1, broken: 0 }],
    [
      "a new NaN",
      [1, 2],
      [1, Number.NaN],
      { sqnr: -Infinity, maxAbsError: Infinity, nonFinite: 0, broken: 1, cosine: 1 },
    ],
    ["a lost NaN", [1, Number.NaN], [1, 2], { sqnr: -Infinity, nonFinite: 1, broken: 1 }],
  ])("handles %s", (_, reference, candidate, wanted) => {
    expect(fidelityOf(reference, candidate)).toMatchObject(wanted);
  });

  it("gathers over samples, by output", () => {
    const meter = new FidelityMeter();
    meter.add({ a: floats(3, 4), b: floats(1) }, { a: floats(3, 3), b: floats(1) });
    meter.add({ a: floats(0), b: floats(2) }, { a: floats(1), b: floats(2) });
    const { a, b } = meter.result();
    expect(a).toEqual({ ...fidelityOf([3, 4, 0], [3, 3, 1]), samples: 2 });
    expect(b).toMatchObject({ samples: 2, sqnr: Number.POSITIVE_INFINITY });
  });

  it("compares across types", () => {
    const meter = new FidelityMeter();
    meter.add({ y: floats(1, 2) }, { y: hostTensor("float16", [2], [1, 2]) });
    expect(meter.result().y?.maxAbsError).toBe(0);
  });

  it("refuses outputs that do not agree", () => {
    const meter = new FidelityMeter();
    expect(() => meter.add({ y: floats(1, 2) }, { y: floats(1) })).toThrowError(
      'output "y": the two models do not agree: expected float32 [2], got float32 [1]',
    );
    expect(() => meter.add({ y: floats(1) }, { z: floats(1) })).toThrowError("got none (it has z)");
  });
});
