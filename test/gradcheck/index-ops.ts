/** @file Cases of the gradient check: elements picked, placed or ordered by index. */
import type { Cases } from "./gradcheck.ts";

const scatterCases = (operator: string, indices: string, updates: string) =>
  ["none", "add", "mul", "max", "min"].map(
    (reduction) =>
      `(T[3,4] x, T[${updates}] u) => (y) <int64[${indices}] i = {${reduction === "none" ? "2, 0, 1, -1" : "2, 0, 2, -1"}}> { y = ${operator}<reduction = "${reduction}">(x, i, u) }`,
  );

export const indexOps: Cases = {
  Gather: [
    "(T[5,3] x) => (y) <int64[2,2] i = {0, 4, -1, 0}> { y = Gather(x, i) }",
    "(T[2,5,3] x) => (y) <int32[3] i = {1, 1, -2}> { y = Gather<axis = -2>(x, i) }",
    "(T[2,5] x) => (y) <int64 i = {3}> { y = Gather<axis = 1>(x, i) }",
    "(T[5] x) => (y) <int64 i = {-1}> { y = Gather(x, i) }",
  ],
  GatherElements: [
    "(T[3,2] x) => (y) <int64[2,2] i = {0, 2, -3, 1}> { y = GatherElements(x, i) }",
    "(T[2,3] x) => (y) <int64[2,4] i = {0, 2, 2, 1, -1, 0, 0, 0}> { y = GatherElements<axis = 1>(x, i) }",
  ],
  GatherND: [
    "(T[3,4,2] x) => (y) <int64[3,2] i = {0, 1, -1, 3, 0, 1}> { y = GatherND(x, i) }",
    "(T[3,4] x) => (y) <int64[2,2,2] i = {0, 1, 2, -1, 0, 1, 1, 1}> { y = GatherND(x, i) }",
    "(T[2,3,4] x) => (y) <int64[2,2,1] i = {0, 2, 1, 1}> { y = GatherND<batch_dims = 1>(x, i) }",
  ],
  ScatterElements: [
    ...scatterCases("ScatterElements", "1,4", "1,4"),
    {
      text: '(T[3,2] x, T[2,2] u) => (y) <int64[2,2] i = {0, 0, 1, -1}> { y = ScatterElements<axis = 1, reduction = "add">(x, i, u) }',
    },
    {
      // One zero at an index has a gradient, of two none has.
      text: '(T[3] x, T[4] u) => (y) <int64[4] i = {0, 0, 1, 1}> { y = ScatterElements<reduction = "mul">(x, i, u) }',
      feeds: { u: [0, 2, 0, 0] },
    },
  ],
  ScatterND: [
    ...scatterCases("ScatterND", "2,2", "2"),
    {
      text: '(T[4,3] x, T[2,2,3] u) => (y) <int64[2,2,1] i = {0, 3, -1, 1}> { y = ScatterND<reduction = "add">(x, i, u) }',
    },
  ],
  OneHot: [
    {
      text: "(T[2] values) => (y) <int64[3] i = {0, 2, 9}, int64 depth = {4}> { y = OneHot(i, depth, values) }",
      dtype: "float",
    },
    {
      text: "(T[2] values) => (y) <int64[2,3] i = {0, 2, 1, -1, 0, 0}, int64 depth = {4}> { y = OneHot<axis = 1>(i, depth, values) }",
      dtype: "float",
    },
  ],
  TopK: [
    "(T[3,7] x) => (y, i) <int64[1] k = {3}> { y, i = TopK(x, k) }",
    "(T[7,2] x) => (y) <int64[1] k = {2}> { y, i = TopK<axis = 0, largest = 0>(x, k) }",
  ],
  CumSum: [
    "(T[3,4] x) => (y) <int64 axis = {1}> { y = CumSum(x, axis) }",
    "(T[3,4] x) => (y) <int64 axis = {-2}> { y = CumSum<exclusive = 1, reverse = 1>(x, axis) }",
  ],
  Compress: [
    "(T[2,4] x) => (y) <bool[4] c = {1, 0, 1, 1}> { y = Compress<axis = -1>(x, c) }",
    "(T[2,3] x) => (y) <bool[5] c = {0, 1, 1, 0, 1}> { y = Compress(x, c) }",
  ],
  ReverseSequence: [
    "(T[4,2,3] x) => (y) <int64[2] n = {3, 2}> { y = ReverseSequence(x, n) }",
    "(T[2,4] x) => (y) <int64[2] n = {4, 1}> { y = ReverseSequence<batch_axis = 0, time_axis = 1>(x, n) }",
  ],
};
