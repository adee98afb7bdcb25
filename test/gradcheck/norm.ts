/** @file Cases of the gradient check: normalization. */
import type { Cases } from "./gradcheck.ts";

const statistics: readonly [number, number] = [0.3, 2];

export const norms: Cases = {
  BatchNormalization: [
    {
      text: "(T[3,2,4,5] x, T[2] s, T[2] b, T[2] m, T[2] v) => (y) { y = BatchNormalization(x, s, b, m, v) }",
      range: statistics,
    },
    { text: "(T[3,2,4,5] x) => (y) <T[2] s = {1, 2}, T[2] z = {1, 3}> { y = BatchNormalization(x, s, s, s, z) }" },
    { text: "(T[3,2] x, T[2] s, T[2] b) => (y) <T[2] m = {1, 2}> { y = BatchNormalization(x, s, b, m, m) }" },
    "(T[3,2,4,5] x, T[2] s, T[2] b) => (y) <T[2] m = {1, 2}> { y, p, q = BatchNormalization<training_mode = 1>(x, s, b, m, m) }",
    "(T[6,2] x, T[2] s, T[2] b) => (y) <T[2] m = {1, 2}, T[2] v = {1, 2}> { y, p, q = BatchNormalization<training_mode = 1, momentum = 0.0>(x, s, b, m, v) }",
    "(T[3,2,7] x, T[2] s, T[2] b) => (y) <T[2] m = {1, 2}, T[2] v = {1, 2}> { y, p, q = BatchNormalization<training_mode = 1, epsilon = 0.1>(x, s, b, m, v) }",
  ],
  LayerNormalization: [
    { text: "(T[2,3,8] x, T[8] s, T[8] b) => (y) { y = LayerNormalization(x, s, b) }", dtype: "float" },
    { text: "(T[2,3,8] x, T[3,8] s) => (y) { y = LayerNormalization<axis = 1, epsilon = 0.1>(x, s) }", dtype: "float" },
  ],
  RMSNormalization: [
    {
      text: `<ir_version: 11, opset_import: ["": 23]> g (T[2,3,8] x, T[8] s) => (y) { y = RMSNormalization(x, s) }`,
      dtype: "float",
    },
    {
      text: `<ir_version: 11, opset_import: ["": 23]> g (T[2,3,5] x, T[3,5] s) => (y) { y = RMSNormalization<axis = 1, epsilon = 0.1>(x, s) }`,
      dtype: "float",
    },
    {
      text: `<ir_version: 11, opset_import: ["": 23]> g (T[4,6] x, T s) => (y) { y = RMSNormalization<axis = -1>(x, s) }`,
      dtype: "float",
    },
  ],
  InstanceNormalization: [
    { text: "(T[2,3,4,5] x, T[3] s, T[3] b) => (y) { y = InstanceNormalization(x, s, b) }", dtype: "float" },
    {
      text: "(T[2,3,9] x, T[3] s, T[3] b) => (y) { y = InstanceNormalization<epsilon = 0.1>(x, s, b) }",
      dtype: "float",
    },
    { text: "(T[2,2,3,2,3] x, T[2] s, T[2] b) => (y) { y = InstanceNormalization(x, s, b) }", dtype: "float" },
  ],
  GroupNormalization: [
    {
      text: "(T[2,6,4,5] x, T[6] s, T[6] b) => (y) { y = GroupNormalization<num_groups = 2>(x, s, b) }",
      dtype: "float",
    },
    {
      text: "(T[2,6,7] x, T[6] s, T[6] b) => (y) { y = GroupNormalization<num_groups = 1, epsilon = 0.1>(x, s, b) }",
      dtype: "float",
    },
    {
      text: "(T[2,4,3,2,2] x, T[4] s, T[4] b) => (y) { y = GroupNormalization<num_groups = 4>(x, s, b) }",
      dtype: "float",
    },
  ],
  MeanVarianceNormalization: [
    { text: "(T[2,3,4,5] x) => (y) { y = MeanVarianceNormalization(x) }", dtype: "float" },
    { text: "(T[2,3,8] x) => (y) { y = MeanVarianceNormalization<axes = [2]>(x) }", dtype: "float" },
  ],
  LpNormalization: [
    "(T[2,3,4] x) => (y) { y = LpNormalization(x) }",
    { text: "(T[2,3,4] x) => (y) { y = LpNormalization<axis = 1, p = 1>(x) }", range: statistics },
  ],
  LRN: [
    { text: "(T[2,6,3,3] x) => (y) { y = LRN<size = 3, alpha = 0.5, beta = 0.6>(x) }", dtype: "float" },
    { text: "(T[2,6,3,3] x) => (y) { y = LRN<size = 5, alpha = 0.5, bias = 2.0>(x) }", dtype: "float" },
  ],
};
