/**
 * @file Weights as indices into a table of their best 2 to 256 values: k-means in one dimension (Han et al. 2015,
 * https://arxiv.org/abs/1510.00149), solved exactly instead of by Lloyd's iterations: in one dimension clusters are intervals, and
 * the best ones follow by dynamic programming (Wang and Song 2011, https://doi.org/10.32614/RJ-2011-015).
 *
 * Deviation: the optimum is over a histogram by the top 16 bits of the weights' order (0.4 % wide bins whose means are exact).
 */
import { kernels, type Pointer } from "../../kernels/index.ts";
import { TersorError } from "../../util/errors.ts";

const BINS = 65536;
/** The bin of zero: bins are in the order of the weights. */
const ZERO = BINS / 2;

export interface Codebook {
  /** Ascending; `size` of them, the last ones repeated when there are fewer different weights. */
  readonly values: Float32Array;
  /** One byte per weight: the index of the nearest value. */
  readonly codes: Uint8Array;
}

/** @param size number of values, 2 to 256 @throws bad-data for NaN or infinity; `name` opens the message */
export function quantizeCodebook(name: string, data: Float32Array, size: number): Codebook {
  const { memory, linalg } = kernels();
  return memory.scope(() => {
    const x = memory.alloc32(data.length);
    memory.f32(x, data.length).set(data);
    const values = bestValues(name, x, data.length, size);
    const bounds = memory.alloc32(size - 1);
    const codes = memory.alloc(data.length);
    memory.f32(bounds, size - 1).set(values.subarray(1).map((v, i) => ((values[i] as number) + v) / 2));
    linalg.assignBounds(x, data.length, bounds, size - 1, codes);
    return { values, codes: memory.u8(codes, data.length).slice() };
  });
}

/** The `size` values of least squared error for n weights at `x`. */
function bestValues(name: string, x: Pointer, n: number, size: number): Float32Array {
  const { memory, linalg } = kernels();
  return memory.scope(() => {
    const largest = memory.alloc32(1);
    if (!kernels().absMaxRuns(x, { runLength: n, count: 1 }, largest))
      throw new TersorError(
        "bad-data",
        `weight "${name}": expected finite numbers, got NaN or infinity. The model is damaged, or leave the layer out.`,
      );
    const counts = memory.alloc32(BINS);
    const sums = memory.alloc(BINS * 8);
    linalg.histogramOrdered(x, n, counts, sums);
    return cluster(memory.u32(counts, BINS), memory.f64(sums, BINS), size);
  });
}

/** Means of the best `size` intervals of bins. */
function cluster(counts: Uint32Array, sums: Float64Array, size: number): Float32Array {
  // Prefix sums over the bins that are not empty: weights, their sum, and the squares of bin means.
  const used = [...counts.keys()].filter((bin) => counts[bin]);
  const [count, sum, square] = [0, 1, 2].map(() => new Float64Array(used.length + 1)) as [
    Float64Array,
    Float64Array,
    Float64Array,
  ];
  used.forEach((bin, i) => {
    const [c, s] = [counts[bin] as number, sums[bin] as number];
    count[i + 1] = (count[i] as number) + c;
    sum[i + 1] = (sum[i] as number) + s;
    square[i + 1] = (square[i] as number) + (s * s) / c;
  });
  /** Squared error of one value for bins [from, to). */
  const cost = (from: number, to: number) => {
    const s = (sum[to] as number) - (sum[from] as number);
    const c = (count[to] as number) - (count[from] as number);
    return (square[to] as number) - (square[from] as number) - (s * s) / c;
  };
  const starts = bestIntervals(used.length, Math.min(size, used.length), cost);
  const zero = used.indexOf(ZERO);
  const values = starts.map((from, i) => {
    const to = starts[i + 1] ?? used.length;
    // What was pruned stays exactly zero.
    const isPruned =
      from <= zero && zero < to && 2 * (counts[ZERO] as number) > (count[to] as number) - (count[from] as number);
    if (isPruned) return 0;
    return ((sum[to] as number) - (sum[from] as number)) / ((count[to] as number) - (count[from] as number));
  });
  return Float32Array.from({ length: size }, (_, i) => values[Math.min(i, values.length - 1)] ?? 0);
}

/**
 * First elements of the `k` intervals of 0 … n - 1 with the least sum of costs. The best last cut moves right with the end, so
 * each layer is solved by halving: n log n costs per interval.
 */
function bestIntervals(n: number, k: number, cost: (from: number, to: number) => number): number[] {
  let before = Float64Array.from({ length: n + 1 }, (_, to) => (to === 0 ? 0 : cost(0, to)));
  const cuts: Uint32Array[] = [];
  for (let layer = 1; layer < k; layer++) {
    const now = new Float64Array(n + 1).fill(Number.POSITIVE_INFINITY);
    const cut = new Uint32Array(n + 1);
    const solve = (low: number, high: number, first: number, last: number): void => {
      if (low > high) return;
      const to = (low + high) >> 1;
      let best = first;
      for (let from = Math.max(first, layer); from <= Math.min(last, to - 1); from++) {
        const total = (before[from] as number) + cost(from, to);
        if (total < (now[to] as number)) {
          now[to] = total;
          best = from;
        }
      }
      cut[to] = best;
      solve(low, to - 1, first, best);
      solve(to + 1, high, best, last);
    };
    solve(layer + 1, n, layer, n - 1);
    before = now;
    cuts.push(cut);
  }
  const starts: number[] = [];
  let to = n;
  for (let layer = k - 2; layer >= 0; layer--) {
    to = cuts[layer]?.[to] as number;
    starts.unshift(to);
  }
  return n === 0 ? [] : [0, ...starts];
}
