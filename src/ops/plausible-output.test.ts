/** @file Tests of which output is taken for the answer. */
import { describe, expect, it } from "vitest";
import { parse } from "../ir/text/index.ts";
import { infer } from "./infer.ts";
import { plausibleOutput } from "./plausible-output.ts";

function taken(text: string, label?: Parameters<typeof plausibleOutput>[2]) {
  const model = parse(text);
  const { types } = infer(model);
  return plausibleOutput(model.graph, (value) => types.get(value), label);
}

const head = "<float[4,3] w = {1,2,3,4,5,6,7,8,9,10,11,12}>";

describe("plausibleOutput", () => {
  it.each([
    [
      "features are not the answer where logits follow",
      `(float[N,4] x) => (f, y) ${head} { f = Tanh(x)  y = MatMul(f, w) }`,
      1,
      "y",
    ],
    ["class indices have no scores", `(float[N,4] x) => (i, y) ${head} { y = MatMul(x, w)  i = ArgMax(y) }`, 1, "y"],
    [
      "nothing comes behind probabilities",
      `(float[N,4] x) => (y, p) ${head} { y = MatMul(x, w)  p = Softmax(y) }`,
      1,
      "p",
    ],
    [
      "the shape suits the label",
      `(float[N,4] x) => (a, y) ${head} { a = Unsqueeze(x, k)  y = MatMul(x, w) }`
        .replace("12}>", "12}, int64[1] k = {1}>")
        .replace("Unsqueeze(x, k)", "Expand(x, s)")
        .replace("{1}>", "{1}, int64[3] s = {5, 1, 4}>"),
      1,
      "y",
    ],
    [
      "a label beyond the classes is not of that output",
      `(float[N,4] x) => (a, y) ${head} { a = MatMul(x, w)  y = Neg(x) }`,
      3,
      "y",
    ],
    ["the first of two that are as good", `(float[N,4] x) => (a, b) { a = Neg(x)  b = Abs(x) }`, 1, "a"],
    [
      "numbers as labels want as many",
      `(float[N,4] x) => (a, y) ${head} { a = Neg(x)  y = MatMul(x, w) }`,
      { dtype: "float32", dims: [3] } as const,
      "y",
    ],
    [
      "a class for each place",
      `(float[N,6,4] x) => (a, y) { a = ReduceMean(x)  y = Neg(x) }`,
      { dtype: "int64", dims: [1, 6] } as const,
      "y",
    ],
    [
      "through the branches of an If",
      `(float[N,4] x, bool c) => (f, y) {
      f = Tanh(x)
      y = If(c) <then_branch = t () => (float[N,4] p) { p = Neg(f) }, else_branch = e () => (float[N,4] q) { q = Abs(f) }>
    }`,
      1,
      "y",
    ],
  ])("%s", (_, text, label, name) => {
    const found = taken(text, label);
    expect(found?.value.name).toBe(name);
    expect(found?.note).toMatch(new RegExp(`^output "${name}" is taken for the answer, of `));
  });

  it("says nothing where there is no choice", () => {
    const found = taken(`(float[N,4] x) => (y) { y = Neg(x) }`, 1);
    expect([found?.value.name, found?.note]).toEqual(["y", undefined]);
  });
});
