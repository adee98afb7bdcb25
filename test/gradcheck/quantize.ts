/**
 * @file Cases of the gradient check: quantization. The derivative of QuantizeLinear is zero almost everywhere, so central differences
 * know nothing of its straight-through gradient: src/autodiff/gradient.run.test.ts compares that with figures.
 */
import type { Cases } from "./gradcheck.ts";

export const quantization: Cases = {
  QuantizeLinear: [],
  DequantizeLinear: [
    {
      text: "(T s) => (y) <int8[4] q = {-5, 3, 100, 7}, int8 z = {2}> { y = DequantizeLinear(q, s, z) }",
      dtype: "float",
    },
    {
      text: "(T[2] s) => (y) <int8[2,2] q = {-5, 3, 100, 7}> { y = DequantizeLinear<axis = 0>(q, s) }",
      dtype: "float",
    },
    {
      text: "(T[2,2] s) => (y) <int8[2,3] q = {-5, 3, 100, 7, 1, -9}> { y = DequantizeLinear<axis = 1, block_size = 2>(q, s) }",
      dtype: "float",
    },
  ],
};
