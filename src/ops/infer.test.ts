/** @file Tests of inference through whole models: shape arithmetic, bindings, functions, contradictions, hostile files. */
import { describe, expect, it } from "vitest";
import { parse } from "../ir/text/index.ts";
import { typeToString } from "../ir/types.ts";
import { TersorError } from "../util/errors.ts";
import { type InferOptions, infer } from "./infer.ts";

/** Types of the graph's outputs. */
function outputs(text: string, options?: InferOptions): string[] {
  const { graph, model } = withGraph(text);
  const { types } = infer(model, options);
  return graph.outputs.map((value) => typeToString(types.get(value)));
}

function withGraph(text: string) {
  const model = parse(text);
  model.graph.sort();
  return { model, graph: model.graph };
}

const chain = `(float[N,C,H,W] x) => (y, z) <int64[1] zero = {0}, int64[1] two = {2}, int64[1] open = {-1}> {
  s = Shape(x)
  n = Gather(s, zero)
  h = Slice(s, two, three)
  three = Constant<value_ints = [3]>()
  twice = Mul(n, two)
  half = Div(h, two)
  shape = Concat<axis = 0>(twice, open, half)
  y = Reshape(x, shape)
  less = Sub(twice, n)
  one = Constant<value_ints = [1]>()
  more = Add(less, one)
  z = ConstantOfShape(more)
}`;

describe("shape arithmetic", () => {
  it("follows sizes through Shape, Gather, Slice, Mul, Div, Concat and Reshape", () => {
    const { model, graph } = withGraph(chain);
    const { types, contents } = infer(model);
    expect(contents.get(graph.find("shape") as never)?.values).toEqual(["2*N", -1, "floor(H/2)"]);
    expect(typeToString(types.get(graph.find("y") as never))).toBe(
      'float["2*N","(C*H*W)/(floor(H/2))/2","floor(H/2)"]',
    );
    expect(typeToString(types.get(graph.find("z") as never))).toBe('float["N + 1"]');
  });

  it("follows the float arithmetic in front of a Resize", () => {
    const text = `(float[1,3,H,8] x) => (y) <float[2] k = {2, 0.5}, int64[1] a = {2}, int64[1] e = {4}, int64[1] b = {0}> {
      s = Shape(x) hw = Slice(s, a, e) f = Cast<to = 1>(hw) m = Mul(f, k) r = Floor(m) i = Cast<to = 7>(r)
      nc = Slice(s, b, a) sizes = Concat<axis = 0>(nc, i) y = Resize(x, , , sizes)
    }`;
    expect(outputs(text)).toEqual(['float[1,3,"2*H",4]']);
  });

  it("decides comparisons that hold for all sizes", () => {
    const text = `(float[N,4] x) => (y) <int64[2] minus = {-1, -1}, int64[2] ones = {1, 1}> {
      s = Shape(x) c = Equal(s, minus) t = Where(c, ones, s) y = Expand(x, t)
    }`;
    expect(outputs(text)).toEqual(["float[N,4]"]);
  });

  it("names the dims that only a run decides, and computes with them", () => {
    const text = `(float[N] x) => (y) { i = NonZero(x) t = Transpose(i) y = Concat<axis = 0>(t, t) }`;
    expect(outputs(text)).toEqual(['int64["2*i_dim1",1]']);
  });
});

describe("inputShapes", () => {
  it("binds symbols by name or by the dims of an input, everywhere", () => {
    expect(outputs(chain, { inputShapes: { N: 2, C: 3, H: 4, W: 5 } })).toEqual(["float[4,15,2]", "float[3]"]);
    expect(outputs(chain, { inputShapes: { x: [2, 3, 4, 5] } })).toEqual(["float[4,15,2]", "float[3]"]);
  });

  it("gives a rank to an input that has none", () => {
    expect(outputs("(float[] x) => (y) { y = Transpose(x) }", { inputShapes: { x: [2, 3] } })).toEqual(["float[3,2]"]);
  });

  it.each([
    [{ M: 1 }, 'input shape "M": the model has no such symbolic size.'],
    [{ z: [1] }, 'input shape "z": the model has no such input.'],
    [{ x: [1, 2] }, 'input "x": rank: expected 4 ([N,C,H,W]), got [1,2].'],
    [{ N: 1, x: [2, 3, 4, 5] }, 'input shape "x": contradictory sizes: expected 1, got 2.'],
    [{ N: -1 }, 'size of "N": expected a whole number from 0, got -1.'],
  ])("%j is refused", (inputShapes, message) => {
    expect(() => outputs(chain, { inputShapes })).toThrow(message);
  });
});

describe("what the file declares", () => {
  it("fills in what inference can't know, and loses where it contradicts", () => {
    const { model, graph } = withGraph(
      `g (float[N,2] x) => (float[M,2] y, float[N,3] z) <float[9] t, int64[2,K] i> { i = NonZero(x) t = Flatten(x) y = my.Op(x) z = Identity(x) }`,
    );
    const { types, contradictions, unknown } = infer(model);
    expect(graph.outputs.map((value) => typeToString(types.get(value)))).toEqual(["float[M,2]", "float[N,2]"]);
    expect(typeToString(types.get(graph.find("i") as never))).toBe("int64[2,K]");
    expect(contradictions.map((value) => value.name)).toEqual(["t", "z"]);
    expect(unknown.map((node) => node.opType)).toEqual(["Op"]);
  });

  it("does not take an initializer for constant that the caller may override", () => {
    const text = (ir: number) =>
      `<ir_version: ${ir}, opset_import: ["": 13]> g (float[6] x, int64[2] s = {2, 3}) => (y) { y = Reshape(x, s) }`;
    expect(outputs(text(3))).toEqual(["float[2,3]"]);
    expect(outputs(text(8))).toEqual(["float[y_dim0,y_dim1]"]);
  });
});

describe("functions", () => {
  const doubled = `<ir_version: 10, opset_import: ["": 21, "my": 1]> g (float[N,4] x) => (y) { y = my.Twice <axis = 1> (x) }
    <domain: "my", opset_import: ["": 21]> Twice <axis> (a) => (b) { b = Concat<axis: int = @axis>(a, a) }`;

  it("are inferred with the types and attributes of the call", () => expect(outputs(doubled)).toEqual(["float[N,8]"]));

  it("that call themselves are refused", () => {
    const text = doubled
      .replace("b = Concat<axis: int = @axis>(a, a)", "b = my.Twice(a)")
      .replace('["": 21]> Twice', '["": 21, "my": 1]> Twice');
    expect(() => outputs(text)).toThrow("A function must not call itself");
  });
});

describe("branches that can't be taken", () => {
  const text = (then: string) => `(float[2,3] x, bool c) => (y) {
    y = If(c) <then_branch = () => (a) { a = ${then} }, else_branch = () => (b) { b = Neg(x) }>
  }`;

  it("do not count", () => {
    const { model, graph } = withGraph(text("MatMul(x, x)"));
    const { types, inconsistent } = infer(model);
    expect(typeToString(types.get(graph.find("y") as never))).toBe("float[2,3]");
    expect(inconsistent.map((node) => node.opType)).toEqual(["MatMul"]);
  });

  it("are errors where the condition takes them", () => {
    const taken = text("MatMul(x, x)").replace(", bool c) => (y) {", ") => (y) <bool c = {1}> {");
    expect(() => outputs(taken)).toThrow("inner dim");
  });
});

describe("files that are not sound", () => {
  it.each([
    ["a rank beyond all bounds", `(float x, int64[65] s) => (y) { y = Reshape(x, s) }`, "float[]"],
    [
      "sizes that overflow",
      `(x) => (y) <int64[2] s = {4611686018427387904, 4611686018427387904}> { y = ConstantOfShape(s) }`,
      "float[9007199254740991,9007199254740991]",
    ],
  ])("%s", (_, text, expected) => expect(outputs(text)).toEqual([expected]));

  it("are refused with the node's name", () => {
    const bad = () => outputs(`(x) => (y) <int64[1] s = {-2}> { y = ConstantOfShape(s) }`);
    expect(bad).toThrow(TersorError);
    expect(bad).toThrow('ConstantOfShape (output "y"): shape of output "y": expected sizes from 0, got [-2].');
  });
});
