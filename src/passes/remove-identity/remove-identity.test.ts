/** @file Tests of the removal of nodes that do nothing. */
import { describe, expect, it } from "vitest";
import { parse, print } from "../../ir/text/index.ts";
import { removeIdentity } from "./remove-identity.ts";

/** The op types left of a body that computes y from x and `before`, in the given opset. */
function left(body: string, opset = 21): string {
  const model = parse(`<ir_version: 8, opset_import: ["": ${opset}]> g ${body}`);
  const { model: result } = removeIdentity(model);
  expect(removeIdentity(result).modified).toBe(false);
  expect(result.graph.outputs.map((output) => output.name)).toEqual(model.graph.outputs.map((output) => output.name));
  return result.graph.nodes.map((node) => node.opType).join(" ");
}

it("an output whose name a subgraph has too stays where it is", () => {
  const body = `(float[N,3] x, int64 n, bool c) => (y) {
    a = Neg(x)
    l = Loop(n, c, a) <body = body (int64 y, bool go, float[N,3] s) => (bool on, float[N,3] r) { on = Not(go)  r = Abs(s) }>
    y = Identity(l)
  }`;
  expect(left(body)).toBe("Neg Loop Identity");
});

describe("nodes that give back their input", () => {
  it.each([
    ["Identity", `(float[2,3] x) => (y) { a = Identity(x)  y = Neg(a) }`],
    ["Dropout", `(float[2,3] x) => (y) { a = Dropout(x)  y = Neg(a) }`],
    [
      "Dropout, training off",
      `(float[2,3] x) => (y) <float r = {0.5}, bool t = {0}> { a = Dropout(x, r, t)  y = Neg(a) }`,
    ],
    ["Cast", `(float[2,3] x) => (y) { a = Cast <to = 1> (x)  y = Neg(a) }`],
    ["CastLike", `(float[2,3] x) => (y) { a = CastLike(x, x)  y = Neg(a) }`],
    ["Transpose", `(float[2,3] x) => (y) { a = Transpose <perm = [0, 1]> (x)  y = Neg(a) }`],
    ["Transpose of a vector", `(float[2] x) => (y) { a = Transpose(x)  y = Neg(a) }`],
    ["Flatten", `(float[2,3] x) => (y) { a = Flatten(x)  y = Neg(a) }`],
    ["Reshape", `(float[2,3] x) => (y) <int64[2] s = {2, 3}> { a = Reshape(x, s)  y = Neg(a) }`],
    ["Reshape with 0 and -1", `(float[N,3] x) => (y) <int64[2] s = {0, -1}> { a = Reshape(x, s)  y = Neg(a) }`],
    ["Expand", `(float[N,3] x) => (y) <int64[2] s = {1, 3}> { a = Expand(x, s)  y = Neg(a) }`],
    ["Tile", `(float[N,3] x) => (y) <int64[2] r = {1, 1}> { a = Tile(x, r)  y = Neg(a) }`],
    ["Pad", `(float[N,3] x) => (y) <int64[4] p = {0, 0, 0, 0}> { a = Pad(x, p)  y = Neg(a) }`],
    [
      "Slice",
      `(float[N,3] x) => (y) <int64[2] s = {0, 0}, int64[2] e = {9223372036854775807, 3}> { a = Slice(x, s, e)  y = Neg(a) }`,
    ],
    ["Concat of one", `(float[N,3] x) => (y) { a = Concat <axis = 0> (x)  y = Neg(a) }`],
    ["Max of one", `(float[N,3] x) => (y) { a = Max(x)  y = Neg(a) }`],
    ["x + 0", `(float[N,3] x) => (y) <float[3] c = {0, 0, 0}> { a = Add(x, c)  y = Neg(a) }`],
    ["0 + x", `(float[N,3] x) => (y) <float c = {0}> { a = Add(c, x)  y = Neg(a) }`],
    ["x - 0", `(float[N,3] x) => (y) <float[1,1] c = {0}> { a = Sub(x, c)  y = Neg(a) }`],
    ["x * 1", `(x) => (y) <float c = {1}> { a = Mul(x, c)  y = Neg(a) }`],
    ["x / 1", `(float[N,3] x) => (y) <float[1,3] c = {1, 1, 1}> { a = Div(x, c)  y = Neg(a) }`],
    ["x ^ 1", `(float[N,3] x) => (y) <float c = {1}> { a = Pow(x, c)  y = Neg(a) }`],
    [
      "Unsqueeze, Squeeze",
      `(float[N,3] x) => (y) <int64[1] i = {1}, int64[1] j = {1}> { b = Unsqueeze(x, i)  a = Squeeze(b, j)  y = Neg(a) }`,
    ],
  ])("%s", (_, body) => {
    expect(left(body)).toMatch(/^(Unsqueeze )?Neg$/);
  });

  it.each([
    ["another dtype", `(float[2,3] x) => (y) { a = Cast <to = 10> (x)  y = Neg(a) }`],
    ["unknown dtype", `(x) => (y) { a = Cast <to = 1> (x)  y = Neg(a) }`],
    ["another order", `(float[2,2] x) => (y) { a = Transpose(x)  y = Neg(a) }`],
    ["unknown rank", `(x) => (y) { a = Flatten(x)  y = Neg(a) }`],
    ["another shape", `(float[2,3] x) => (y) <int64[2] s = {3, 2}> { a = Reshape(x, s)  y = Neg(a) }`],
    ["unknown size", `(float[N,3] x) => (y) <int64[2] s = {2, 3}> { a = Reshape(x, s)  y = Neg(a) }`],
    ["0 as a size", `(float[N,3] x) => (y) <int64[2] s = {0, 3}> { a = Reshape <allowzero = 1> (x, s)  y = Neg(a) }`],
    ["a broadcast", `(float[N,1] x) => (y) <float[1,3] c = {0, 0, 0}> { a = Add(x, c)  y = Neg(a) }`],
    ["a new axis", `(float[3] x) => (y) <float[1,3] c = {0, 0, 0}> { a = Add(x, c)  y = Neg(a) }`],
    ["1 - x", `(float[3] x) => (y) <float c = {0}> { a = Sub(c, x)  y = Neg(a) }`],
    ["a default that may be overridden", `(float[3] x, float c = {0}) => (y) { a = Add(x, c)  y = Neg(a) }`],
    ["a shorter slice", `(float[4] x) => (y) <int64[1] s = {0}, int64[1] e = {3}> { a = Slice(x, s, e)  y = Neg(a) }`],
    ["a mask in use", `(float[4] x) => (y, m) { a, m = Dropout(x)  y = Neg(a) }`],
    ["training", `(float[4] x) => (y) <float r = {0.5}, bool t = {1}> { a = Dropout(x, r, t)  y = Neg(a) }`],
    [
      "other axes",
      `(float[1,3,1] x) => (y) <int64[1] i = {0}, int64[1] j = {2}> { a = Squeeze(x, i)  y = Unsqueeze(a, j) }`,
    ],
    ["a contrib op", `(float[4] x) => (y) { a = com.microsoft.Identity(x)  y = Neg(a) }`],
  ])("but not %s", (_, body) => {
    expect(left(body).split(" ")).toHaveLength(2);
  });

  it("reads the attributes of old opsets", () => {
    expect(left(`(float[4] x) => (y) { a = Slice <starts = [0], ends = [4]> (x)  y = Neg(a) }`, 9)).toBe("Neg");
    expect(left(`(float[4] x) => (y) { a = Pad <pads = [0, 0]> (x)  y = Neg(a) }`, 9)).toBe("Neg");
    expect(
      left(`(float[1,4] x) => (y) { b = Squeeze <axes = [0]> (x)  a = Unsqueeze <axes = [0]> (b)  y = Neg(a) }`, 9),
    ).toBe("Squeeze Neg");
  });
});

describe("names of outputs", () => {
  it("pass to the node before", () => {
    const { model } = removeIdentity(
      parse`(float[2] x) => (float[2] y, z) { a = Neg(x)  z = Abs(a)  y = Identity(a) }`,
    );
    expect(print(model)).toMatchInlineSnapshot(`
      "<ir_version: 10, opset_import: ["": 21]>
      graph (float[2] x) => (float[2] y, z) {
        y = Neg(x)
        z = Abs(y)
      }"
    `);
  });

  it("keep a node that nothing else can name", () => {
    expect(left(`(float[2] x) => (y) { y = Identity(x) }`)).toBe("Identity");
    expect(left(`() => (y) <float[1] c = {1}> { y = Identity(c) }`)).toBe("Identity");
    expect(left(`(float[2] x) => (y, z) { y = Neg(x)  z = Identity(y) }`)).toBe("Neg Identity");
  });

  it("keep what a subgraph hands on from outside", () => {
    const { model } = removeIdentity(parse`(bool b, float[2] x) => (y) {
      t = Abs(x)
      y = If (b) <
        then_branch = one () => (p) { p = Identity(t) },
        else_branch = two () => (q) { s = Identity(t)  q = Neg(s) }
      >
    }`);
    expect(model.graphs().map((graph) => graph.nodes.map((node) => node.opType))).toEqual([
      ["Abs", "If"],
      ["Identity"],
      ["Neg"],
    ]);
  });
});

describe("fusions", () => {
  it("joins Transposes, and drops a pair that cancels", () => {
    const { model } = removeIdentity(parse`(float[2,3,4] x) => (y, z) {
      a = Transpose <perm = [1, 2, 0]> (x)
      y = Transpose <perm = [2, 1, 0]> (a)
      b = Transpose <perm = [2, 0, 1]> (a)
      z = Neg(b)
    }`);
    const [, second, neg] = model.graph.nodes;
    expect([second?.input(0).name, second?.ints("perm"), neg?.input(0).name]).toEqual(["x", [0, 2, 1], "x"]);
  });

  it("lets a Reshape read past others, unless it copies a size from between", () => {
    const { model } = removeIdentity(parse`(float[2,3,4] x) => (y, z)
      <int64[2] s = {6, 4}, int64[2] t = {-1, 8}, int64[3] u = {0, 2, -1}> {
      a = Reshape(x, s)  f = Flatten(a)  y = Reshape(f, t)  z = Reshape(a, u)
    }`);
    const inputOf = (name: string) => model.graph.find(name)?.producer?.input(0).name;
    expect([inputOf("y"), inputOf("z")]).toEqual(["x", "a"]);
  });
});
