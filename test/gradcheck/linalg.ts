/** @file Cases of the gradient check: matrix products. */
import type { Cases } from "./gradcheck.ts";

export const linalg: Cases = {
  MatMul: [
    "(T[2,3] a, T[3,4] b) => (y) { y = MatMul(a, b) }",
    "(T[5,2,3] a, T[3,4] b) => (y) { y = MatMul(a, b) }",
    "(T[2,1,2,3] a, T[5,3,4] b) => (y) { y = MatMul(a, b) }",
    "(T[3] a, T[5,3,4] b) => (y) { y = MatMul(a, b) }",
    "(T[5,2,3] a, T[3] b) => (y) { y = MatMul(a, b) }",
    "(T[3] a, T[3] b) => (y) { y = MatMul(a, b) }",
  ],
  Gemm: [
    "(T[2,3] a, T[3,4] b, T[4] c) => (y) { y = Gemm<alpha = 0.5, beta = 2.0>(a, b, c) }",
    "(T[3,2] a, T[3,4] b) => (y) { y = Gemm<transA = 1>(a, b) }",
    "(T[2,3] a, T[4,3] b, T[2,1] c) => (y) { y = Gemm<transB = 1>(a, b, c) }",
    "(T[3,2] a, T[4,3] b, T c) => (y) { y = Gemm<transA = 1, transB = 1, alpha = 2.0>(a, b, c) }",
  ],
};
