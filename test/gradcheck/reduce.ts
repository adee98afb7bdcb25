/** @file Cases of the gradient check: reductions and running sums. */
import type { Case, Cases } from "./gradcheck.ts";

const positive: readonly [number, number] = [0.3, 2];

/** Over all, over some axes without keeping them, over one axis, over none. */
function reduction(opType: string, options: Partial<Case> = {}): Case[] {
  return [
    { ...options, text: `(T[2,3] x) => (y) { y = ${opType}(x) }` },
    { ...options, text: `(T[2,3,4] x) => (y) <int64[2] a = {-1, 0}> { y = ${opType}<keepdims = 0>(x, a) }` },
    { ...options, text: `(T[2,3,4] x) => (y) <int64[1] a = {1}> { y = ${opType}(x, a) }` },
  ];
}

export const reduces: Cases = {
  ReduceSum: [...reduction("ReduceSum"), "(T[2,3] x) => (y) { y = ReduceSum<noop_with_empty_axes = 1>(x) }"],
  ReduceMean: reduction("ReduceMean"),
  ReduceMax: reduction("ReduceMax"),
  ReduceMin: reduction("ReduceMin"),
  ReduceProd: [
    ...reduction("ReduceProd", { dtype: "float" }),
    { text: "(T[3] x) => (y) { y = ReduceProd(x) }", dtype: "float", feeds: { x: [0, 0.5, 2] } },
    { text: "(T[3] x) => (y) { y = ReduceProd(x) }", dtype: "float", feeds: { x: [0, 0.5, 0] } },
  ],
  ReduceL1: reduction("ReduceL1", { dtype: "float", range: [-1.5, -0.2] }),
  ReduceL2: reduction("ReduceL2", { dtype: "float" }),
  ReduceLogSum: reduction("ReduceLogSum", { dtype: "float", range: positive }),
  ReduceLogSumExp: reduction("ReduceLogSumExp"),
  ReduceSumSquare: reduction("ReduceSumSquare"),
  CumSum: [
    "(T[2,5] x) => (y) <int64 a = {1}> { y = CumSum(x, a) }",
    "(T[2,5] x) => (y) <int64 a = {-1}> { y = CumSum<exclusive = 1>(x, a) }",
    "(T[5,2] x) => (y) <int64 a = {0}> { y = CumSum<reverse = 1, exclusive = 1>(x, a) }",
  ],
};
