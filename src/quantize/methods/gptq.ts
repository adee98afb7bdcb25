/**
 * @file GPTQ: rounds one input after another and lets the weights that are still float make up for the error, as the inputs'
 * second moments say (Frantar et al. 2022, https://arxiv.org/abs/2210.17323).
 *
 * With H = X^T X and H^-1 = U^T U, U upper, row i is rounded and every later row r changes by -U[i, r] * err[i], err[i] =
 * (w[i] - q[i]) / U[i, i]. U comes from one Cholesky factor and one triangular inverse of H with rows and columns flipped.
 *
 * Deviations from the authors' code: inputs that were never active keep their weights (rounded), where the authors write zeros;
 * the scales of a group come from its weights as they are when it is reached, also where the group is shorter than a block;
 * with act-order the scales are those of the original weights and their groups stay where they were ("static groups"), so that
 * the file needs no reordering; damping grows tenfold, up to three times, where the factor does not exist; weights that are exactly
 * zero, as pruned ones are, stay so, and the weights still to come make up for what would have been added to them.
 */
import * as z from "zod";
import { inverseFactor } from "../../calibrate/inverse-factor.ts";
import { kernels, type Matrix, type Pointer } from "../../kernels/index.ts";
import type { ScaleParams } from "../grid/scales.ts";
import { middle, type QuantSpec } from "../grid/spec.ts";
import { blockParams, groupCount, hessianOf, matrixParams, place, rangeOf, spread } from "./matrix.ts";
import type { QuantMethod, WeightMatrix } from "./method.ts";

const options = z.strictObject({
  damping: z
    .number()
    .positive()
    .max(1)
    .default(0.01)
    .describe("share of the mean diagonal of the Hessian that is added to its diagonal"),
  actOrder: z.boolean().default(false).describe("round inputs of large second moment first"),
});

export type GptqOptions = z.output<typeof options>;

/** Rows whose errors are gathered before they reach the rows behind them. */
const BLOCK = 128;
/** Rows that are rounded in one go. */
const PANEL = 32;

export const gptq: QuantMethod<GptqOptions> = {
  name: "gptq",
  paper: "Frantar et al. 2022, https://arxiv.org/abs/2210.17323",
  summary: "rounds input by input; the weights still to come make up for the error",
  options,
  needs: "hessian",

  quantize(matrix, spec, stats, { damping, actOrder }) {
    const { k, n, name } = matrix;
    const hessian = hessianOf(matrix, stats, "gptq");
    const { memory } = kernels();
    return memory.scope(() => {
      const order = actOrder ? byDiagonal(hessian, k) : undefined;
      const known = order || matrix.fixed ? memory.scope(() => matrixParams(matrix, spec, place(matrix))) : undefined;
      const u = inverseFactor(hessian, k, { order, damping, subject: `gptq: weight "${name}"` });
      const run = new GptqRun(matrix, spec, u, order, known);
      run.rows();
      const codes = new Uint8Array(k * n);
      for (let i = 0; i < k; i++) codes.set(run.codesOfRow(i), (order ? (order[i] as number) : i) * n);
      return { codes, ...run.params };
    });
  },
};

/** The weights on their way through kernel memory, in the order in which they are rounded, rows padded to 16 columns. */
class GptqRun {
  readonly matrix: WeightMatrix;
  readonly spec: QuantSpec;
  readonly params: ScaleParams;
  readonly #u: Matrix;
  /** Whether scales are found when a group is reached. */
  readonly #dynamic: boolean;
  readonly #stride: number;
  readonly #w: Pointer;
  readonly #err: Pointer;
  readonly #codes: Pointer;
  readonly #scales: Pointer;
  readonly #zeroPoints: Pointer;
  readonly #groups: Pointer;
  /** Columns that are zero, by row; only of rows that have some. */
  readonly #zeros = new Map<number, readonly number[]>();

  constructor(
    matrix: WeightMatrix,
    spec: QuantSpec,
    u: Matrix,
    order: Uint32Array | undefined,
    known: ScaleParams | undefined,
  ) {
    const { memory } = kernels();
    const { k, n, fold, groupSize, data } = matrix;
    const groups = groupCount(matrix);
    this.matrix = matrix;
    this.spec = spec;
    this.#u = u;
    this.#dynamic = !known;
    const slices = (groups * n) / fold;
    this.params = known ?? { scales: new Float32Array(slices), zeroPoints: new Int32Array(slices) };
    this.#stride = Math.ceil(n / 16) * 16;
    const stride = this.#stride;
    this.#w = memory.alloc32(k * stride);
    this.#err = memory.alloc32(Math.min(BLOCK, k) * stride);
    this.#codes = memory.alloc(k * stride);
    this.#scales = memory.alloc32(groups * stride);
    this.#zeroPoints = memory.alloc32(groups * stride);
    this.#groups = memory.alloc32(k);
    const w = memory.f32(this.#w, k * stride);
    const groupOf = memory.u32(this.#groups, k);
    for (let i = 0; i < k; i++) {
      const row = order ? (order[i] as number) : i;
      w.set(data.subarray(row * n, row * n + n), i * stride);
      w.fill(0, i * stride + n, (i + 1) * stride);
      const zeros = zerosOf(data.subarray(row * n, row * n + n));
      if (zeros.length > 0) this.#zeros.set(i, zeros);
      groupOf[i] = Math.floor(row / groupSize);
    }
    memory.f32(this.#scales, groups * stride).fill(0);
    memory.i32(this.#zeroPoints, groups * stride).fill(middle(spec));
    if (known) for (let group = 0; group < groups; group++) this.#showParams(group);
  }

  codesOfRow(i: number): Uint8Array {
    return kernels().memory.u8(this.#codes + i * this.#stride, this.matrix.n);
  }

  /** Rounds all rows. */
  rows(): void {
    const { k } = this.matrix;
    for (let start = 0; start < k; ) {
      const end = this.#blockEnd(start);
      for (let row = start; row < end; ) {
        const next = this.#panelEnd(row, end);
        this.#correct(start, row, row, next);
        if (this.#dynamic && row % this.matrix.groupSize === 0) this.#openGroup(row);
        const held = this.#zeros.has(row) ? this.#hold(row) : undefined;
        this.#round(start, row, next);
        if (held) this.#release(start, row, held);
        row = next;
      }
      this.#correct(start, end, end, k);
      start = end;
    }
  }

  /** Blocks end where groups do, or lie inside of one: the scales of a long group need all of its rows corrected. */
  #blockEnd(start: number): number {
    const { k, groupSize } = this.matrix;
    if (!this.#dynamic) return Math.min(k, start + BLOCK);
    if (groupSize <= BLOCK) return Math.min(k, start + Math.floor(BLOCK / groupSize) * groupSize);
    const groupEnd = (Math.floor(start / groupSize) + 1) * groupSize;
    return Math.min(k, start + BLOCK, groupEnd);
  }

  #panelEnd(row: number, blockEnd: number): number {
    const { groupSize } = this.matrix;
    // What is held at zero needs its row to itself: the kernel corrects the rows of a panel by itself.
    if (this.#zeros.has(row)) return row + 1;
    const groupEnd = this.#dynamic ? (Math.floor(row / groupSize) + 1) * groupSize : blockEnd;
    let end = row + 1;
    const limit = Math.min(blockEnd, groupEnd, row + PANEL);
    while (end < limit && !this.#zeros.has(end)) end++;
    return end;
  }

  /** Zeros go back to zero; gives what corrections had made of them. */
  #hold(row: number): Float32Array {
    const w = kernels().memory.f32(this.#w + row * this.#stride * 4, this.#stride);
    const columns = this.#zeros.get(row) ?? [];
    const held = Float32Array.from(columns, (column) => w[column] as number);
    for (const column of columns) w[column] = 0;
    return held;
  }

  /** What was held back becomes an error of the row, as if it had been rounded away. */
  #release(start: number, row: number, held: Float32Array): void {
    const { memory } = kernels();
    const err = memory.f32(this.#err + (row - start) * this.#stride * 4, this.#stride);
    const pivot = memory.f32(this.#uAt(row, row).at, 1)[0] as number;
    this.#zeros.get(row)?.forEach((column, i) => {
      err[column] = (held[i] as number) / pivot;
    });
  }

  /** Takes the errors of the block's rows [start, done) into rows [from, to). */
  #correct(start: number, done: number, from: number, to: number): void {
    if (done === start || to === from) return;
    const { linalg } = kernels();
    const stride = this.#stride;
    linalg.gemmTn({
      m: to - from,
      n: stride,
      k: done - start,
      a: this.#uAt(start, from),
      b: { at: this.#err, stride },
      c: { at: this.#w + from * stride * 4, stride },
      alpha: -1,
    });
  }

  #round(start: number, row: number, end: number): void {
    const { linalg } = kernels();
    const stride = this.#stride;
    const at = row * stride;
    linalg.gptqPanel({
      rows: end - row,
      n: stride,
      w: { at: this.#w + at * 4, stride },
      u: this.#uAt(row, row),
      scales: this.#scales,
      zeroPoints: this.#zeroPoints,
      groups: this.#groups + row * 4,
      range: rangeOf(this.matrix, this.spec),
      codes: { at: this.#codes + at, stride },
      err: { at: this.#err + (row - start) * stride * 4, stride },
    });
  }

  #uAt(row: number, column: number): Matrix {
    return { at: this.#u.at + (row * this.#u.stride + column) * 4, stride: this.#u.stride };
  }

  /** Finds the scales of the group that starts at `row` from its weights as corrected so far. */
  #openGroup(row: number): void {
    const { memory } = kernels();
    const { k, n, groupSize, fold } = this.matrix;
    const rows = Math.min(groupSize, k - row);
    const found = memory.scope(() => {
      const block = memory.alloc32(rows * n);
      const from = memory.f32(this.#w + row * this.#stride * 4, rows * this.#stride);
      const to = memory.f32(block, rows * n);
      for (let i = 0; i < rows; i++) {
        to.set(from.subarray(i * this.#stride, i * this.#stride + n), i * n);
        for (const column of this.#zeros.get(row + i) ?? []) to[i * n + column] = 0;
      }
      return blockParams(this.matrix, this.spec, block, 1, rows);
    });
    const group = row / groupSize;
    this.params.scales.set(found.scales, (group * n) / fold);
    this.params.zeroPoints.set(found.zeroPoints, (group * n) / fold);
    this.#showParams(group);
  }

  /** Writes the parameters of a group where the kernel reads them. */
  #showParams(group: number): void {
    const { memory } = kernels();
    const { n, fold } = this.matrix;
    const offset = group * this.#stride * 4;
    spread(this.params.scales, group, n, fold, memory.f32(this.#scales + offset, n));
    spread(this.params.zeroPoints, group, n, fold, memory.i32(this.#zeroPoints + offset, n));
  }
}

function zerosOf(row: Float32Array): number[] {
  const zeros: number[] = [];
  row.forEach((x, column) => {
    if (x === 0) zeros.push(column);
  });
  return zeros;
}

/** Inputs by falling second moment; equals stay in order. */
function byDiagonal(hessian: Float32Array, k: number): Uint32Array {
  const order = Array.from({ length: k }, (_, i) => i);
  const diagonal = (i: number) => hessian[i * (k + 1)] as number;
  return Uint32Array.from(order.sort((a, b) => diagonal(b) - diagonal(a) || a - b));
}
