/**
 * @file SparseGPT (Frantar and Alistarh 2023, https://arxiv.org/abs/2301.00774): weights go column by column, those of a row after them make
 * up for it. What goes is chosen again every 128 columns, as in the paper.
 */
import type { Gram } from "../../calibrate/gram.ts";

/** Columns that are chosen from at once. */
export const BLOCK = 128;

/** Which elements of the columns [first, last) go, given the saliency w² / diag(H⁻¹) of the whole matrix. */
export type ChooseColumns = (saliency: Float32Array, first: number, last: number) => Uint8Array;

/**
 * Prunes a matrix [rows, columns] in place, `width` columns at a time. `gram` is X^T X of the layer's input, one group; `damp` a share
 * of the mean of its diagonal.
 */
export function sparseGpt(
  matrix: Float32Array,
  rows: number,
  columns: number,
  gram: Gram,
  damp: number,
  choose: ChooseColumns,
  width = BLOCK,
): void {
  const upper = inverseFactor(gram.sums, columns, damp);
  const saliency = new Float32Array(matrix.length);
  for (let first = 0; first < columns; first += width) {
    const last = Math.min(columns, first + width);
    for (let row = 0; row < rows; row++)
      for (let j = first; j < last; j++) {
        const at = row * columns + j;
        saliency[at] = ((matrix[at] as number) / (upper[j * columns + j] as number)) ** 2;
      }
    const gone = choose(saliency, first, last);
    for (let row = 0; row < rows; row++)
      for (let j = first; j < last; j++) {
        const at = row * columns + j;
        if (!gone[at]) continue;
        const error = (matrix[at] as number) / (upper[j * columns + j] as number);
        for (let k = j + 1; k < columns; k++)
          matrix[row * columns + k] =
            (matrix[row * columns + k] as number) - error * (upper[j * columns + k] as number);
        matrix[at] = 0;
      }
  }
}

/** The upper factor U of (A + damp I)⁻¹ = U^T U, in float64. */
function inverseFactor(sums: Float64Array, n: number, damp: number): Float64Array {
  let mean = 0;
  for (let i = 0; i < n; i++) mean += (sums[i * n + i] as number) / n;
  for (let extra = damp * (mean || 1); ; extra *= 10) {
    // U comes from the factor of A turned around: with J A J = L L^T, A⁻¹ = (J L^-1 J)^T (J L^-1 J).
    const lower = new Float64Array(n * n);
    let works = true;
    for (let i = 0; i < n && works; i++)
      for (let j = 0; j <= i; j++) {
        let sum = (sums[(n - 1 - i) * n + (n - 1 - j)] as number) + (i === j ? extra : 0);
        for (let k = 0; k < j; k++) sum -= (lower[i * n + k] as number) * (lower[j * n + k] as number);
        if (j < i) lower[i * n + j] = sum / (lower[j * n + j] as number);
        else if (sum > 0) lower[i * n + i] = Math.sqrt(sum);
        else works = false;
      }
    if (works) return turnedInverse(lower, n);
  }
}

/** J L⁻¹ J, upper. */
function turnedInverse(lower: Float64Array, n: number): Float64Array {
  const inverse = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    const row = inverse.subarray(i * n, (i + 1) * n);
    row[i] = 1;
    for (let k = 0; k < i; k++) {
      const factor = lower[i * n + k] as number;
      for (let j = 0; j <= k; j++) row[j] = (row[j] as number) - factor * (inverse[k * n + j] as number);
    }
    const pivot = lower[i * n + i] as number;
    for (let j = 0; j <= i; j++) row[j] = (row[j] as number) / pivot;
  }
  return inverse.reverse();
}
