/** @file Reference of the statistics kernels. Contract: RawKernels. */
import type { RawKernels, Views } from "../raw.ts";

type Statistics = Pick<
  RawKernels,
  | "absMaxRuns"
  | "absMaxColumns"
  | "minMaxRuns"
  | "minMaxColumns"
  | "sumSquares"
  | "sumSquaredDifference"
  | "histogramTop"
  | "histogramFrom"
>;

/** Float bits to an integer of the same order; its own inverse. */
const orderKey = (bits: number) => bits ^ ((bits >> 31) & 0x7fffffff);
const isNonFinite = (bits: number) => (bits & 0x7f800000) === 0x7f800000;

export function statistics(views: () => Views): Statistics {
  /** Calls `at(slice, element)` with the word index of every element. */
  const overRuns = (x: number, runLength: number, count: number, at: (slice: number, element: number) => void) => {
    for (let i = 0, p = x >>> 2; i < count; i++) for (let k = 0; k < runLength; k++) at(i, p++);
  };
  const overColumns = (
    x: number,
    rows: number,
    n: number,
    stride: number,
    at: (slice: number, element: number) => void,
  ) => {
    for (let r = 0; r < rows; r++) for (let j = 0; j < n; j++) at(j, (x >>> 2) + r * stride + j);
  };
  const anyNonFinite = (at: number, n: number) => {
    const { i32 } = views();
    for (let i = 0; i < n; i++) if (isNonFinite(i32[(at >>> 2) + i] as number)) return 1;
    return 0;
  };
  const absMax = (out: number) => {
    const { i32 } = views();
    const o = out >>> 2;
    return (slice: number, element: number) => {
      const bits = (i32[element] as number) & 0x7fffffff;
      if (bits > (i32[o + slice] as number)) i32[o + slice] = bits;
    };
  };
  const minMax = (minOut: number, maxOut: number) => {
    const { i32 } = views();
    const lows = minOut >>> 2;
    const highs = maxOut >>> 2;
    return (slice: number, element: number) => {
      const bits = i32[element] as number;
      const key = orderKey(bits);
      if (key < orderKey(i32[lows + slice] as number)) i32[lows + slice] = bits;
      if (key > orderKey(i32[highs + slice] as number)) i32[highs + slice] = bits;
    };
  };
  const laneSum = (n: number, term: (i: number) => number) => {
    const lanes: [number, number, number, number] = [0, 0, 0, 0];
    const whole = n - (n % 4);
    for (let i = 0; i < whole; i++) lanes[i & 3] = (lanes[i & 3] as number) + term(i);
    let sum = lanes[0] + lanes[2] + (lanes[1] + lanes[3]);
    for (let i = whole; i < n; i++) sum += term(i);
    return sum;
  };

  return {
    absMaxRuns(x, runLength, count, out) {
      overRuns(x, runLength, count, absMax(out));
      return anyNonFinite(out, count);
    },
    absMaxColumns(x, rows, n, stride, out) {
      overColumns(x, rows, n, stride, absMax(out));
      return anyNonFinite(out, n);
    },
    minMaxRuns(x, runLength, count, minOut, maxOut) {
      overRuns(x, runLength, count, minMax(minOut, maxOut));
      return anyNonFinite(minOut, count) | anyNonFinite(maxOut, count);
    },
    minMaxColumns(x, rows, n, stride, minOut, maxOut) {
      overColumns(x, rows, n, stride, minMax(minOut, maxOut));
      return anyNonFinite(minOut, n) | anyNonFinite(maxOut, n);
    },
    sumSquares(x, n) {
      const { f32 } = views();
      const p = x >>> 2;
      return laneSum(n, (i) => (f32[p + i] as number) ** 2);
    },
    sumSquaredDifference(x, y, n) {
      const { f32 } = views();
      const p = x >>> 2;
      const q = y >>> 2;
      return laneSum(n, (i) => {
        const d = (f32[p + i] as number) - (f32[q + i] as number);
        return d * d;
      });
    },
    histogramTop(x, n, bins) {
      const { u32 } = views();
      for (let p = x >>> 2, end = p + n; p < end; p++) {
        const slot = (bins >>> 2) + (((u32[p] as number) & 0x7fffffff) >>> 15);
        u32[slot] = (u32[slot] as number) + 1;
      }
    },
    histogramFrom(x, n, from, bins) {
      const { u32 } = views();
      let below = 0;
      for (let p = x >>> 2, end = p + n; p < end; p++) {
        const bin = ((u32[p] as number) & 0x7fffffff) - from;
        if (bin < 0) below++;
        if (bin < 0 || bin >= 65536) continue;
        const slot = (bins >>> 2) + bin;
        u32[slot] = (u32[slot] as number) + 1;
      }
      return below;
    },
  };
}
