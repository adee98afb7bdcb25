/** @file Cases of the gradient check: arithmetic and functions of one element. */
import type { Cases } from "./gradcheck.ts";

export const elementwise: Cases = {
  Identity: ["(T[2,3] x) => (y) { y = Identity(x) }"],
  Add: ["(T[2,3] a, T[2,3] b) => (y) { y = Add(a, b) }", "(T[2,1,3] a, T[4,1] b) => (y) { y = Add(a, b) }"],
  Sub: ["(T[2,3] a, T[3] b) => (y) { y = Sub(a, b) }", "(T a, T[2,1] b) => (y) { y = Sub(a, b) }"],
  Mul: ["(T[2,3] a, T[1,3] b) => (y) { y = Mul(a, b) }", "(T[2,3] a) => (y) { y = Mul(a, a) }"],
  Div: [{ text: "(T[2,3] a, T[2,1] b) => (y) { y = Div(a, b) }", range: [0.5, 2] }],
  Sum: ["(T[2,3] a, T[3] b, T c) => (y) { y = Sum(a, b, c) }"],
  Neg: ["(T[5] x) => (y) { y = Neg(x) }"],
  Sqrt: [{ text: "(T[5] x) => (y) { y = Sqrt(x) }", range: [0.2, 2] }],
  Exp: ["(T[5] x) => (y) { y = Exp(x) }"],
  Log: [{ text: "(T[5] x) => (y) { y = Log(x) }", range: [0.2, 2] }],
  Cast: [{ text: "(T[5] x) => (y) { d = Cast<to = 11>(x) y = Mul(d, d) }", dtype: "float" }],
};
