/** @file The kernels as the rest of Tersor calls them: whole tensors in one reused memory, cut into calls, with checked options. */
import { invariant } from "../util/errors.ts";
import { streamKeys } from "../util/rng.ts";
import type { Arena } from "./arena.ts";
import { CHUNK, type Columns, eachColumnChunk, eachRunChunk, type Runs } from "./chunks.ts";
import type { CodeRange } from "./code-range.ts";
import { Linalg } from "./linalg.ts";
import type { Pointer } from "./pointer.ts";
import type { RawKernels } from "./raw.ts";
import { selectAcross, type VisitAll } from "./select.ts";

/** One scale (f32) and one zero point (i32) per slice. Without zero points they are 0. */
export interface SliceParams {
  readonly scales: Pointer;
  readonly zeroPoints?: Pointer | undefined;
}

/** Unbiased rounding: element i of the operand draws uniform(seed, key, start + i), whatever the chunking or order. */
export interface Stochastic {
  readonly mode: "stochastic";
  readonly seed: number;
  /** Key of the tensor: keyOf(name). */
  readonly key: number;
  /** Index in the tensor of the operand's first element; columns: row r, column j has index start + r * stride + j. */
  readonly start?: number;
}

/** nearest: to even. half-up: floor(t + 1/2). */
export type Rounding = "nearest" | "half-up" | Stochastic;

/** How a slice's range becomes a scale: RawKernels.qparams. `full` gives scales with the sign of the larger end. */
export type RangeMode = "full" | "restricted" | "asymmetric";
const rangeModes: Readonly<Record<RangeMode, number>> = { full: 0, restricted: 1, asymmetric: 2 };

const TWO_32 = 2 ** 32;
/** Columns per call. */
const STRIP = 4096;
/** Elements per call of the scale search: 32 KiB, so that all candidates find them in the first-level cache. */
const SEARCH_CHUNK = 8192;
const SEARCH_ROWS = 64;
/** Slices per call of the scale search: bounds the memory for errors. */
const SEARCH_SLICES = 256;
/** Below this many elements sorting beats clearing and scanning two histograms. */
const SORT_BELOW = 4096;

/**
 * The kernels over one memory. Operands are addresses in `memory`: allocate, read file bytes straight into `memory.u8(...)`,
 * call, write the result's view out. The kernels themselves allocate little and give it back, but may grow the memory:
 * ask for views after the call.
 */
export class Kernels {
  readonly memory: Arena;
  readonly backend: "wasm" | "reference";
  /** Matrix products and factors, and the inner loops of the quantization methods. */
  readonly linalg: Linalg;
  readonly #raw: RawKernels;

  constructor(raw: RawKernels, memory: Arena, backend: "wasm" | "reference") {
    this.#raw = raw;
    this.memory = memory;
    this.backend = backend;
    this.linalg = new Linalg(raw, memory);
  }

  /** out[i] = max |x| of run i; with `accumulate`, also of what was there. Returns false if there is a NaN or infinity. */
  absMaxRuns(x: Pointer, runs: Runs, out: Pointer, accumulate = false): boolean {
    if (!accumulate) this.memory.f32(out, runs.count).fill(0);
    let bad = 0;
    eachRunChunk(runs, CHUNK, (element, run, part) => {
      bad |= this.#raw.absMaxRuns(x + element * 4, part.runLength, part.count, out + run * 4);
    });
    return bad === 0;
  }

  /** min[i], max[i] of run i, as {@link absMaxRuns}. An empty range is [Infinity, -Infinity]. */
  minMaxRuns(x: Pointer, runs: Runs, min: Pointer, max: Pointer, accumulate = false): boolean {
    if (!accumulate) this.#clearRange(min, max, runs.count);
    let bad = 0;
    eachRunChunk(runs, CHUNK, (element, run, part) => {
      bad |= this.#raw.minMaxRuns(x + element * 4, part.runLength, part.count, min + run * 4, max + run * 4);
    });
    return bad === 0;
  }

  /** out[j] = max |x| of column j, as {@link absMaxRuns}. */
  absMaxColumns(x: Pointer, columns: Columns, out: Pointer, accumulate = false): boolean {
    const stride = columns.stride ?? columns.n;
    if (!accumulate) this.memory.f32(out, columns.n).fill(0);
    let bad = 0;
    eachColumnChunk(columns, rowsPerCall(columns.n), STRIP, (row, column, rows, n) => {
      bad |= this.#raw.absMaxColumns(x + (row * stride + column) * 4, rows, n, stride, out + column * 4);
    });
    return bad === 0;
  }

  /** min[j], max[j] of column j, as {@link minMaxRuns}. */
  minMaxColumns(x: Pointer, columns: Columns, min: Pointer, max: Pointer, accumulate = false): boolean {
    const stride = columns.stride ?? columns.n;
    if (!accumulate) this.#clearRange(min, max, columns.n);
    let bad = 0;
    eachColumnChunk(columns, rowsPerCall(columns.n), STRIP, (row, column, rows, n) => {
      const at = x + (row * stride + column) * 4;
      bad |= this.#raw.minMaxColumns(at, rows, n, stride, min + column * 4, max + column * 4);
    });
    return bad === 0;
  }

  /** Scales and zero points of `n` slices from their min and max (pass absmax as both for a symmetric, positive scale). */
  qparams(
    min: Pointer,
    max: Pointer,
    n: number,
    range: CodeRange,
    mode: RangeMode,
    out: { readonly scales: Pointer; readonly zeroPoints: Pointer },
  ): void {
    this.#raw.qparams(min, max, n, range.qmin, range.qmax, rangeModes[mode], out.scales, out.zeroPoints);
  }

  /** Codes of runs, one byte each, contiguous at `out`. A zero scale gives the zero point. */
  quantizeRuns(
    x: Pointer,
    runs: Runs,
    params: SliceParams,
    { qmin, qmax }: CodeRange,
    out: Pointer,
    rounding: Rounding = "nearest",
  ): void {
    this.memory.scope(() => {
      const zeroPoints = this.#zeroPoints(params, runs.count);
      eachRunChunk(runs, CHUNK, (element, run, { runLength, count }) => {
        const scale = params.scales + run * 4;
        const zp = zeroPoints + run * 4;
        const args = [x + element * 4, runLength, count, scale, zp, qmin, qmax, out + element] as const;
        if (rounding === "nearest") this.#raw.quantizeRunsNearest(...args);
        else if (rounding === "half-up") this.#raw.quantizeRunsHalfUp(...args);
        else {
          const first = (rounding.start ?? 0) + element;
          if (inOneStream(first, runLength * count)) {
            const { low, k1, k2 } = streamAt(rounding, first);
            this.#raw.quantizeRunsStochastic(...args, low, k1, k2);
            return;
          }
          for (let i = 0; i < runLength * count; i++) {
            const slice = Math.floor(i / runLength) * 4;
            const { low, k1, k2 } = streamAt(rounding, first + i);
            const one = [
              x + (element + i) * 4,
              1,
              1,
              scale + slice,
              zp + slice,
              qmin,
              qmax,
              out + element + i,
            ] as const;
            this.#raw.quantizeRunsStochastic(...one, low, k1, k2);
          }
        }
      });
    });
  }

  /** Codes of columns, one byte each; rows of `out` are `outStride` bytes apart (n if absent). */
  quantizeColumns(
    x: Pointer,
    columns: Columns,
    params: SliceParams,
    { qmin, qmax }: CodeRange,
    out: Pointer,
    rounding: Rounding = "nearest",
    outStride = columns.n,
  ): void {
    const stride = columns.stride ?? columns.n;
    this.memory.scope(() => {
      const zeroPoints = this.#zeroPoints(params, columns.n);
      eachColumnChunk(columns, rowsPerCall(columns.n), STRIP, (row, column, rows, n) => {
        const element = row * stride + column;
        const from = x + element * 4;
        const scale = params.scales + column * 4;
        const zp = zeroPoints + column * 4;
        const to = out + row * outStride + column;
        const args = [from, rows, n, stride, scale, zp, qmin, qmax, to, outStride] as const;
        if (rounding === "nearest") this.#raw.quantizeColumnsNearest(...args);
        else if (rounding === "half-up") this.#raw.quantizeColumnsHalfUp(...args);
        else {
          const first = (rounding.start ?? 0) + element;
          if (inOneStream(first, (rows - 1) * stride + n)) {
            const { low, k1, k2 } = streamAt(rounding, first);
            this.#raw.quantizeColumnsStochastic(...args, low, k1, k2);
            return;
          }
          for (let i = 0; i < rows * n; i++) {
            const r = Math.floor(i / n);
            const j = i % n;
            const { low, k1, k2 } = streamAt(rounding, first + r * stride + j);
            const at = from + (r * stride + j) * 4;
            const one = [at, 1, 1, scale + j * 4, zp + j * 4, qmin, qmax, to + r * outStride + j] as const;
            this.#raw.quantizeRunsStochastic(...one, low, k1, k2);
          }
        }
      });
    });
  }

  /** Values of the codes of runs: (code - zeroPoint) * scale in f32, contiguous at `out`. */
  dequantizeRuns(codes: Pointer, signed: boolean, runs: Runs, params: SliceParams, out: Pointer): void {
    this.memory.scope(() => {
      const zeroPoints = this.#zeroPoints(params, runs.count);
      eachRunChunk(runs, CHUNK, (element, run, { runLength, count }) => {
        const scale = params.scales + run * 4;
        const to = out + element * 4;
        this.#raw.dequantizeRuns(codes + element, runLength, count, scale, zeroPoints + run * 4, to, signed ? 1 : 0);
      });
    });
  }

  /** Values of the codes of columns; rows of `codes` are `columns.stride` bytes apart, rows of `out` `outStride` elements. */
  dequantizeColumns(
    codes: Pointer,
    signed: boolean,
    columns: Columns,
    params: SliceParams,
    out: Pointer,
    outStride = columns.n,
  ): void {
    const stride = columns.stride ?? columns.n;
    this.memory.scope(() => {
      const zeroPoints = this.#zeroPoints(params, columns.n);
      eachColumnChunk(columns, rowsPerCall(columns.n), STRIP, (row, column, rows, n) => {
        const from = codes + row * stride + column;
        const to = out + (row * outStride + column) * 4;
        const scale = params.scales + column * 4;
        const zp = zeroPoints + column * 4;
        this.#raw.dequantizeColumns(from, rows, n, stride, scale, zp, to, outStride, signed ? 1 : 0);
      });
    });
  }

  /**
   * Replaces every run's scale by the candidate scale * ratio that gives the least sum of squared rounding errors (nearest
   * rounding, the zero point kept); the first of equals wins, so put 1 first. @param ratios positive factors
   */
  searchRuns(x: Pointer, runs: Runs, params: SliceParams, { qmin, qmax }: CodeRange, ratios: readonly number[]): void {
    this.#search(params, runs.count, ratios, (base, zeroPoints, factors, pick) => {
      const slices = runs.runLength > SEARCH_CHUNK ? 1 : SEARCH_SLICES;
      for (let first = 0; first < runs.count; first += slices) {
        const group = { runLength: runs.runLength, count: Math.min(slices, runs.count - first) };
        pick(first, group.count, 1, (err) => {
          eachRunChunk(group, SEARCH_CHUNK, (element, run, part) => {
            const at = x + (first * runs.runLength + element) * 4;
            const slice = (first + run) * 4;
            const to = err + run * ratios.length * 8;
            const { runLength, count } = part;
            const shared = [base + slice, zeroPoints + slice, qmin, qmax, factors, ratios.length, to] as const;
            this.#raw.errorRuns(at, runLength, count, ...shared);
          });
        });
      }
    });
  }

  /** The same for columns. */
  searchColumns(
    x: Pointer,
    columns: Columns,
    params: SliceParams,
    { qmin, qmax }: CodeRange,
    ratios: readonly number[],
  ): void {
    const stride = columns.stride ?? columns.n;
    this.#search(params, columns.n, ratios, (base, zeroPoints, factors, pick) => {
      for (let first = 0; first < columns.n; first += SEARCH_SLICES) {
        const n = Math.min(SEARCH_SLICES, columns.n - first);
        pick(first, n, 0, (err) => {
          for (let row = 0; row < columns.rows; row += SEARCH_ROWS) {
            const rows = Math.min(SEARCH_ROWS, columns.rows - row);
            const at = x + (row * stride + first) * 4;
            const slice = first * 4;
            const shared = [base + slice, zeroPoints + slice, qmin, qmax, factors, ratios.length, err] as const;
            this.#raw.errorColumns(at, rows, n, stride, ...shared);
          }
        });
      }
    });
  }

  /** Sum of squares of n elements, in f64. */
  sumSquares(x: Pointer, n: number): number {
    let sum = 0;
    for (let at = 0; at < n; at += CHUNK) sum += this.#raw.sumSquares(x + at * 4, Math.min(CHUNK, n - at));
    return sum;
  }

  /** Sum of (x - y)^2 over n elements, in f64: the noise of an SQNR. */
  sumSquaredDifference(x: Pointer, y: Pointer, n: number): number {
    let sum = 0;
    for (let at = 0; at < n; at += CHUNK) {
      sum += this.#raw.sumSquaredDifference(x + at * 4, y + at * 4, Math.min(CHUNK, n - at));
    }
    return sum;
  }

  /**
   * The k-th smallest of |x| (k from 0), exactly, by two passes of counting. Elements must be finite.
   * @param n elements, at least 1 @param k in [0, n)
   */
  selectAbs(x: Pointer, n: number, k: number): number {
    invariant(k >= 0 && k < n, `selection of element ${k} of ${n}`);
    if (n <= SORT_BELOW) {
      return this.memory.f32(x, n).map(Math.abs).sort()[k] as number;
    }
    return this.selectAbsAcross((visit) => visit(x, n), k).value;
  }

  /**
   * The same over several operands, and how many elements are less: `each` visits all of them, twice; with a good `guess` of the result, once.
   * Nothing may be allocated below it while it runs.
   */
  selectAbsAcross(each: VisitAll, k: number, guess?: number): { readonly value: number; readonly below: number } {
    return selectAcross(this.#raw, this.memory, each, k, guess);
  }

  /** Sum of squared rounding errors of n elements for each candidate scale * ratio, as the searches compare them. */
  squaredErrors(
    x: Pointer,
    n: number,
    { scale, zeroPoint }: { readonly scale: number; readonly zeroPoint: number },
    { qmin, qmax }: CodeRange,
    ratios: readonly number[],
  ): Float64Array {
    return this.memory.scope(() => {
      const [base, zero, factors] = [
        this.memory.alloc32(1),
        this.memory.alloc32(1),
        this.memory.alloc32(ratios.length),
      ];
      const err = this.memory.alloc(ratios.length * 8);
      this.memory.f32(base, 1)[0] = scale;
      this.memory.i32(zero, 1)[0] = zeroPoint;
      this.memory.f32(factors, ratios.length).set(ratios);
      this.memory.f64(err, ratios.length).fill(0);
      for (let at = 0; at < n; at += SEARCH_CHUNK) {
        const length = Math.min(SEARCH_CHUNK, n - at);
        this.#raw.errorRuns(x + at * 4, length, 1, base, zero, qmin, qmax, factors, ratios.length, err);
      }
      return this.memory.f64(err, ratios.length).slice();
    });
  }

  /** Packs n codes to 4 or 2 bits each, first element in the low bits; a partial last byte is padded with zeros. */
  pack(codes: Pointer, n: number, bits: 2 | 4, out: Pointer): void {
    const pack = bits === 4 ? this.#raw.pack4 : this.#raw.pack2;
    for (let at = 0; at < n; at += CHUNK) pack(codes + at, Math.min(CHUNK, n - at), out + (at * bits) / 8);
  }

  /**
   * Packs every column of codes [rows, n] into ceil(rows * bits / 8) bytes at out + j * outStride. To pack a matrix in parts,
   * give every part but the last a number of rows that fills whole bytes.
   */
  packColumns(codes: Pointer, columns: Columns, bits: 2 | 4 | 8, out: Pointer, outStride: number): void {
    const stride = columns.stride ?? columns.n;
    eachColumnChunk(columns, 512, 256, (row, column, rows, n) => {
      const from = codes + row * stride + column;
      this.#raw.packColumns(from, rows, n, stride, out + column * outStride + (row * bits) / 8, outStride, bits);
    });
  }

  /** out [n, rows] = x [rows, n]; elements of four bytes. */
  transpose32(x: Pointer, columns: Columns, out: Pointer): void {
    const stride = columns.stride ?? columns.n;
    eachColumnChunk(columns, 64, 64, (row, column, rows, n) => {
      const to = out + (column * columns.rows + row) * 4;
      this.#raw.transpose32(x + (row * stride + column) * 4, rows, n, stride, to, columns.rows);
    });
  }

  /** f32 to float16, nearest even. Returns how many finite elements became infinite (beyond 65,504). */
  floatToHalf(x: Pointer, n: number, out: Pointer): number {
    let overflow = 0;
    eachElementChunk(n, (at, m) => {
      overflow += this.#raw.floatToHalf(x + at * 4, m, out + at * 2);
    });
    return overflow;
  }

  /** float16 to f32; a NaN loses its payload, not its sign. */
  halfToFloat(x: Pointer, n: number, out: Pointer): void {
    eachElementChunk(n, (at, m) => this.#raw.halfToFloat(x + at * 2, m, out + at * 4));
  }

  /** f32 to bfloat16, nearest even. */
  floatToBfloat(x: Pointer, n: number, out: Pointer): void {
    eachElementChunk(n, (at, m) => this.#raw.floatToBfloat(x + at * 4, m, out + at * 2));
  }

  /** bfloat16 to f32. */
  bfloatToFloat(x: Pointer, n: number, out: Pointer): void {
    eachElementChunk(n, (at, m) => this.#raw.bfloatToFloat(x + at * 2, m, out + at * 4));
  }

  #clearRange(min: Pointer, max: Pointer, n: number): void {
    this.memory.f32(min, n).fill(Number.POSITIVE_INFINITY);
    this.memory.f32(max, n).fill(Number.NEGATIVE_INFINITY);
  }

  #zeroPoints({ zeroPoints }: SliceParams, n: number): Pointer {
    if (zeroPoints !== undefined) return zeroPoints;
    const zeros = this.memory.alloc32(n);
    this.memory.i32(zeros, n).fill(0);
    return zeros;
  }

  /** `run` calls `pick` per group of slices; err holds [slice][candidate] if bySlice, else [candidate][slice]. */
  #search(
    params: SliceParams,
    slices: number,
    ratios: readonly number[],
    run: (
      base: Pointer,
      zeroPoints: Pointer,
      factors: Pointer,
      pick: (first: number, count: number, bySlice: 0 | 1, measure: (err: Pointer) => void) => void,
    ) => void,
  ): void {
    const candidates = ratios.length;
    invariant(candidates > 0, "a scale search without candidates");
    this.memory.scope(() => {
      const zeroPoints = this.#zeroPoints(params, slices);
      const factors = this.memory.alloc32(candidates);
      this.memory.f32(factors, candidates).set(ratios);
      const size = candidates * Math.min(SEARCH_SLICES, slices);
      const err = this.memory.alloc(size * 8);
      const errors = this.memory.f64(err, size);
      const scales = this.memory.f32(params.scales, slices);
      const rounded = this.memory.f32(factors, candidates);
      run(params.scales, zeroPoints, factors, (first, count, bySlice, measure) => {
        errors.fill(0);
        measure(err);
        for (let i = 0; i < count; i++) {
          const [offset, step] = bySlice ? [i * candidates, 1] : [i, count];
          let best = 0;
          for (let c = 1; c < candidates; c++) {
            if ((errors[offset + c * step] as number) < (errors[offset + best * step] as number)) best = c;
          }
          scales[first + i] = (scales[first + i] as number) * (rounded[best] as number);
        }
      });
    });
  }
}

/** Rows of a column kernel's call: few for wide blocks, which are also cut into strips. */
function rowsPerCall(n: number): number {
  return Math.max(CHUNK / STRIP, Math.floor(CHUNK / n / 4) * 4);
}

function eachElementChunk(n: number, visit: (at: number, count: number) => void): void {
  for (let at = 0; at < n; at += CHUNK) visit(at, Math.min(CHUNK, n - at));
}

/** Whether elements first … first + count - 1 share the high word of their index, as a kernel call requires. */
function inOneStream(first: number, count: number): boolean {
  return Math.floor(first / TWO_32) === Math.floor((first + count - 1) / TWO_32);
}

function streamAt({ seed, key }: Stochastic, index: number): { low: number; k1: number; k2: number } {
  const { k1, k2 } = streamKeys(seed, key, Math.floor(index / TWO_32));
  return { low: index | 0, k1, k2 };
}
