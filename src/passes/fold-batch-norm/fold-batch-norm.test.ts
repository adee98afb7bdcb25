/** @file Tests of folding scales and shifts per channel into the layer before. */
import { describe, expect, it } from "vitest";
import { parse } from "../../ir/text/index.ts";
import { foldBatchNorm } from "./fold-batch-norm.ts";

/** Op types, and the named constants, after folding; folding twice changes nothing. */
function fold(text: string, opset = 21) {
  const source = parse(`<ir_version: 8, opset_import: ["": ${opset}]> g ${text}`);
  const { model, modified } = foldBatchNorm(source);
  expect(foldBatchNorm(model).modified).toBe(false);
  const ops = model.graph.nodes.map((node) => node.opType).join(" ");
  const numbers = (name: string) => Array.from(model.graph.find(name)?.tensor?.toNumbers() ?? []);
  return { model, modified, ops, numbers };
}

// scale / √(variance + ε) = [2, 3]; shift = B − mean · that = [−1, −2].
const norm = `float[2] s = {2, 6}, float[2] b = {1, 1}, float[2] m = {1, 1}, float[2] v = {0.99999, 3.99999}`;

describe("BatchNormalization", () => {
  it("goes into Conv, which gets a bias", () => {
    const { ops, numbers, model } = fold(`(float[1,1,3,3] x) => (y) <float[2,1,1,1] w = {1, 10}, ${norm}> {
      c = Conv(x, w)  y = BatchNormalization(c, s, b, m, v)
    }`);
    expect(ops).toBe("Conv");
    expect(numbers("w")).toEqual([2, 30]);
    expect(numbers("w_bias")).toEqual([-1, -2]);
    expect(model.graph.outputs[0]?.producer?.opType).toBe("Conv");
  });

  it("scales the bias that is there", () => {
    const { numbers } = fold(`(float[1,1,3,3] x) => (y) <float[2,1,1,1] w = {1, 10}, float[2] c = {5, 5}, ${norm}> {
      a = Conv(x, w, c)  y = BatchNormalization(a, s, b, m, v)
    }`);
    expect(numbers("c")).toEqual([9, 13]);
  });

  it("knows the channels of a grouped ConvTranspose", () => {
    const { ops, numbers } = fold(`(float[1,4,3,3] x) => (y) <float[4,1,1,1] w = {1, 1, 1, 1}, ${norm}> {
      c = ConvTranspose <group = 2> (x, w)  y = BatchNormalization(c, s, b, m, v)
    }`);
    expect(ops).toBe("ConvTranspose");
    expect(numbers("w")).toEqual([2, 2, 3, 3]);
  });

  it("goes into Gemm either way around, and takes beta along", () => {
    const gemm = (attributes: string, dims: string) =>
      fold(`(float[1,3] x) => (y) <float[${dims}] w = {1, 2, 3, 4, 5, 6}, float[2] c = {5, 5}, ${norm}> {
        a = Gemm <${attributes}> (x, w, c)  y = BatchNormalization(a, s, b, m, v)
      }`);
    expect(gemm("beta = 2.0", "3,2").numbers("w")).toEqual([2, 6, 6, 12, 10, 18]);
    const transposed = gemm("beta = 2.0, transB = 1", "2,3");
    expect(transposed.numbers("w")).toEqual([2, 4, 6, 12, 15, 18]);
    expect(transposed.numbers("c")).toEqual([19, 28]);
    expect(transposed.model.graph.nodes[0]?.attributes.has("beta")).toBe(false);
  });

  it("goes into MatMul of two axes, with an Add behind it or as one", () => {
    const plain = fold(`(float[1,2] x) => (y) <float[2,2] w = {1, 1, 1, 1}, ${norm}> {
      a = MatMul(x, w)  y = BatchNormalization(a, s, b, m, v)
    }`);
    expect([plain.ops, plain.numbers("w"), plain.numbers("w_bias")]).toEqual(["MatMul Add", [2, 3, 2, 3], [-1, -2]]);
    const added = fold(`(float[1,2] x) => (y) <float[2,2] w = {1, 1, 1, 1}, float[2] c = {5, 5}, ${norm}> {
      a = MatMul(x, w)  d = Add(c, a)  y = BatchNormalization(d, s, b, m, v)
    }`);
    expect([added.ops, added.numbers("w"), added.numbers("c")]).toEqual(["MatMul Add", [2, 3, 2, 3], [9, 13]]);
  });

  it.each([
    ["the output is used elsewhere", `c = Conv(x, w)  y = BatchNormalization(c, s, b, m, v)  z = Neg(c)`, 21],
    ["the output is an output", `z = Conv(x, w)  y = BatchNormalization(z, s, b, m, v)`, 21],
    ["the weight is shared", `c = Conv(x, w)  y = BatchNormalization(c, s, b, m, v)  z = Neg(w)`, 21],
    ["the weight is computed", `k = Neg(w)  c = Conv(x, k)  y = BatchNormalization(c, s, b, m, v)  z = Neg(x)`, 21],
    ["the bias is computed", `k = Neg(b)  c = Conv(x, w, k)  y = BatchNormalization(c, s, b, m, v)  z = Neg(x)`, 21],
    ["it trains", `c = Conv(x, w)  y = BatchNormalization <training_mode = 1> (c, s, b, m, v)  z = Neg(x)`, 21],
    ["a second output is used", `c = Conv(x, w)  y, z = BatchNormalization(c, s, b, m, v)`, 9],
    ["it is not spatial", `c = Conv(x, w)  y = BatchNormalization <spatial = 0> (c, s, b, m, v)  z = Neg(x)`, 8],
    ["a parameter is computed", `k = Neg(b)  c = Conv(x, w)  y = BatchNormalization(c, s, k, m, v)  z = Neg(x)`, 21],
    ["the variance is negative", `c = Conv(x, w)  y = BatchNormalization(c, s, b, m, n)  z = Neg(x)`, 21],
  ])("stays when %s", (_, body, opset) => {
    const text = `(float[1,1,3,3] x) => (y, z) <float[2,1,1,1] w = {1, 10}, float[2] n = {-1, -1}, ${norm}> { ${body} }`;
    expect(fold(text, opset).modified).toBe(false);
  });
});

describe("scales and shifts", () => {
  it("fold one after another, as exporters write batch norm in pieces", () => {
    const { ops, numbers } = fold(`(float[1,1,3,3] x) => (y)
      <float[2,1,1,1] w = {1, 10}, float[1,2,1,1] m = {1, 2}, float[2,1,1] d = {0.5, 0.25}, float k = {3}, float[1,2,1,1] b = {1, 2}> {
      c = Conv(x, w)  e = Sub(c, m)  f = Div(e, d)  g = Mul(k, f)  h = Add(g, b)  y = Relu(h)
    }`);
    expect(ops).toBe("Conv Relu");
    expect([numbers("w"), numbers("w_bias")]).toEqual([
      [6, 120],
      [-5, -22],
    ]);
  });

  it("are read along the last axis behind MatMul", () => {
    const { ops, numbers } =
      fold(`(float[N,4,2] x) => (y) <float[2,2] w = {1, 2, 3, 4}, float[2] k = {2, 3}, float[2] c = {1, 1}> {
      a = MatMul(x, w)  b = Add(a, c)  y = Mul(b, k)
    }`);
    expect([ops, numbers("w"), numbers("c")]).toEqual(["MatMul Add", [2, 6, 6, 12], [2, 3]]);
  });

  it("only need the bias when nothing is scaled: a shared weight is no obstacle", () => {
    const { ops, numbers } =
      fold(`(float[1,1,3,3] x) => (y, z) <float[2,1,1,1] w = {1, 10}, float[1,2,1,1] c = {1, 2}> {
      a = Conv(x, w)  y = Add(a, c)  z = Conv(x, w)
    }`);
    expect([ops, numbers("w"), numbers("w_bias")]).toEqual(["Conv Conv", [1, 10], [1, 2]]);
  });

  it.each([
    [
      "over space",
      `(float[1,1,3,3] x) => (y) <float[2,1,1,1] w = {1, 10}, float[3] k = {1, 2, 3}> { a = Conv(x, w)  y = Mul(a, k) }`,
    ],
    [
      "over the batch",
      `(float[1,1,3,3] x) => (y) <float[2,1,1,1] w = {1, 10}, float[2,2,1,1] k = {1, 2, 3, 4}> { a = Conv(x, w)  y = Mul(a, k) }`,
    ],
    [
      "with a new axis",
      `(float[1,1,3,3] x) => (y) <float[2,1,1,1] w = {1, 10}, float[1,1,1,1,1] k = {2}> { a = Conv(x, w)  y = Mul(a, k) }`,
    ],
    [
      "that divide by zero",
      `(float[1,1,3,3] x) => (y) <float[2,1,1,1] w = {1, 10}, float k = {0}> { a = Conv(x, w)  y = Div(a, k) }`,
    ],
    [
      "that overflow",
      `(float[1,1,3,3] x) => (y) <float[2,1,1,1] w = {1e30, 1}, float k = {1e30}> { a = Conv(x, w)  y = Mul(a, k) }`,
    ],
    [
      "of half floats",
      `(float16[1,1,3,3] x) => (y) <float16[2,1,1,1] w = {1, 10}, float16 k = {2}> { a = Conv(x, w)  y = Mul(a, k) }`,
    ],
    [
      "that are a MatMul's bias",
      `(float[1,2] x) => (y) <float[2,2] w = {1, 2, 3, 4}, float[2] c = {1, 1}> { a = MatMul(x, w)  y = Add(a, c) }`,
    ],
  ])("stay %s", (_, text) => {
    expect(fold(text).modified).toBe(false);
  });
});
