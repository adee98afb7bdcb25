/** @file Cases of the gradient check: pooling. */
import type { Case, Cases } from "./gradcheck.ts";

const linear = (text: string): Case => ({ text, dtype: "float", step: 0.5, tolerance: 1e-5 });
const smooth = (text: string): Case => ({ text, dtype: "float" });
const distinct = (text: string): Case => ({ text, dtype: "float", step: 1e-3, tolerance: 2e-3 });

export const pools: Cases = {
  AveragePool: [
    linear("(T[2,3,4,6] x) => (y) { y = AveragePool<kernel_shape = [2, 3], strides = [2, 3]>(x) }"),
    linear("(T[2,3,5,7] x) => (y) { y = AveragePool<kernel_shape = [2, 3], strides = [2, 3]>(x) }"),
    linear("(T[2,3,5,7] x) => (y) { y = AveragePool<kernel_shape = [2, 2], strides = [2, 2], ceil_mode = 1>(x) }"),
    linear("(T[2,3,5,6] x) => (y) { y = AveragePool<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(x) }"),
    linear(`(T[2,3,5,6] x) => (y) {
      y = AveragePool<kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [2, 1], count_include_pad = 1>(x) }`),
    linear(`(T[1,2,6,7] x) => (y) {
      y = AveragePool<kernel_shape = [3, 3], pads = [1, 0, 0, 1], strides = [2, 2], ceil_mode = 1, count_include_pad = 1>(x) }`),
    linear(
      `(T[1,2,6,7] x) => (y) { y = AveragePool<kernel_shape = [3, 3], strides = [2, 2], auto_pad = "SAME_UPPER">(x) }`,
    ),
    linear("(T[1,2,7,7] x) => (y) { y = AveragePool<kernel_shape = [2, 3], dilations = [2, 2]>(x) }"),
    linear("(T[2,3,9] x) => (y) { y = AveragePool<kernel_shape = [3], strides = [2]>(x) }"),
    linear(
      "(T[2,3,10] x) => (y) { y = AveragePool<kernel_shape = [3], strides = [2], pads = [1, 0], ceil_mode = 1>(x) }",
    ),
    linear("(T[1,2,4,4,4] x) => (y) { y = AveragePool<kernel_shape = [2, 2, 2], strides = [2, 2, 2]>(x) }"),
  ],
  MaxPool: [
    distinct("(T[2,3,4,6] x) => (y) { r = Relu(x) y = MaxPool<kernel_shape = [2, 3], strides = [2, 3]>(r) }"),
    distinct("(T[2,3,4,6] x) => (y) { y = MaxPool<kernel_shape = [2, 3], strides = [2, 3]>(x) }"),
    distinct("(T[2,3,5,7] x) => (y) { y = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(x) }"),
    distinct(
      "(T[2,3,5,7] x) => (y) { r = Relu(x) y = MaxPool<kernel_shape = [2, 2], strides = [2, 2], ceil_mode = 1>(r) }",
    ),
    distinct("(T[2,3,5,7] x) => (y) { y = MaxPool<kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]>(x) }"),
    distinct(
      "(T[2,3,6,7] x) => (y) { y = MaxPool<kernel_shape = [3, 3], strides = [2, 2], pads = [0, 0, 1, 1], ceil_mode = 1>(x) }",
    ),
    distinct("(T[1,2,5,6,5] x) => (y) { y = MaxPool<kernel_shape = [3, 2, 3], strides = [2, 2, 1]>(x) }"),
    distinct("(T[2,3,5,7] x) => (y) { y = MaxPool<kernel_shape = [3, 2], dilations = [2, 2]>(x) }"),
    distinct(
      `(T[2,3,5,7] x) => (y) { y = MaxPool<kernel_shape = [3, 3], strides = [2, 2], auto_pad = "SAME_LOWER">(x) }`,
    ),
    distinct("(T[2,3,5,7] x) => (y) { y, i = MaxPool<kernel_shape = [2, 2], storage_order = 1>(x) }"),
    distinct("(T[2,3,9] x) => (y) { y = MaxPool<kernel_shape = [2], strides = [2]>(x) }"),
    distinct("(T[1,2,4,4,4] x) => (y) { y = MaxPool<kernel_shape = [2, 2, 2], strides = [2, 2, 2]>(x) }"),
    { text: "(T[2,3,4,6] x) => (y) { y = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(x) }" },
  ],
  LpPool: [
    smooth("(T[2,3,5,6] x) => (y) { y = LpPool<kernel_shape = [3, 2], strides = [2, 1], pads = [1, 0, 1, 1]>(x) }"),
    {
      ...smooth("(T[2,3,4,6] x) => (y) { y = LpPool<kernel_shape = [2, 2], strides = [2, 2], p = 3>(x) }"),
      range: [0.2, 1],
    },
  ],
  GlobalAveragePool: [
    linear("(T[2,3,4,5] x) => (y) { y = GlobalAveragePool(x) }"),
    linear("(T[2,3,7] x) => (y) { y = GlobalAveragePool(x) }"),
    linear("(T[1,2,3,2,4] x) => (y) { y = GlobalAveragePool(x) }"),
  ],
  GlobalMaxPool: [
    distinct("(T[2,3,4,5] x) => (y) { y = GlobalMaxPool(x) }"),
    distinct("(T[2,3,7] x) => (y) { y = GlobalMaxPool(x) }"),
  ],
  GlobalLpPool: [
    smooth("(T[2,3,4,5] x) => (y) { y = GlobalLpPool(x) }"),
    { ...smooth("(T[2,3,7] x) => (y) { y = GlobalLpPool<p = 3>(x) }"), range: [0.2, 1] },
  ],
};
