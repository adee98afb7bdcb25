/** @file Cases of the gradient check: losses over class labels. */
import type { Case, Cases } from "./gradcheck.ts";

function loss(call: string, dims = "[4,3]", labels = "int64[4] t = {0, 2, 1, 2}"): Case {
  return { text: `(T${dims} x) => (y) <${labels}, T[3] w = {0.5, 1, 2}> { y = ${call} }` };
}

const image = ["[2,3,2]", "int64[2,2] t = {0, 2, 7, 1}"] as const;

export const losses: Cases = {
  SoftmaxCrossEntropyLoss: [
    loss("SoftmaxCrossEntropyLoss(x, t)"),
    loss(`SoftmaxCrossEntropyLoss<reduction = "sum">(x, t, w)`),
    loss("SoftmaxCrossEntropyLoss<ignore_index = 2>(x, t, w)"),
    loss("SoftmaxCrossEntropyLoss<ignore_index = 7>(x, t, w)", ...image),
    loss(`SoftmaxCrossEntropyLoss<reduction = "none", ignore_index = 7>(x, t)`, ...image),
    { text: "(T[4,3] x) => (y, p) <int64[4] t = {0, 2, 1, 2}> { y, p = SoftmaxCrossEntropyLoss(x, t) }" },
  ],
  NegativeLogLikelihoodLoss: [
    loss("NegativeLogLikelihoodLoss(x, t)"),
    loss("NegativeLogLikelihoodLoss<ignore_index = 2>(x, t, w)"),
    loss(`NegativeLogLikelihoodLoss<reduction = "sum", ignore_index = 7>(x, t, w)`, ...image),
    loss(`NegativeLogLikelihoodLoss<reduction = "none">(x, t, w)`),
  ],
};
