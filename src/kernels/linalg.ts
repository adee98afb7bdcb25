/** @file Matrix products and factors over the kernels, and the other numeric loops of the quantization methods. */
import { invariant } from "../util/errors.ts";
import type { Arena } from "./arena.ts";
import { CHUNK, eachColumnChunk, eachRunChunk, type Runs } from "./chunks.ts";
import type { CodeRange } from "./code-range.ts";
import type { Pointer } from "./pointer.ts";
import type { RawKernels } from "./raw.ts";

/** A row-major f32 matrix; rows are `stride` elements apart. */
export interface Matrix {
  readonly at: Pointer;
  readonly stride: number;
}

/** C [m, n] += alpha * A^T B with A [k, m], B [k, n]. */
export interface Product {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly a: Matrix;
  readonly b: Matrix;
  readonly c: Matrix;
  readonly alpha?: number;
}

/** Rows as GPTQ rounds them. Columns are a multiple of 16. */
export interface GptqPanel {
  readonly rows: number;
  readonly n: number;
  /** Weights [rows, n], left as they are. */
  readonly w: Matrix;
  /** Upper factor of the inverse Hessian for these rows [rows, rows]. */
  readonly u: Matrix;
  /** Scales f32 and zero points i32 [groups, n]. */
  readonly scales: Pointer;
  readonly zeroPoints: Pointer;
  /** u32 [rows]: the group of each row. */
  readonly groups: Pointer;
  readonly range: CodeRange;
  /** Bytes [rows, n]. */
  readonly codes: Matrix;
  /** Rounding errors over the pivots [rows, n]: what the rows behind have to make up for. */
  readonly err: Matrix;
}

export interface HqqSpec {
  /** What is refined while the other stays: the zero, or the scale. */
  readonly refine: "zero" | "scale";
  readonly range: CodeRange;
  readonly iterations: number;
  /** Weight of the quadratic coupling, its growth per iteration, and p of the l_p norm, in steps of 1 / 256. */
  readonly beta: number;
  readonly kappa: number;
  readonly p: number;
}

/** Rows of A and B that are summed in one go, in f32; the sums of such parts are then added up. A bound of the results' bits. */
export const SUM_ROWS = 256;
/** Rows of C per call: as many columns of A as its panels fill a part of the second-level cache. */
const STRIP_M = 64;
/** Columns of C for which B is packed at once. */
const STRIP_N = 256;
/** Rows of B that are packed at once: 2 MiB. */
const PACKED_ROWS = 8 * SUM_ROWS;
/** Rows that are factored at once. */
const BLOCK = 64;
/** A diagonal below every tile. */
const EVERYTHING = -(2 ** 30);
/** A run of this many elements is iterated over within one call. */
const HQQ_CHUNK = 8192;

export class Linalg {
  readonly memory: Arena;
  readonly #raw: RawKernels;

  constructor(raw: RawKernels, memory: Arena) {
    this.#raw = raw;
    this.memory = memory;
  }

  /**
   * C += alpha * A^T B. Every {@link SUM_ROWS} rows of A and B: an f32 sum in order of the rows, times alpha, added to C; so a
   * product may be cut along k at multiples of SUM_ROWS, and anywhere along m and n, without changing a bit.
   * `upper`: only what lies on and above the diagonal of C (and a little of what lies below it).
   */
  gemmTn({ m, n, k, a, b, c, alpha = 1 }: Product, upper = false): void {
    this.memory.scope(() => {
      const tile = this.memory.alloc(128);
      const left = this.memory.alloc32(SUM_ROWS * STRIP_M);
      const right = this.memory.alloc32(Math.min(PACKED_ROWS, Math.ceil(k / SUM_ROWS) * SUM_ROWS) * STRIP_N);
      for (let first = 0; first < k; first += PACKED_ROWS) {
        const last = Math.min(k, first + PACKED_ROWS);
        for (let j = 0; j < n; j += STRIP_N) {
          const columns = Math.min(STRIP_N, n - j);
          for (let row = first; row < last; row += SUM_ROWS) {
            const to = right + (row - first) * STRIP_N * 4;
            const rows = Math.min(SUM_ROWS, last - row);
            this.#raw.packPanels(b.at + (row * b.stride + j) * 4, rows, columns, b.stride, 8, to);
          }
          for (let i = 0; i < m; i += STRIP_M) {
            if (upper && j + columns <= i) break;
            const count = Math.min(STRIP_M, m - i);
            const to = c.at + (i * c.stride + j) * 4;
            const diagonal = upper ? i - j : EVERYTHING;
            // All rows for one block of C, which stays in the cache.
            for (let row = first; row < last; row += SUM_ROWS) {
              const rows = Math.min(SUM_ROWS, last - row);
              const from = right + (row - first) * STRIP_N * 4;
              this.#raw.packPanels(a.at + (row * a.stride + i) * 4, rows, count, a.stride, 4, left);
              this.#raw.gemmPanels(left, from, rows, count, columns, alpha, to, c.stride, diagonal, tile);
            }
          }
        }
      }
    });
  }

  /** The upper triangle of C [n, n] += X^T X, X [rows, n]; what lies below it is meaningless until {@link mirrorUpper}. */
  syrk(rows: number, n: number, x: Matrix, c: Matrix): void {
    this.gemmTn({ m: n, n, k: rows, a: x, b: x, c }, true);
  }

  /** Copies the upper triangle of C [n, n] (contiguous) to the lower one. */
  mirrorUpper(n: number, c: Pointer): void {
    this.memory.scope(() => {
      const block = this.memory.alloc32(BLOCK * BLOCK);
      const values = this.memory.f32(c, n * n);
      eachColumnChunk({ rows: n, n }, BLOCK, BLOCK, (row, column, rows, columns) => {
        if (column > row)
          this.#raw.transpose32(c + (row * n + column) * 4, rows, columns, n, c + (column * n + row) * 4, n);
        else if (column === row) {
          this.#raw.transpose32(c + (row * n + column) * 4, rows, columns, n, block, BLOCK);
          const turned = this.memory.f32(block, BLOCK * BLOCK);
          for (let i = 1; i < rows; i++) {
            values.set(turned.subarray(i * BLOCK, i * BLOCK + i), (row + i) * n + column);
          }
        }
      });
    });
  }

  /**
   * R with X = R^T R, upper, in place of the upper triangle of X [n, n]. The stride is a multiple of 16 that holds n; the columns
   * behind n are zeros. Returns the row whose pivot is not positive (X is then spoiled), or -1.
   */
  cholesky(n: number, x: Matrix): number {
    return this.memory.scope(() => {
      const pivot = this.memory.alloc32(BLOCK * BLOCK);
      for (let row = 0; row < n; row += BLOCK) {
        const rows = Math.min(BLOCK, n - row);
        const corner = { at: x.at + (row * x.stride + row) * 4, stride: x.stride };
        const above = { at: x.at + row * 4, stride: x.stride };
        this.gemmTn({ m: rows, n: n - row, k: row, a: above, b: above, c: corner, alpha: -1 });
        const bad = this.#raw.cholesky(corner.at, rows, x.stride);
        if (bad >= 0) return row + bad;
        if (rows < BLOCK) break;
        this.#copyBlock(corner, rows, pivot);
        const behind = { at: corner.at + rows * 4, stride: x.stride };
        this.#solve(pivot, rows, behind, x.stride - row - rows);
      }
      return -1;
    });
  }

  /**
   * Z = R^-T [n, n], lower, for R upper; strides are multiples of 16 that hold n. What lies above the diagonal of Z becomes 0.
   */
  invertTransposed(n: number, r: Matrix, z: Matrix): void {
    this.memory.scope(() => {
      const pivot = this.memory.alloc32(BLOCK * BLOCK);
      for (let row = 0; row < n; row += BLOCK) {
        const rows = Math.min(BLOCK, n - row);
        this.memory.f32(z.at + row * z.stride * 4, rows * z.stride).fill(0);
        const rowAt = z.at + row * z.stride * 4;
        // Z is lower triangular: the rows of a strip of its columns start at that strip.
        for (let column = 0; column < row; column += STRIP_N) {
          this.gemmTn({
            m: rows,
            n: Math.min(STRIP_N, row - column),
            k: row - column,
            a: { at: r.at + (column * r.stride + row) * 4, stride: r.stride },
            b: { at: z.at + (column * z.stride + column) * 4, stride: z.stride },
            c: { at: rowAt + column * 4, stride: z.stride },
            alpha: -1,
          });
        }
        const diagonal = this.memory.f32(rowAt + row * 4, (rows - 1) * z.stride + rows);
        for (let i = 0; i < rows; i++) diagonal[i * z.stride + i] = 1;
        this.#copyBlock({ at: r.at + (row * r.stride + row) * 4, stride: r.stride }, rows, pivot);
        this.#solve(pivot, rows, { at: rowAt, stride: z.stride }, Math.ceil((row + rows) / 16) * 16);
      }
    });
  }

  /** Rounds rows, each corrected by the errors of those before it. */
  gptqPanel({ rows, n, w, u, scales, zeroPoints, groups, range, codes, err }: GptqPanel): void {
    invariant(n % 16 === 0, `GPTQ over ${n} columns`);
    const columns = 256;
    for (let j = 0; j < n; j += columns) {
      const slices = [scales + j * 4, zeroPoints + j * 4, groups, n, range.qmin, range.qmax] as const;
      const [from, to] = [w.at + j * 4, err.at + j * 4];
      const out = [codes.at + j, codes.stride, to, err.stride] as const;
      this.#raw.gptqPanel(from, rows, Math.min(columns, n - j), w.stride, u.at, u.stride, ...slices, ...out);
    }
  }

  /**
   * Refines the scales or zeros (f32, in codes) of runs by half-quadratic splitting, in place; errors[i] f32 becomes the least
   * sum of absolute errors of run i. See RawLinalg.hqqRuns.
   */
  hqqRuns(x: Pointer, runs: Runs, scales: Pointer, zeros: Pointer, errors: Pointer, spec: HqqSpec): void {
    const { range, iterations, beta, kappa, p } = spec;
    const mode = spec.refine === "zero" ? 0 : 1;
    const power = Math.round((p - 1) * 256);
    this.memory.scope(() => {
      const sums = this.memory.alloc(48);
      const perCall = Math.max(1, Math.floor(HQQ_CHUNK / runs.runLength));
      for (let run = 0; run < runs.count; run += perCall) {
        const count = Math.min(perCall, runs.count - run);
        const at = x + run * runs.runLength * 4;
        const slices = [scales + run * 4, zeros + run * 4, errors + run * 4, range.qmin, range.qmax] as const;
        this.#raw.hqqRuns(at, runs.runLength, count, ...slices, mode, iterations, beta, kappa, power, sums);
      }
    });
  }

  /** Counts u32 [65536] and sums f64 [65536] of n finite elements by the top 16 bits of their order; cleared first. */
  histogramOrdered(x: Pointer, n: number, counts: Pointer, sums: Pointer): void {
    this.memory.u32(counts, 65536).fill(0);
    this.memory.f64(sums, 65536).fill(0);
    eachRunChunk({ runLength: n, count: 1 }, CHUNK, (at, _, part) =>
      this.#raw.histogramOrdered(x + at * 4, part.runLength, counts, sums),
    );
  }

  /** out[i] u8 = how many of the m ascending bounds f32 are below x[i]. */
  assignBounds(x: Pointer, n: number, bounds: Pointer, m: number, out: Pointer): void {
    invariant(m < 256, `${m} bounds for codes of one byte`);
    eachRunChunk({ runLength: n, count: 1 }, CHUNK, (at, _, part) =>
      this.#raw.assignBounds(x + at * 4, part.runLength, bounds, m, out + at),
    );
  }

  /** X = R^-T X for R [rows, rows] packed at `r` with stride BLOCK, in strips of columns. */
  #solve(r: Pointer, rows: number, x: Matrix, n: number): void {
    for (let j = 0; j < n; j += STRIP_N) {
      this.#raw.solvePanel(r, BLOCK, rows, x.at + j * 4, Math.min(STRIP_N, n - j), x.stride);
    }
  }

  #copyBlock(from: Matrix, rows: number, to: Pointer): void {
    const values = this.memory.f32(from.at, (rows - 1) * from.stride + rows);
    const out = this.memory.f32(to, rows * BLOCK);
    for (let i = 0; i < rows; i++) out.set(values.subarray(i * from.stride, i * from.stride + rows), i * BLOCK);
  }
}
