/** @file Tests of the counter-based generator: determinism, and that no simple statistic gives it away. */
import { describe, expect, it } from "vitest";
import { hash32, hashLow, keyOf, Rng, streamKeys, uniform } from "./rng.ts";

const N = 1 << 17;

/** Pearson correlation of two streams. Independent streams: standard deviation 1 / sqrt(N) = 0.0028. */
function correlation(a: (i: number) => number, b: (i: number) => number): number {
  let sum = 0;
  for (let i = 0; i < N; i++) sum += (a(i) - 0.5) * (b(i) - 0.5);
  return (sum / N) * 12;
}

function chiSquared(bins: number, draw: (i: number) => number): number {
  const counts = new Float64Array(bins);
  for (let i = 0; i < N; i++) {
    const bin = draw(i);
    counts[bin] = (counts[bin] as number) + 1;
  }
  const expected = N / bins;
  return counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
}

describe("hash32", () => {
  it("is fixed: these values are in files that users have", () => {
    expect([0, 1, 2 ** 32, 2 ** 52].map((index) => hash32(42, keyOf("fc.w"), index))).toMatchInlineSnapshot(`
      [
        3421047048,
        927350912,
        2499945181,
        2102777169,
      ]
    `);
  });

  it("is hashLow under the stream's keys", () => {
    const { k1, k2 } = streamKeys(7, 9, 3);
    expect(hash32(7, 9, 3 * 2 ** 32 + 5)).toBe(hashLow(5, k1, k2));
  });

  it("depends on every part of seed, key and index", () => {
    const values = [
      [0, 0, 0],
      [1, 0, 0],
      [-1, 0, 0],
      [2 ** 32, 0, 0],
      [0, 1, 0],
      [0, 0, 1],
      [0, 0, 2 ** 32],
    ].map(([seed, key, index]) => hash32(seed as number, key as number, index as number));
    expect(new Set(values).size).toBe(values.length);
  });

  it("has uniform bytes: chi-squared of 255 degrees of freedom lies in the central 99.99 %", () => {
    for (const shift of [0, 8, 16, 24]) {
      const chi = chiSquared(256, (i) => (hash32(1, 2, i) >>> shift) & 255);
      expect(chi).toBeGreaterThan(175);
      expect(chi).toBeLessThan(350);
    }
  });

  it("has uniform pairs of neighbours", () => {
    const chi = chiSquared(256, (i) => ((hash32(3, 4, i) >>> 28) << 4) | (hash32(3, 4, i + 1) >>> 28));
    expect(chi).toBeLessThan(350);
  });

  it("shows no correlation between neighbours, keys or seeds", () => {
    const base = (i: number) => uniform(5, 6, i);
    for (const other of [
      (i: number) => uniform(5, 6, i + 1),
      (i: number) => uniform(5, 6, i + 768),
      (i: number) => uniform(5, 7, i),
      (i: number) => uniform(6, 6, i),
      (i: number) => uniform(5, 6, i + 2 ** 32),
    ])
      expect(Math.abs(correlation(base, other))).toBeLessThan(0.012);
  });

  it("changes half of the bits when one bit of the index changes", () => {
    for (let bit = 0; bit < 32; bit++) {
      let flips = 0;
      for (let i = 0; i < 2000; i++) {
        let x = hash32(1, 1, i) ^ hash32(1, 1, (i ^ (1 << bit)) >>> 0);
        for (; x; x &= x - 1) flips++;
      }
      expect(Math.abs(flips / 2000 - 16)).toBeLessThan(0.6);
    }
  });
});

describe("uniform", () => {
  it("has the mean and the variance of [0, 1)", () => {
    let sum = 0;
    let squares = 0;
    let outside = 0;
    for (let i = 0; i < N; i++) {
      const u = uniform(11, 12, i);
      if (u < 0 || u >= 1) outside++;
      sum += u;
      squares += u * u;
    }
    expect(outside).toBe(0);
    expect(Math.abs(sum / N - 0.5)).toBeLessThan(0.004);
    expect(Math.abs(squares / N - 1 / 3)).toBeLessThan(0.004);
  });
});

describe("keyOf", () => {
  it("separates similar names", () => {
    const names = Array.from({ length: 20_000 }, (_, i) => `layer.${i}.weight`);
    expect(new Set(names.map(keyOf)).size).toBe(names.length);
  });
});

describe("Rng", () => {
  it("repeats for the same seed and stream, and only then", () => {
    const draw = (rng: Rng) => Array.from({ length: 8 }, () => rng.uniform());
    expect(draw(new Rng(1, "a"))).toEqual(draw(new Rng(1, "a")));
    expect(draw(new Rng(1, "a"))).not.toEqual(draw(new Rng(1, "b")));
    expect(draw(new Rng(1, "a"))).not.toEqual(draw(new Rng(2, "a")));
  });

  it("draws integers below n evenly", () => {
    const rng = new Rng(3);
    expect(chiSquared(7, () => rng.int(7) % 7)).toBeLessThan(40);
  });

  it("draws normal numbers", () => {
    const rng = new Rng(4);
    const values = Array.from({ length: N }, () => rng.normal());
    const moment = (power: number) => values.reduce((sum, value) => sum + value ** power, 0) / N;
    expect(Math.abs(moment(1))).toBeLessThan(0.015);
    expect(Math.abs(moment(2) - 1)).toBeLessThan(0.02);
    expect(Math.abs(moment(4) - 3)).toBeLessThan(0.15);
  });

  it("shuffles: keeps the items, moves them evenly", () => {
    const rng = new Rng(5);
    const at = new Float64Array(10);
    for (let i = 0; i < 5000; i++) {
      const items = rng.shuffle(Uint8Array.from({ length: 10 }, (_, k) => k));
      expect(items.reduce((sum, item) => sum + item, 0)).toBe(45);
      const place = items.indexOf(0);
      at[place] = (at[place] as number) + 1;
    }
    for (const count of at) expect(Math.abs(count - 500)).toBeLessThan(110);
  });
});
