/** @file Brings the scores of weights or channels to one scale, so that layers can be ranked against each other. */

/** How layers or groups are made comparable; lamp: the share of a score in what is left once all lesser ones are gone. */
export type Normalization = "none" | "mean" | "lamp";

/**
 * LAMP (Lee et al. 2021, https://arxiv.org/abs/2010.07611): the square of a saliency as a share of the sum of squares of all in its layer that are not
 * less; of equals the later one has more beside it. mean: divided by the layer's mean.
 */
export function normalizeScores<T extends Float32Array | Float64Array>(scores: T, by: Normalization): T {
  if (by === "none") return scores;
  if (by === "mean") {
    let sum = 0;
    for (const score of scores) sum += score;
    return sum > 0 ? (scores.map((score) => (score * scores.length) / sum) as T) : scores;
  }
  const order = Uint32Array.from(scores.keys());
  order.sort((a, b) => (scores[b] as number) - (scores[a] as number) || b - a);
  const result = scores.slice() as T;
  let left = 0;
  for (const at of order) {
    const square = (scores[at] as number) ** 2;
    left += square;
    result[at] = left > 0 ? square / left : 0;
  }
  return result;
}
