/** @file Tests of constant-to-initializer. */
import { describe, expect, it } from "vitest";
import { parse, print } from "../ir/text/index.ts";
import { constantToInitializer } from "./constant-to-initializer.ts";

describe("constant-to-initializer", () => {
  it.each([
    ["value", "value = float[2] {1, 2}", "float32", [2], [1, 2]],
    ["value_float", "value_float = 0.5", "float32", [], [0.5]],
    ["value_floats", "value_floats = [0.5, 1.0]", "float32", [2], [0.5, 1]],
    ["value_int", "value_int = 7", "int64", [], [7]],
    ["value_ints", "value_ints = [7, 8, 9]", "int64", [3], [7, 8, 9]],
  ])("reads the form %s", (_, form, dtype, dims, numbers) => {
    const model = parse(`(float[2] x) => (y) { c = Constant <${form}> ()  t = Shape(x)  y = Foo(x, c) }`);
    const { model: result, modified } = constantToInitializer(model);
    const c = result.graph.find("c");
    expect(modified).toBe(true);
    expect([c?.tensor?.dtype, c?.tensor?.dims, Array.from(c?.tensor?.toNumbers() ?? [])]).toEqual([
      dtype,
      dims,
      numbers,
    ]);
    expect(result.graph.nodes.map((node) => node.opType)).toEqual(["Shape", "Foo"]);
  });

  it("reads strings", () => {
    const { model } = constantToInitializer(
      parse`() => (a, b) { a = Constant <value_string = "x"> ()  b = Constant <value_strings = ["x", "y"]> () }`,
    );
    const text = (name: string) =>
      model.graph.find(name)?.tensor?.strings?.map((bytes) => new TextDecoder().decode(bytes));
    expect([text("a"), text("b")]).toEqual([["x"], ["x", "y"]]);
  });

  it("works in subgraphs, keeps names of outputs, leaves its input alone and settles", () => {
    const model = parse`(bool b) => (y, z) {
      z = Constant <value_int = 3> ()
      y = If (b) <
        then_branch = one () => (p) { p = Constant <value_float = 1.0> () },
        else_branch = two () => (q) { k = Constant <value_float = 2.0> ()  q = Neg(k) }
      >
    }`;
    const before = print(model);
    const once = constantToInitializer(model);
    expect(print(model)).toBe(before);
    expect(once.model.graphs().map((graph) => graph.initializers.map((value) => value.name))).toEqual([
      ["z"],
      ["p"],
      ["k"],
    ]);
    expect(once.model.graph.outputs.map((output) => output.name)).toEqual(["y", "z"]);
    expect(constantToInitializer(once.model)).toEqual({ model: once.model, modified: false });
  });

  it("refuses a Constant without a value", () => {
    expect(() => constantToInitializer(parse`() => (y) { [c] y = Constant() }`)).toThrow(/Constant "c": has no value/);
  });
});
