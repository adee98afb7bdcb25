/** @file What goes of a block of columns: the same share of every block, or a pattern. */
import { below, lineBelow, patternGone } from "./units.ts";

/** 1 for each element that goes, given how much each matters: both [width, rows], the columns of a block one after another. */
export type ChooseColumns = (saliency: Float32Array, width: number) => Uint8Array;

/** The least salient elements, as many as a share of the block. */
export const shareOf =
  (ratio: number): ChooseColumns =>
  (saliency) => {
    const line = lineBelow(() => [saliency], Math.round(ratio * saliency.length), saliency.length);
    return below(saliency, line).gone;
  };

/** N of every M inputs stay; a block holds whole patterns. `inner`: places of a kernel, which run fastest. */
export const patternOf =
  (rows: number, inner: number, pattern: { readonly n: number; readonly m: number }): ChooseColumns =>
  (saliency, width) =>
    turned(patternGone(turned(saliency, width, rows), { rows, columns: width, inner }, pattern), rows, width);

/** A matrix [m, n] as [n, m]. */
function turned<T extends Float32Array | Uint8Array>(matrix: T, m: number, n: number): T {
  const result = matrix.slice() as T;
  for (let i = 0; i < m; i++) for (let j = 0; j < n; j++) result[j * m + i] = matrix[i * n + j] as number;
  return result;
}
