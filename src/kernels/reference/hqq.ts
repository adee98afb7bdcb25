/** @file Reference of the half-quadratic refinement and of codebooks. Contract: RawLinalg. */
import type { Views } from "../raw.ts";
import type { RawLinalg } from "../raw-linalg.ts";
import { clampedQuotient, divisorOf, nearestEven } from "./rounding.ts";

type Hqq = Pick<RawLinalg, "hqqRuns" | "histogramOrdered" | "assignBounds">;

const { fround } = Math;
const add = (a: number, b: number) => fround(a + b);
const sub = (a: number, b: number) => fround(a - b);
const mul = (a: number, b: number) => fround(a * b);

const word = new Float32Array(1);
const wordBits = new Int32Array(word.buffer);
const ONE = 0x3f800000;

/** size^(power / 256), about. */
function powerOf(size: number, power: number): number {
  word[0] = size > 1e-30 ? size : 1e-30;
  wordBits[0] = Math.imul(((wordBits[0] as number) - ONE) >> 8, power) + ONE;
  return word[0] as number;
}

export function hqq(views: () => Views): Hqq {
  return {
    hqqRuns(x, runLength, count, scales, zeros, errors, qmin, qmax, mode, iterations, beta, kappa, power, sums) {
      const { f32 } = views();
      const iterate = (from: number, scale: number, zero: number, inverse: number) => {
        const lanes = [0, 1, 2].map(() => [0, 0, 0, 0]) as [number[], number[], number[]];
        const count = (k: 0 | 1 | 2, i: number, term: number) => {
          lanes[k][i & 3] = add(lanes[k][i & 3] as number, term);
        };
        for (let i = 0; i < runLength; i++) {
          const t = fround((f32[from + i] as number) / divisorOf(scale));
          const q = nearestEven(clampedQuotient(add(t, zero), 1, qmin, qmax));
          const r = sub(q, zero);
          const d = sub(t, r);
          const size = Math.abs(d);
          const kept = sub(size, mul(inverse, powerOf(size, power)));
          const target = sub(t, kept > 0 ? (d < 0 ? -kept : kept) : 0);
          count(0, i, size);
          if (mode === 0) count(1, i, sub(q, target));
          else {
            count(1, i, mul(r, target));
            count(2, i, mul(r, r));
          }
        }
        lanes.forEach(([a = 0, b = 0, c = 0, d = 0], k) => {
          f32[(sums >>> 2) + k] = add(add(a, b), add(c, d));
        });
        const [error, first, second] = [0, 1, 2].map((k) => f32[(sums >>> 2) + k] as number);
        return { error: error as number, first: first as number, second: second as number };
      };
      for (let i = 0; i < count; i++) {
        const slot = (at: number) => (at >>> 2) + i;
        let scale = f32[slot(scales)] as number;
        let zero = f32[slot(zeros)] as number;
        let best = { error: Number.POSITIVE_INFINITY, scale, zero };
        let weight = fround(beta);
        for (let k = 0; k < iterations; k++) {
          const sum = iterate((x >>> 2) + i * runLength, scale, zero, fround(1 / weight));
          const error = mul(Math.abs(scale), sum.error);
          if (!(error < best.error)) break;
          const settled = error > mul(best.error, fround(0.998));
          best = { error, scale, zero };
          if (settled) break;
          const factor = fround(sum.first / sum.second);
          if (mode === 0) zero = fround(sum.first / runLength);
          else if (factor > 0) scale = mul(scale, factor);
          weight = mul(weight, fround(kappa));
        }
        f32[slot(scales)] = best.scale;
        f32[slot(zeros)] = best.zero;
        f32[slot(errors)] = best.error;
      }
    },
    histogramOrdered(x, n, counts, sums) {
      const { i32, f32, u32, f64 } = views();
      for (let i = 0; i < n; i++) {
        const bits = i32[(x >>> 2) + i] as number;
        const bin = (bits ^ ((bits >> 31) & 0x7fffffff) ^ 0x80000000) >>> 16;
        u32[(counts >>> 2) + bin] = (u32[(counts >>> 2) + bin] as number) + 1;
        f64[(sums >>> 3) + bin] = (f64[(sums >>> 3) + bin] as number) + (f32[(x >>> 2) + i] as number);
      }
    },
    assignBounds(x, n, bounds, m, out) {
      const { f32, u8 } = views();
      for (let i = 0; i < n; i++) {
        let count = 0;
        while (count < m && (f32[(bounds >>> 2) + count] as number) < (f32[(x >>> 2) + i] as number)) count++;
        u8[out + i] = count;
      }
    },
  };
}
