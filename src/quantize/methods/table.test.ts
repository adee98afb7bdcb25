/** @file Codebooks and NF4: the best tables on small data, nearest levels, the packed layout. */
import { describe, expect, it } from "vitest";
import { Rng } from "../../util/rng.ts";
import { quantizeCodebook } from "./codebook.ts";
import { dequantizeNf4, NF4_LEVELS, quantizeNf4 } from "./nf4.ts";

function normals(count: number): Float32Array {
  const rng = new Rng(6, "weights");
  return Float32Array.from({ length: count }, () => rng.normal() * 0.05);
}

/** Least squared error of `k` clusters of sorted values, by trying every cut. */
function bruteForce(sorted: readonly number[], k: number): number {
  const spread = (part: readonly number[]) => {
    const mean = part.reduce((a, b) => a + b, 0) / part.length;
    return part.reduce((sum, v) => sum + (v - mean) ** 2, 0);
  };
  if (k === 1) return spread(sorted);
  let best = Number.POSITIVE_INFINITY;
  for (let cut = 1; cut <= sorted.length - k + 1; cut++)
    best = Math.min(best, spread(sorted.slice(0, cut)) + bruteForce(sorted.slice(cut), k - 1));
  return best;
}

const squaredError = (data: Float32Array, values: Float32Array, codes: Uint8Array) =>
  data.reduce((sum, w, i) => sum + (w - (values[codes[i] as number] as number)) ** 2, 0);

describe("codebook", () => {
  it.each([2, 3, 5])("%i values are the best there are", (size) => {
    const data = normals(14);
    const { values, codes } = quantizeCodebook("w", data, size);
    const best = bruteForce(
      [...data].sort((a, b) => a - b),
      size,
    );
    expect(squaredError(data, values, codes)).toBeCloseTo(best, 8);
  });

  it("has every weight where there are no more than values", () => {
    const data = Float32Array.from([3, -1, 3, 0, 0.5, -1]);
    const { values, codes } = quantizeCodebook("w", data, 16);
    expect([...codes].map((code) => values[code])).toEqual([...data]);
  });

  it("keeps what was pruned exactly zero", () => {
    const data = normals(20_000).map((w) => (Math.abs(w) < 0.06 ? 0 : w));
    const { values, codes } = quantizeCodebook("w", data, 16);
    expect(values.filter((value) => value === 0)).toHaveLength(1);
    expect(data.every((w, i) => w !== 0 || values[codes[i] as number] === 0)).toBe(true);
  });

  it("16 values beat a uniform grid, 256 beat 16", () => {
    const data = normals(20_000);
    const errors = [16, 256].map((size) => {
      const { values, codes } = quantizeCodebook("w", data, size);
      expect(values).toEqual(values.slice().sort());
      return squaredError(data, values, codes);
    }) as [number, number];
    const step = Math.max(...data.map(Math.abs)) / 7.5;
    expect(errors[0]).toBeLessThan((0.6 * data.length * step ** 2) / 12);
    expect(errors[1]).toBeLessThan(errors[0] / 100);
  });

  it("refuses what is not finite", () => {
    expect(() => quantizeCodebook("w", Float32Array.from([1, Number.NaN]), 2)).toThrow(/weight "w": expected finite/);
  });
});

describe("nf4", () => {
  it("takes the nearest level of every block's scale, last block short", () => {
    const [k, n] = [50, 7];
    const data = normals(k * n);
    const weight = quantizeNf4("w", data, k, n);
    expect(weight.packed.length).toBe(175);
    expect(weight.absmax.length).toBe(6);
    const values = dequantizeNf4(weight, k, n);
    data.forEach((w, i) => {
      const stored = (i % n) * k + Math.floor(i / n);
      const scale = weight.absmax[Math.floor(stored / 64)] as number;
      const nearest = Math.min(...NF4_LEVELS.map((level) => Math.abs(level * scale - w)));
      expect(Math.abs((values[i] as number) - w)).toBeCloseTo(nearest, 6);
    });
  });

  it("quantizes zeros to zero", () => {
    expect(dequantizeNf4(quantizeNf4("w", new Float32Array(128), 16, 8), 16, 8)).toEqual(new Float32Array(128));
  });
});
