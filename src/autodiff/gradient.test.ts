/** @file Tests of the driver: what is emitted, for what, and what is refused. */
import { describe, expect, it } from "vitest";
import { parse, print } from "../ir/text/index.ts";
import { typeToString } from "../ir/types.ts";
import { checkModel } from "../ops/check-model.ts";
import { gradient } from "./gradient.ts";

const mlp = parse`(float[2,3] x) => (loss)
  <float[3,4] w1 = {1,2,3,4,5,6,7,8,9,10,11,12}, float[4] b1 = {1,2,3,4}, float[4,1] w2 = {1,2,3,4}> {
    h = MatMul(x, w1)
    z = Add(h, b1)
    r = Relu(z)
    y = MatMul(r, w2)
    loss = ReduceSum<keepdims = 0>(y)
  }`;

const opTypes = (model: ReturnType<typeof parse>) => model.graph.nodes.map((node) => node.opType);

describe("gradient", () => {
  it("adds gradients as outputs of the type of their values, and leaves the model alone", () => {
    const before = print(mlp);
    const { model, gradients, withoutGradient } = gradient(mlp, { of: "loss", with: "parameters" });
    expect(print(mlp)).toBe(before);
    expect([...gradients]).toEqual([
      ["w1", "w1.grad"],
      ["b1", "b1.grad"],
      ["w2", "w2.grad"],
    ]);
    expect(withoutGradient).toEqual([]);
    expect(model.graph.outputs.map(({ name, type }) => `${name} ${typeToString(type)}`).slice(1)).toEqual([
      "w1.grad float[3,4]",
      "b1.grad float[4]",
      "w2.grad float[4,1]",
    ]);
    expect(checkModel(model)).toEqual([]);
  });

  it("emits nothing for what is frozen", () => {
    const { model } = gradient(mlp, { of: "loss", with: ["w2"] });
    expect(opTypes(model).slice(mlp.graph.nodes.length)).toEqual(["Unsqueeze", "Expand", "Transpose", "MatMul"]);
  });

  it("gives gradients of inputs, and of results", () => {
    expect([...gradient(mlp, { of: "loss", with: "inputs" }).gradients.keys()]).toEqual(["x"]);
    expect([...gradient(mlp, { of: "loss", with: ["r", "loss"] }).gradients.values()]).toEqual(["r.grad", "loss.grad"]);
  });

  it("makes a loss inside of the model an output", () => {
    const model = parse`(float[3] x) => (y) { l = ReduceSum<keepdims = 0>(x) y = Neg(l) }`;
    const { model: result } = gradient(model, { of: "l", with: ["x"] });
    expect(result.graph.outputs.map(({ name }) => name)).toEqual(["y", "l", "x.grad"]);
  });

  it("adds up the gradients of several uses", () => {
    const model = parse`(float[3] x) => (l) { a = Exp(x) b = Mul(a, x) c = Add(b, x) l = ReduceSum<keepdims = 0>(c) }`;
    expect(opTypes(gradient(model, { of: "l", with: ["x"] }).model)).toContain("Sum");
  });

  it("gives values with the same gradient an output each", () => {
    const model = parse`(float a, float b) => (l) { l = Add(a, b) }`;
    const { model: result, gradients } = gradient(model, { of: "l", with: "inputs" });
    expect([...gradients.values()]).toEqual(["a.grad", "b.grad"]);
    expect(checkModel(result)).toEqual([]);
  });

  it("lists what has no gradient: unused, behind stopGradient, or only through jumps", () => {
    const model = parse`(float[3] x, float[3] unused) => (l) <float[3] w = {1,2,3}> {
      a = Mul(x, w) s = Sigmoid(a) f = Floor(x) t = Add(s, f) l = ReduceSum<keepdims = 0>(t) }`;
    expect(gradient(model, { of: "l", with: "inputs" }).withoutGradient).toEqual(["unused"]);
    expect(gradient(model, { of: "l", with: ["x", "w"], stopGradient: ["s"] }).withoutGradient).toEqual(["x", "w"]);
    expect(gradient(model, { of: "l", with: ["f"] }).withoutGradient).toEqual([]);
  });

  it("counts no statistics, bounds and scalars as parameters", () => {
    const model = parse`(float[2,3] x) => (l)
      <float[3] s = {1,2,3}, float[3] b = {1,2,3}, float[3] m = {1,2,3}, float[3] v = {1,2,3}, float two = {2}, float[3] mean = {1,2,3}> {
      c = Sub(x, mean) y = BatchNormalization(c, s, b, m, v) z = Mul(y, two) l = ReduceSum<keepdims = 0>(z) }`;
    expect([...gradient(model, { of: "l", with: "parameters" }).gradients.keys()]).toEqual(["s", "b"]);
  });

  it("reads old opsets, Constant nodes and functions", () => {
    const model = parse`<ir_version: 8, opset_import: ["": 11, "my": 1]>
      g (float[2,3] x, float[3] w) => (l) { a = my.Scaled<by = 2.0>(x, w) l = ReduceSum<axes = [0, 1], keepdims = 0>(a) }
      <domain: "my", opset_import: ["": 11]> Scaled <by> (x, w) => (y) {
        c = Constant<value_float: float = @by>() p = Mul(x, w) y = Mul(p, c) }`;
    const { model: result } = gradient(model, { of: "l", with: ["x", "w"] });
    expect([result.opset, result.functions, checkModel(result)]).toEqual([21, [], []]);
  });

  it("keeps the batch open where no rule needs its size", () => {
    const model = parse`(float[N,3] x) => (l) <float[3,2] w = {1,2,3,4,5,6}> {
      y = MatMul(x, w) z = Tanh(y) l = ReduceSum<keepdims = 0>(z) }`;
    const { model: result } = gradient(model, { of: "l", with: ["w", "x"] });
    expect(typeToString(result.graph.outputs.at(-1)?.type)).toBe("float[N,3]");
    const bound = gradient(model, { of: "l", with: ["x"], shapes: { N: 5 } }).model;
    expect(typeToString(bound.graph.inputs[0]?.type)).toBe("float[5,3]");
  });

  it("decomposes fused operators where a gradient passes, and only there", () => {
    const model = parse`(float[2,3] x, float[2,3] y) => (l) {
      a = com.microsoft.QuickGelu(x) b = com.microsoft.QuickGelu(y) c = Mul(a, b) l = ReduceSum<keepdims = 0>(c) }`;
    const { model: result, gradients } = gradient(model, { of: "l", with: ["x", "a"] });
    expect(opTypes(result).filter((opType) => opType === "QuickGelu")).toHaveLength(1);
    expect([...gradients.keys()]).toEqual(["x", "a"]);
    expect(result.graph.find("a")?.producer?.opType).toBe("Mul");
  });

  it("refuses what it can't differentiate, and says what to do", () => {
    const model = parse`(float[2,3] x) => (y, float l) <float[2,3] d> { [det] d = my.Op(x) y = Relu(x) z = Add(y, d) l = ReduceSum<keepdims = 0>(z) }`;
    expect(() => gradient(model, { of: "l", with: ["x"] })).toThrow(
      'my.Op "det": has no gradient rule, and the loss depends on what is wanted through it. Leave out what comes before it ("with"), cut there (stopGradient: ["d"])',
    );
    expect([...gradient(model, { of: "l", with: ["x"], stopGradient: ["d"] }).gradients.keys()]).toEqual(["x"]);
    expect(() => gradient(model, { of: "y", with: ["x"] })).toThrow(
      'gradient of "y": expected a float type of one element, got float[2,3]. Reduce it to a scalar first',
    );
    expect(() => gradient(model, { of: "loss", with: ["x"] })).toThrow(
      '"of" names "loss", which the model does not have.',
    );
    expect(() => gradient(model, { of: "l", with: ["xx"] })).toThrow('Did you mean "x"?');
    const open = parse`(float[N,3] x) => (l) { y = Softmax(x) l = ReduceMean<keepdims = 0>(y) }`;
    expect(() => gradient(open, { of: "l", with: ["x"] })).toThrow(
      'value "y" float[N,3]: its shape must be known before the model runs. Give the sizes of the model\'s inputs with "shapes".',
    );
  });
});
