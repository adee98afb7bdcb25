/** @file Tests of inlineFunctions. */
import { describe, expect, it } from "vitest";
import { parse, print } from "../ir/text/index.ts";
import { inlineFunctions } from "./inline-functions.ts";

describe("inlineFunctions", () => {
  it("puts bodies in the place of calls, with the attributes of each call", () => {
    const { model, modified } = inlineFunctions(parse`(float[2] x) => (z) {
        [first] y = my.Scaled<by = 2.0>(x)
        z = my.Scaled(y)
      }
      <domain: "my", opset_import: ["": 21]> Scaled <by: float = 3> (a) => (b) {
        c = Constant<value_float: float = @by>()
        b = Mul(a, c)
      }`);
    expect([modified, model.functions]).toEqual([true, []]);
    expect(print(model)).toMatchInlineSnapshot(`
      "<ir_version: 10, opset_import: ["": 21]>
      graph (float[2] x) => (z) {
        "first/c" = Constant<value_float: float = 2>()
        y = Mul(x, "first/c")
        "z/c" = Constant<value_float: float = 3>()
        z = Mul(y, "z/c")
      }"
    `);
  });

  it("goes into functions that call functions, and leaves missing inputs out", () => {
    const { model } = inlineFunctions(parse`(float[2] x) => (y) { y = my.Outer(x) }
      <domain: "my", opset_import: ["": 21, "my": 1]> Outer (a) => (b) { b = my.Inner(a, ) }
      <domain: "my", opset_import: ["": 21]> Inner (a, high) => (b) { b = Clip(a, , high) }`);
    expect(print(model.graph)).toMatchInlineSnapshot(`
      "graph (float[2] x) => (y) {
        y = Clip(x)
      }"
    `);
  });

  it("passes inputs on, and renames what subgraphs define", () => {
    const { model } = inlineFunctions(parse`(bool c, float[2] x) => (y, z, t) { y, z = my.Choose(c, x) t = Neg(x) }
      <domain: "my", opset_import: ["": 21]> Choose (c, a) => (b, same) {
        b = If(c) <then_branch = yes () => (t) { t = Neg(a) }, else_branch = no () => (t) { t = Abs(a) }>
        same = Identity(a)
      }`);
    const text = print(model.graph);
    expect(text).toMatchInlineSnapshot(`
      "graph (bool c, float[2] x) => (y, z, t) {
        y = If(c) <
          then_branch: graph = yes () => ("y/t") {
            "y/t" = Neg(x)
          },
          else_branch: graph = no () => ("y/t_1") {
            "y/t_1" = Abs(x)
          }
        >
        z = Identity(x)
        t = Neg(x)
      }"
    `);
    expect(print(parse(text).graph)).toBe(text);
  });

  it("refuses functions that call themselves, and other operator versions", () => {
    const recursive = parse`(float[2] x) => (y) { y = my.F(x) }
      <domain: "my", opset_import: ["": 21, "my": 1]> F (a) => (b) { b = my.F(a) }`;
    expect(() => inlineFunctions(recursive)).toThrow("a function must not call itself");
    const older = parse`(float[2] x) => (y) { y = my.F(x) }
      <domain: "my", opset_import: ["": 13]> F (a) => (b) { b = Relu(a) }`;
    expect(() => inlineFunctions(older)).toThrow('function "my.F": imports ai.onnx 13: expected 21 as the model.');
  });

  it("leaves a model without functions alone", () => {
    const model = parse`(float[2] x) => (y) { y = Relu(x) }`;
    expect(inlineFunctions(model)).toEqual({ model, modified: false });
  });
});
