/** @file Every gradient rule against central differences, one line a case. */
import { describe, expect, it } from "vitest";
import { gradcheck } from "../../test/gradcheck.ts";
import { opsWithGradientRule } from "./rules/index.ts";

/** A model in the textual format, `T` being float64, or float32 where ONNX Runtime computes the operator in nothing else. */
interface Case {
  readonly text: string;
  readonly dtype?: "float";
  /** Range of the inputs; [-1, 1] unless given. */
  readonly range?: readonly [number, number];
}

const cases: Readonly<Record<string, readonly (string | Case)[]>> = {
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
  ReduceSum: [
    "(T[2,3] x) => (y) { y = ReduceSum(x) }",
    "(T[2,3,4] x) => (y) <int64[2] axes = {0, -1}> { y = ReduceSum<keepdims = 0>(x, axes) }",
  ],
};

describe("gradient rules agree with central differences:", () => {
  it.for(Object.entries(cases))("%s", async ([, list]) => {
    for (const each of list) {
      const { text, dtype, range } = typeof each === "string" ? { text: each } : each;
      expect(await gradcheck(text, { ...(dtype && { dtype }), ...(range && { range }) }), text).toBeLessThan(
        dtype ? 2e-3 : 1e-6,
      );
    }
  });

  it("every rule has a case", () => {
    const missing = opsWithGradientRule("").filter((opType) => !cases[opType]);
    expect(missing).toEqual([]);
  });
});
