/**
 * @file Second moments of fewer rows than there are inputs say too much: they are drawn towards their diagonal by as much as the rows leave
 * open. Oracle approximating shrinkage (Chen, Wiesel, Eldar, Hero 2010, https://arxiv.org/abs/0907.4698) of the correlations, in
 * place of the covariance, so that inputs keep their own sizes.
 */

/**
 * @param moments X^T X [k, k]
 * @param rows of X; nothing is changed where there are as many as inputs
 */
export function shrinkMoments(moments: Float32Array, k: number, rows: number): Float32Array {
  const share = shrinkage(moments, k, rows);
  if (share === 0) return moments;
  return moments.map((value, at) => (Math.floor(at / k) === at % k ? value : value * (1 - share)));
}

/** The share of the correlations that goes, 0 to 1. */
export function shrinkage(moments: Float32Array, k: number, rows: number): number {
  if (rows >= k || rows <= 0) return 0;
  const size = Float64Array.from({ length: k }, (_, i) => Math.sqrt(moments[i * k + i] as number));
  let squares = 0;
  for (let i = 0; i < k; i++)
    for (let j = 0; j < k; j++) {
      const scale = (size[i] as number) * (size[j] as number);
      if (scale > 0) squares += ((moments[i * k + j] as number) / scale) ** 2;
    }
  const spread = squares - k;
  if (spread <= 0) return 1;
  return Math.min(1, ((1 - 2 / k) * squares + k * k) / ((rows + 1 - 2 / k) * spread));
}
