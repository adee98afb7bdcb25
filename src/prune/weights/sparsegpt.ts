/**
 * @file SparseGPT (Frantar and Alistarh 2023, https://arxiv.org/abs/2301.00774): weights go column by column, those of a row after them make
 * up for it. What goes is chosen again every 128 columns, as in the paper.
 */
import type { Gram } from "../../calibrate/gram.ts";
import { inverseFactor } from "../../calibrate/inverse-factor.ts";
import { kernels, type Matrix } from "../../kernels/index.ts";
import type { ChooseColumns } from "./choose-columns.ts";

/** Columns that are chosen from at once. */
export const BLOCK = 128;
/** Columns that are corrected one by one; more of them in halves, the second by a product with what the first lost. */
const FEW = 4;

/** Which matrix is pruned. */
export interface SparseGptSpec {
  readonly rows: number;
  readonly columns: number;
  /** X^T X of the layer's input, one group. */
  readonly gram: Gram;
  /** Share of the mean of its diagonal that is added to the diagonal. */
  readonly damp: number;
  readonly choose: ChooseColumns;
  /** Columns that are chosen from at once. */
  readonly width?: number;
  /** Opens messages. */
  readonly subject: string;
}

/** Prunes a matrix [rows, columns] in place. @throws bad-data where the second moments are not finite */
export function sparseGpt(matrix: Float32Array, spec: SparseGptSpec): void {
  const { rows, columns, gram, damp, choose, width = BLOCK, subject } = spec;
  const { memory, linalg } = kernels();
  memory.scope(() => {
    const stride = Math.ceil(rows / 16) * 16;
    // Columns of the matrix are rows here: corrections run along them.
    const w: Matrix = { at: memory.alloc32(columns * stride), stride };
    const errors: Matrix = { at: memory.alloc32(width * stride), stride };
    const u = inverseFactor(new Float32Array(gram.sums), columns, { order: undefined, damping: damp, subject });
    const rowOf = ({ at, stride: step }: Matrix, row: number, size: number) => memory.f32(at + row * step * 4, size);
    const part = (m: Matrix, row: number, column: number): Matrix => {
      return { at: m.at + (row * m.stride + column) * 4, stride: m.stride };
    };
    const correct = (first: number, done: number, from: number, to: number, error: Matrix) => {
      if (to > from)
        linalg.gemmTn({
          m: to - from,
          n: stride,
          k: done - first,
          a: part(u, first, from),
          b: error,
          c: part(w, from, 0),
          alpha: -1,
        });
    };
    transpose(matrix, rows, columns, memory.f32(w.at, columns * stride), stride);
    for (let first = 0; first < columns; first += width) {
      const last = Math.min(columns, first + width);
      const saliency = new Float32Array((last - first) * rows);
      for (let j = first; j < last; j++) {
        const own = saliency.subarray((j - first) * rows, (j - first + 1) * rows);
        square(rowOf(w, j, rows), rowOf(u, j, columns)[j] as number, own);
      }
      const gone = choose(saliency, last - first);
      const eliminate = (from: number, to: number): void => {
        if (to - from > FEW) {
          const middle = (from + to) >> 1;
          eliminate(from, middle);
          correct(from, middle, middle, to, part(errors, from - first, 0));
          eliminate(middle, to);
          return;
        }
        for (let j = from; j < to; j++) {
          const [column, factors] = [rowOf(w, j, rows), rowOf(u, j, columns)];
          const error = rowOf(errors, j - first, stride);
          remove(column, gone.subarray((j - first) * rows, (j - first + 1) * rows), factors[j] as number, error);
          for (let k = j + 1; k < to; k++) subtract(rowOf(w, k, rows), error, factors[k] as number);
        }
      };
      eliminate(first, last);
      correct(first, last, last, columns, errors);
    }
    transpose(memory.f32(w.at, columns * stride), columns, rows, matrix, columns, stride);
  });
}

/** (w / pivot)² of a column. */
function square(column: Float32Array, pivot: number, out: Float32Array): void {
  for (let row = 0; row < column.length; row++) {
    const scaled = (column[row] as number) / pivot;
    out[row] = scaled * scaled;
  }
}

/** Puts zeros into a column; error: what is lost with them, over the pivot. Without a branch, which would be guessed wrongly half of the time. */
function remove(column: Float32Array, gone: Uint8Array, pivot: number, error: Float32Array): void {
  for (let row = 0; row < column.length; row++) {
    const weight = column[row] as number;
    const lost = weight * (gone[row] as number);
    error[row] = lost / pivot;
    column[row] = weight - lost;
  }
}

function subtract(column: Float32Array, error: Float32Array, factor: number): void {
  for (let row = 0; row < column.length; row++) column[row] = (column[row] as number) - factor * (error[row] as number);
}

const TILE = 32;

/** out [n, m], rows `outStride` apart, of x [m, n], tile by tile; what lies behind the last column of out becomes 0. */
function transpose(x: Float32Array, m: number, n: number, out: Float32Array, outStride: number, stride = n): void {
  for (let i = 0; i < m; i += TILE)
    for (let j = 0; j < n; j += TILE) {
      const [rows, columns] = [Math.min(m, i + TILE), Math.min(n, j + TILE)];
      for (let column = j; column < columns; column++)
        for (let row = i; row < rows; row++) out[column * outStride + row] = x[row * stride + column] as number;
    }
  for (let column = 0; column < n && outStride > m; column++)
    out.fill(0, column * outStride + m, (column + 1) * outStride);
}
