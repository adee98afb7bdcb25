/**
 * @file Cases of the gradient check: quantization. Its own derivative is zero almost everywhere, so the steps are made so large that
 * they go through whole codes: what is compared is the straight-through slope, exact for codes that do not leave their range.
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
