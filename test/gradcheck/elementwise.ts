/** @file Cases of the gradient check: arithmetic and functions of one element. */
import type { Cases } from "./gradcheck.ts";

const positive: readonly [number, number] = [0.3, 2];

export const elementwise: Cases = {
  Identity: ["(T[2,3] x) => (y) { y = Identity(x) }"],
  Add: ["(T[2,3] a, T[2,3] b) => (y) { y = Add(a, b) }", "(T[2,1,3] a, T[4,1] b) => (y) { y = Add(a, b) }"],
  Sub: ["(T[2,3] a, T[3] b) => (y) { y = Sub(a, b) }", "(T a, T[2,1] b) => (y) { y = Sub(a, b) }"],
  Mul: ["(T[2,3] a, T[1,3] b) => (y) { y = Mul(a, b) }", "(T[2,3] a) => (y) { y = Mul(a, a) }"],
  Div: [
    { text: "(T[2,3] a, T[2,1] b) => (y) { y = Div(a, b) }", range: positive },
    { text: "(T a, T[4,2,3] b) => (y) { y = Div(a, b) }", range: positive },
  ],
  Mod: [{ text: "(T[7] a, T[7] b) => (y) { y = Mod<fmod = 1>(a, b) }", range: positive }],
  Sum: ["(T[2,3] a, T[3] b, T c) => (y) { y = Sum(a, b, c) }", "(T[2] a) => (y) { y = Sum(a) }"],
  Mean: [{ text: "(T[2,3] a, T[3] b, T c) => (y) { y = Mean(a, b, c) }", dtype: "float" }],
  Max: [
    "(T[2,3] a, T[3] b) => (y) { y = Max(a, b) }",
    "(T[4] a, T[4] b, T c) => (y) { y = Max(a, b, c) }",
    "(T[4] a) => (y) { y = Max(a) }",
    "(T[4] a) => (y) { y = Max(a, a) }",
  ],
  Min: ["(T[2,3] a, T[3] b) => (y) { y = Min(a, b) }", "(T[4] a, T[4] b, T c) => (y) { y = Min(a, b, c) }"],
  Neg: ["(T[5] x) => (y) { y = Neg(x) }"],
  Abs: ["(T[5] x) => (y) { y = Abs(x) }"],
  Reciprocal: [{ text: "(T[5] x) => (y) { y = Reciprocal(x) }", range: positive }],
  Sqrt: [{ text: "(T[5] x) => (y) { y = Sqrt(x) }", range: positive }],
  Exp: ["(T[5] x) => (y) { y = Exp(x) }"],
  Log: [{ text: "(T[5] x) => (y) { y = Log(x) }", range: positive }],
  Pow: [
    { text: "(T[2,3] x, T[3] p) => (y) { y = Pow(x, p) }", range: positive },
    "(T[2,3] x) => (y) <T p = {2}> { y = Pow(x, p) }",
    "(T[2,3] x) => (y) <int64 p = {3}> { y = Pow(x, p) }",
    { text: "(T[3] x, T[3] p) => (y) { y = Pow(x, p) }", feeds: { x: [0, 0.5, 2], p: [2, 0, 3] }, fixed: ["p"] },
  ],
  Sin: ["(T[5] x) => (y) { y = Sin(x) }"],
  Cos: ["(T[5] x) => (y) { y = Cos(x) }"],
  Tan: [{ text: "(T[5] x) => (y) { y = Tan(x) }", dtype: "float" }],
  Asin: [{ text: "(T[5] x) => (y) { y = Asin(x) }", dtype: "float", range: [-0.7, 0.7] }],
  Acos: [{ text: "(T[5] x) => (y) { y = Acos(x) }", dtype: "float", range: [-0.7, 0.7] }],
  Atan: [{ text: "(T[5] x) => (y) { y = Atan(x) }", dtype: "float" }],
  Sinh: [{ text: "(T[5] x) => (y) { y = Sinh(x) }", dtype: "float" }],
  Cosh: [{ text: "(T[5] x) => (y) { y = Cosh(x) }", dtype: "float" }],
  Asinh: [{ text: "(T[5] x) => (y) { y = Asinh(x) }", dtype: "float" }],
  Acosh: [{ text: "(T[5] x) => (y) { y = Acosh(x) }", dtype: "float", range: [1.5, 3] }],
  Atanh: [{ text: "(T[5] x) => (y) { y = Atanh(x) }", dtype: "float", range: [-0.7, 0.7] }],
  Erf: [{ text: "(T[5] x) => (y) { y = Erf(x) }", dtype: "float" }],
  Where: [
    "(T[2,3] a, T[3] b) => (y) <bool[2,1] c = {1, 0}> { y = Where(c, a, b) }",
    "(T[1,3] a, T b) => (y) <bool[2,3] c = {1, 0, 0, 1, 1, 0}> { y = Where(c, a, b) }",
  ],
  Clip: [
    { text: "(T[9] x, T low, T high) => (y) { y = Clip(x, low, high) }", feeds: { low: [-0.4], high: [0.5] } },
    "(T[9] x) => (y) <T low = {0}> { y = Clip(x, low) }",
    "(T[9] x) => (y) <T high = {0}> { y = Clip(x, , high) }",
    "(T[9] x) => (y) { y = Clip(x) }",
  ],
  Cast: [
    { text: "(T[5] x) => (y) { d = Cast<to = 11>(x) y = Mul(d, d) }", dtype: "float" },
    { text: "(T[5] x) => (y) { i = Cast<to = 7>(x) f = Cast<to = 11>(i) y = Mul(f, x) }", range: [1.1, 1.9] },
  ],
  CastLike: [{ text: "(T[5] x, double z) => (y) { d = CastLike(x, z) y = Mul(d, d) }", dtype: "float" }],
};
