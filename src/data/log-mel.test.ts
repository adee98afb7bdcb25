import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { LogMel, type LogMelOptions } from "./log-mel.ts";

interface Row {
  readonly options: LogMelOptions;
  readonly frames: number;
  readonly features: readonly number[];
}

const rows: readonly Row[] = JSON.parse(
  readFileSync(new URL("../../test/fixtures/log-mel.json", import.meta.url), "utf8"),
);

/** A rising tone and a steady one, as scripts/generate-log-mel.py has it. */
const signal = Float32Array.from({ length: 1000 }, (_, i) => {
  const t = i / 8000;
  return 0.5 * Math.sin(2 * Math.PI * (300 * t + 4000 * t * t)) + 0.1 * Math.sin(2 * Math.PI * 1750 * t);
});

const [{ options }] = rows as [Row];

describe("log-mel features", () => {
  it.each(rows)("are those that NumPy computes from the definition: $options.scale, $options.log", (row) => {
    const features = new LogMel(row.options, "x").compute(signal);
    expect(features).toHaveLength(row.features.length);
    expect(features.length).toBe(row.frames * row.options.mels);
    const worst = Math.max(...row.features.map((value, i) => Math.abs(value - (features[i] as number))));
    expect(worst).toBeLessThan(5e-5);
  });

  it("are the floor where there is silence, and one frame where sound is shorter than a window", () => {
    const silent = new LogMel({ ...options, centre: false }, "x");
    expect([...silent.compute(new Float32Array(3))]).toEqual(new Array(12).fill(Math.fround(Math.log(1e-6))));
    expect(silent.silence).toBeCloseTo(Math.log(1e-6), 12);
    expect(new LogMel(options, "x").compute(Float32Array.of(0.5)).every(Number.isFinite)).toBe(true);
  });

  it.each([
    [{ fft: 200 }, /"fft": expected a power of 2 from 200/],
    [{ fft: 128 }, /"fft": expected a power of 2 from 200/],
    [{ fmax: 5000 }, /"fmin", "fmax": expected a range up to half the sample rate \(4000 Hz\)/],
    [{ mels: 128 }, /band \d+ of 128 .* lies between two frequencies/],
  ])("refuse %j", (wrong, message) => {
    expect(() => new LogMel({ ...options, ...wrong }, "x")).toThrow(message);
  });
});
