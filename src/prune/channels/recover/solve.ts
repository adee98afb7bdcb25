/** @file Solves A X = B for symmetric positive A, in float64. */

/**
 * Solves in place of B. A [n, n] is overwritten; `damp` times the mean of its diagonal is added to the diagonal first, and more where
 * that is not enough. B [n, m].
 */
export function solveSymmetric(a: Float64Array, n: number, b: Float64Array, m: number, damp: number): void {
  let mean = 0;
  for (let i = 0; i < n; i++) mean += (a[i * n + i] as number) / n;
  const original = a.slice();
  for (let extra = damp * (mean || 1); ; extra *= 10) {
    a.set(original);
    for (let i = 0; i < n; i++) a[i * n + i] = (a[i * n + i] as number) + extra;
    if (factorize(a, n)) break;
  }
  // L Y = B, then L^T X = Y; rows of B run fastest.
  for (let i = 0; i < n; i++) {
    const row = b.subarray(i * m, (i + 1) * m);
    for (let k = 0; k < i; k++) subtract(row, b.subarray(k * m, (k + 1) * m), a[i * n + k] as number);
    const pivot = a[i * n + i] as number;
    for (let j = 0; j < m; j++) row[j] = (row[j] as number) / pivot;
  }
  for (let i = n - 1; i >= 0; i--) {
    const row = b.subarray(i * m, (i + 1) * m);
    for (let k = i + 1; k < n; k++) subtract(row, b.subarray(k * m, (k + 1) * m), a[k * n + i] as number);
    const pivot = a[i * n + i] as number;
    for (let j = 0; j < m; j++) row[j] = (row[j] as number) / pivot;
  }
}

function subtract(row: Float64Array, other: Float64Array, factor: number): void {
  if (factor === 0) return;
  for (let j = 0; j < row.length; j++) row[j] = (row[j] as number) - factor * (other[j] as number);
}

/** The lower factor of A = L L^T in its lower triangle; false where a pivot is not positive. */
function factorize(a: Float64Array, n: number): boolean {
  for (let i = 0; i < n; i++) {
    const rowI = a.subarray(i * n, i * n + n);
    for (let j = 0; j <= i; j++) {
      const rowJ = a.subarray(j * n, j * n + n);
      let sum = rowI[j] as number;
      for (let k = 0; k < j; k++) sum -= (rowI[k] as number) * (rowJ[k] as number);
      if (j < i) rowI[j] = sum / (rowJ[j] as number);
      else if (sum > 0) rowI[i] = Math.sqrt(sum);
      else return false;
    }
  }
  return true;
}
