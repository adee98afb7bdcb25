/** @file What the conversion to float16 writes: types, Casts, attributes, and what stays float32 and why. */
import { describe, expect, test } from "vitest";
import type { Model } from "../../ir/model.ts";
import { parse, print } from "../../ir/text/index.ts";
import { float32 } from "../../tensor/tensor.ts";
import { toFloat16 } from "./float16.ts";
import type { Float16Options } from "./options.ts";

const ones = (...dims: number[]) => float32(dims, Array(dims.reduce((a, b) => a * b, 1)).fill(1));

/** The model's text without its header. */
const textOf = (model: Model) => print(model).slice(print(model).indexOf("\n") + 1);
const convert = (model: Model, options?: Float16Options) => textOf(toFloat16(model, options).model);
const reasonsOf = (model: Model, options?: Float16Options) =>
  toFloat16(model, options).kept.map(({ name, reason }) => `${name}: ${reason}`);

const dense = () =>
  parse`(float[N,4] x) => (float[N,2] y) <float[4,2] w = ${ones(4, 2)}> { h = MatMul(x, w) y = Relu(h) }`;

test("inputs and outputs keep type and name", () => {
  expect(convert(dense())).toMatchInlineSnapshot(`
    "graph (float[N,4] x) => (float[N,2] y)
    <
      float16[4,2] w = {15360, 15360, 15360, 15360, 15360, 15360, 15360, 15360},
      float16[N,4] x_float16,
      float16[N,2] y_float16
    >
    {
      x_float16 = Cast<to: int = 10>(x)
      h = MatMul(x_float16, w)
      y_float16 = Relu(h)
      y = Cast<to: int = 1>(y_float16)
    }"
  `);
});

test("keepIo false: they become float16 as well", () => {
  expect(convert(dense(), { keepIo: false })).toMatchInlineSnapshot(`
    "graph (float16[N,4] x) => (float16[N,2] y)
    <float16[4,2] w = {15360, 15360, 15360, 15360, 15360, 15360, 15360, 15360}>
    {
      h = MatMul(x, w)
      y = Relu(h)
    }"
  `);
});

test("blocklist: a node stays float32 between Casts, with its weight", () => {
  expect(convert(dense(), { blocklist: "MatMul" })).toMatchInlineSnapshot(`
    "graph (float[N,4] x) => (float[N,2] y)
    <float[4,2] w = {1, 1, 1, 1, 1, 1, 1, 1}, float16[N,2] y_float16>
    {
      h = MatMul(x, w)
      h_float16 = Cast<to: int = 10>(h)
      y_float16 = Relu(h_float16)
      y = Cast<to: int = 1>(y_float16)
    }"
  `);
  expect(reasonsOf(dense(), { blocklist: ["h"] })).toEqual(["h: blocklist"]);
  expect(() => toFloat16(dense(), { blocklist: "nothing/*" })).toThrow(/blocklist "nothing\/\*": no such node/);
});

test("neighbours that stay float32 pass their values on without Casts", () => {
  const model = toFloat16(dense(), { blocklist: "MatMul,Relu" }).model;
  expect(model.graph.nodes.map(({ opType }) => opType)).toEqual(["MatMul", "Relu"]);
});

test("a constant that both kinds read is there twice; scales of Resize stay float32", () => {
  const model = parse`(float[1,1,N,4] x) => (y, z) <float[4] s = ${ones(4)}> { y = Resize(x, , s) z = Add(x, s) }`;
  expect(convert(model)).toMatchInlineSnapshot(`
    "graph (float[1,1,N,4] x) => (float[1,1,N,4] y, float[1,1,N,4] z)
    <
      float[4] s = {1, 1, 1, 1},
      float16[1,1,N,4] x_float16,
      float16[4] s_float16 = {15360, 15360, 15360, 15360}
    >
    {
      x_float16 = Cast<to: int = 10>(x)
      y_float16 = Resize(x_float16, "", s)
      y = Cast<to: int = 1>(y_float16)
      z_float16 = Add(x_float16, s_float16)
      z = Cast<to: int = 1>(z_float16)
    }"
  `);
});

test("attributes that say a type say float16", () => {
  const model = parse`(int64[N] k) => (y) { f = Cast <to = 1> (k) s = Shape(k) c = ConstantOfShape(s) y = Add(f, c) }`;
  expect(convert(model)).toMatchInlineSnapshot(`
    "graph (int64[N] k) => (float[N] y) {
      f = Cast<to: int = 10>(k)
      s = Shape(k)
      c = ConstantOfShape<value: tensor = float16[1] {0}>(s)
      y_float16 = Add(f, c)
      y = Cast<to: int = 1>(y_float16)
    }"
  `);
});

test("Casts of a model that is part float16 go", () => {
  const model = parse`(float16[N,4] x) => (float16[N,4] y) { f = Cast <to = 1> (x) h = Relu(f) c = Cast <to = 10> (h) y = Neg(c) }`;
  expect(toFloat16(model).model.graph.nodes.map(({ opType }) => opType)).toEqual(["Relu", "Neg"]);
});

test("a branch: types agree across its border", () => {
  const model = parse`(bool c, float[N] x) => (float[N] y) {
    y = If (c) <then_branch = then () => (float[N] a) { a = Relu(x) }, else_branch = else () => (float[N] b) { b = Neg(x) }> }`;
  expect(convert(model)).toMatchInlineSnapshot(`
    "graph (bool c, float[N] x) => (float[N] y)
    <float16[N] x_float16, float16[N] y_float16>
    {
      x_float16 = Cast<to: int = 10>(x)
      y_float16 = If(c) <
        then_branch: graph = then () => (float16[N] a) {
          a = Relu(x_float16)
        },
        else_branch: graph = else () => (float16[N] b) {
          b = Neg(x_float16)
        }
      >
      y = Cast<to: int = 1>(y_float16)
    }"
  `);
  const kept = toFloat16(model, { blocklist: "If" });
  expect(kept.kept.map(({ name, reason }) => [name, reason])).toEqual([
    ["y", "blocklist"],
    ["a", 'inside If (output "y"), which stays float32'],
    ["b", 'inside If (output "y"), which stays float32'],
  ]);
  expect(kept.model.graph.nodes).toHaveLength(1);
});

describe("what stays float32", () => {
  test.each<[string, Model, string[]]>([
    [
      "nothing where the schema has float16",
      parse`<opset_import: ["" : 14]> (float[N] x, int64[] k) => (y) { y = CumSum(x, k) }`,
      [],
    ],
    [
      "an operator whose schema has no float16",
      parse`<opset_import: ["" : 11]> (float[N] x, int64[] k) => (y) { y = CumSum(x, k) }`,
      ["y: its schema has no float16"],
    ],
    [
      "quantized input",
      parse`<opset_import: ["" : 13]> (float[N] x) => (y) { a = Relu(x) q, s, z = DynamicQuantizeLinear(a) y = DequantizeLinear(q, s, z) }`,
      ["q: its schema has no float16", "y: its schema has no float16"],
    ],
    [
      "an unknown operator",
      parse`<opset_import: ["" : 17, "my.ops" : 1]> (float[N] x) => (float[N] y) { a = Relu(x) y = my.ops.Thing(a) }`,
      ["y: unknown operator"],
    ],
    [
      "a weight beyond float16",
      parse`(float[N] x) => (y) <float[2] w = {1.0, 70000.0}> { y = Add(x, w) }`,
      ['y: weight "w" holds 7.000e+4, beyond 65504'],
    ],
    [
      "what a large factor makes large, up to the logarithm",
      parse`(float[N] x) => (y) <float k = {1048576.0}, float one = {1.0}> { m = Mul(x, k) a = Add(m, one) l = Log(a) y = Neg(l) }`,
      [
        'm: weight "k" holds 1.049e+6, beyond 65504',
        'a: reads "m", which a number beyond 65504 makes large',
        'l: reads "a", which a number beyond 65504 makes large',
      ],
    ],
    [
      "arithmetic on sizes",
      parse`(float[N,4] x) => (y) <float h = {0.5}, float w = {0.5}> {
        s = Shape(x) f = Cast <to = 1> (s) m = Mul(f, h) i = Cast <to = 7> (m) r = Reshape(x, i) y = Mul(r, w) }`,
      ["f: computes sizes, indices or positions", "m: computes sizes, indices or positions"],
    ],
    [
      "phases of positions",
      parse`(int64[N] p, float[4] x) => (y) <float[1] w = {0.5}> { f = Cast <to = 1> (p) m = Mul(f, w) c = Cos(m) y = Mul(x, c) }`,
      ["f", "m", "c"].map((name) => `${name}: computes sizes, indices or positions`),
    ],
  ])("%s", (_, model, reasons) => {
    expect(reasonsOf(model)).toEqual(reasons);
  });

  test("what is known to overflow, by name", () => {
    const model = parse`(float[N] x) => (y) { a = Relu(x) b = Mul(a, a) y = Sqrt(b) }`;
    const { kept, notes } = toFloat16(model, { magnitudes: new Map([["b", 1e6]]) });
    expect(kept.map(({ name, reason }) => `${name}: ${reason}`)).toEqual([
      'b: "b" reaches 1.000e+6, beyond 65504',
      'y: "b" reaches 1.000e+6, beyond 65504',
    ]);
    expect(notes).toEqual([]);
  });
});

test("numbers that stand for infinity are cut", () => {
  const model = parse`(float[N] x) => (y) <float low = {-3.4e38}> { y = Add(x, low) }`;
  const { model: half, kept, notes } = toFloat16(model);
  expect(kept).toEqual([]);
  expect(half.graph.find("low")?.tensor?.toNumbers()).toEqual(Float64Array.of(-65504));
  expect(notes.filter((note) => note.includes("cut"))).toHaveLength(1);
});

describe("constants that are too small for float16 stay float32, with what may be as small", () => {
  test("an epsilon, up to the logarithm", () => {
    const model = parse`(float[N] x) => (z) <float eps = {1e-10}> { p = Sigmoid(x) a = Add(p, eps) b = Expand(a, s) y = Log(b) z = Exp(y) s = Shape(x) }`;
    expect(reasonsOf(model)).toEqual([
      'a: "eps" is 1e-10, too small for float16',
      'b: reads "a", which may be as small as a constant that float16 does not have',
      'y: reads "b", which may be as small as a constant that float16 does not have',
    ]);
  });
  test("a factor, and what fills a tensor", () => {
    const model = parse`(float[N] x) => (y, z) <float f = {1e-6}> { y = Mul(x, f) s = Shape(x) e = ConstantOfShape <value = float[1] {1e-9}> (s) z = Div(x, e) }`;
    expect(reasonsOf(model)).toEqual([
      'y: "f" is 0.000001, too small for float16',
      "e: its value is too small for float16",
      'z: reads "e", which may be as small as a constant that float16 does not have',
    ]);
  });
  test("a variance, where epsilon does not cover it", () => {
    const norm = (epsilon: number) =>
      parse`(float[N,2] x) => (y) <float[2] a = {1, 1}, float[2] b = {0, 0}, float[2] v = {1, 1e-9}> { y = BatchNormalization <epsilon = ${epsilon}> (x, a, b, b, v) }`;
    expect(reasonsOf(norm(1e-9))).toEqual([
      "y: its variance holds 1e-9 beside an epsilon of 1e-9, too small for float16",
    ]);
    expect(reasonsOf(norm(1e-5))).toEqual([]);
  });
  test("not a bias, or a tensor with larger elements", () => {
    const model = parse`(float[N,4] x) => (y) <float[4,2] w = {1, 1e-9, 0, 1, 1, 1, 1, 1}, float[2] b = {1e-9, 1e-9}> { y = Gemm(x, w, b) }`;
    expect(reasonsOf(model)).toEqual([]);
  });
});

test("generators of random numbers stay float32: runtimes refuse them in float16", () => {
  const model = parse`(int64[2,3] i) => (y) {
    a = RandomNormal <shape = [2,3]> () b = RandomUniform <shape = [2,3]> () c = RandomNormalLike <dtype = 1> (i) d = RandomUniformLike <dtype = 1> (i)
    s = Add(a, b) t = Add(c, d) y = Mul(s, t) }`;
  expect(reasonsOf(model)).toEqual(
    ["a", "b", "c", "d"].map((name) => `${name}: runtimes have no float16 kernel of it`),
  );
});

test("functions are inlined; a call that can't be stays float32, with the reason", () => {
  const half =
    toFloat16(parse`<opset_import: ["" : 17, "f" : 1]> (float[N] x) => (float[N] y) <float[1] c = {0.5}> { t = f.twice(x) y = Mul(t, c) }
    <opset_import: ["" : 17], domain: "f"> twice (a) => (b) { b = Add(a, a) }`);
  expect([half.model.functions, half.kept]).toEqual([[], []]);
  const left =
    toFloat16(parse`<opset_import: ["" : 17, "f" : 1]> (float[N] x) => (float[N] y) <float[1] c = {0.5}> { [call] t = f.soft(x) y = Mul(t, c) }
    <opset_import: ["" : 11], domain: "f"> soft (a) => (b) { b = Softmax(a) }`);
  expect(left.model.functions).toHaveLength(1);
  expect(left.kept).toEqual([
    { name: "call", opType: "f.soft", reason: expect.stringContaining("whose Softmax is that of ai.onnx 11") },
  ]);
});

test("layers are reported with what they take", () => {
  const { model, layers } = toFloat16(dense());
  model.graph.find("w")?.tensor?.toNumbers();
  expect(layers()).toMatchObject([{ status: "quantized", spec: "float16", bytesBefore: 32, bytesAfter: 16 }]);
});
