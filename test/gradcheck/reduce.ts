/** @file Cases of the gradient check: reductions. */
import type { Cases } from "./gradcheck.ts";

export const reduces: Cases = {
  ReduceSum: [
    "(T[2,3] x) => (y) { y = ReduceSum(x) }",
    "(T[2,3,4] x) => (y) <int64[2] axes = {0, -1}> { y = ReduceSum<keepdims = 0>(x, axes) }",
  ],
};
