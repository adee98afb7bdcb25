/** @file Tests of parse: grammar, defaults, and errors that say where and what. */
import { describe, expect, it } from "vitest";
import { float32 } from "../../tensor/tensor.ts";
import { TersorError } from "../../util/errors.ts";
import { parse, print } from "./index.ts";

const errorOf = (text: string): string => {
  try {
    parse(text);
  } catch (error) {
    if (error instanceof TersorError) return `${error.code}: ${error.message.replace("model text, line ", "")}`;
  }
  throw new Error(`no TersorError for ${text}`);
};

describe("parse", () => {
  it("reads the short form with the defaults of a header", () => {
    const model = parse`(float[2,3] x) => (y) { y = Sqrt(x) }`;
    expect([model.irVersion, model.opset, model.graph.name]).toEqual([10, 21, "graph"]);
    expect(model.graph.inputs[0]?.type).toEqual({ kind: "tensor", dtype: "float32", shape: [2, 3] });
    expect(model.graph.outputs[0]?.type).toBeUndefined();
    expect(model.graph.outputs[0]?.producer?.opType).toBe("Sqrt");
  });

  it("imports version 1 of domains in use unless the header imports something", () => {
    const body = "(x) => (y) { y = ai.onnx.If(x) <then_branch = () => (z) { z = com.microsoft.Gelu(x) }> }";
    expect([...parse(body).opsetImports]).toEqual([
      ["", 21],
      ["com.microsoft", 1],
    ]);
    expect([...parse(`<opset_import: ["": 13]> ${body}`).opsetImports]).toEqual([["", 13]]);
  });

  it("reads what only onnx.parser writes", () => {
    const graph = parse`
      # a comment
      agraph (float[N, 128] X, float[128, 10] "W.1", float[2] b = {1, 2.5e0}) => (float[N, 10] C)
      <float16[2] h = {1.5, 15360}>
      {
          T = MatMul(X, "W.1")  # another
          S = Op(T, b) <axes = [0, 1], value = float[1] name = {-INF}>
          C = Softmax<axis: int = 1>(S,)
      }`.graph;
    expect(graph.nodes.map((node) => node.opType)).toEqual(["MatMul", "Op", "Softmax"]);
    expect(graph.find("h")?.tensor?.toNumbers()).toEqual(Float64Array.of(1.5, 1));
    expect(graph.nodes[1]?.tensor("value")?.toNumbers()).toEqual(Float64Array.of(Number.NEGATIVE_INFINITY));
    expect(graph.nodes[1]?.ints("axes")).toEqual([0, 1]);
  });

  it("puts text, numbers and tensors into a template", () => {
    const w = float32([2], [1, 2]);
    const { graph } = parse`(float[${2}] x) => (y) <float[2] w = ${w}> { y = ${"Add"}(x, w) }`;
    expect(graph.find("w")?.tensor).toBe(w);
    expect(print(graph)).toContain("y = Add(x, w)");
  });

  it("resolves names before they are defined, and in the graphs around", () => {
    const { graph } = parse`(bool c) => (y) {
      y = If(c) <then_branch = () => (a) { a = Neg(late) }, else_branch = () => (a) { a = Abs(late) }>
      late = Constant<value = float {1}>()
    }`;
    expect(graph.find("late")?.uses.size).toBe(2);
    graph.sort();
    expect(graph.nodes.map((node) => node.opType)).toEqual(["Constant", "If"]);
  });

  it.each([
    ["(float[2] x) => (y) {\n  y = Sqrt(x\n}", 'bad-model: 3, column 1: syntax error: expected ")", got "}".'],
    ["(float[2 x) => () {}", 'bad-model: 1, column 10: syntax error: expected "," or "]", got "x".'],
    ["(x) = (y) {}", 'bad-model: 1, column 5: syntax error: expected "=>", got "=".'],
    ["(x) => (x) {", 'bad-model: 1, column 13: syntax error: expected "=", got the end of the text.'],
    ["(x) => (x) { ! }", 'bad-model: 1, column 14: syntax error: unexpected character "!".'],
    [
      '(x) => ("x) {}',
      "bad-model: 1, column 9: syntax error: expected '\"' at the end of the string, got the end of the text.",
    ],
    [
      "<ir: 1> () => () {}",
      'bad-model: 1, column 2: syntax error: expected one of doc_string, metadata_props, unknown, domain, opset_import, ir_version, producer_name, producer_version, model_version, got "ir".',
    ],
    ["(map(int8, toString) x) => () {}", 'bad-model: 1, column 12: syntax error: expected a type, got "toString".'],
    ["<ir_version: 1, ir_version: 2> () => () {}", 'bad-model: 1, column 17: "ir_version" is given twice.'],
    [
      "(x) => (y) {}",
      'bad-model: 1, column 9: value "y" is used, but not defined: expected an input, a constant or a node\'s output.',
    ],
    ["(x, x) => () {}", 'bad-model: 1, column 5: value "x" is declared twice. Names must be unique.'],
    ["(x) => () { x = Neg(x) }", 'bad-model: 1, column 13: value "x" is defined twice. Names must be unique.'],
    ["(x) => () { a, a = Split(x) }", 'bad-model: 1, column 16: value "a" is defined twice. Names must be unique.'],
    ["(x) => () <w = {1}> {}", 'bad-model: 1, column 12: "w": a constant needs a type, such as float[2].'],
    [
      "(x) => () <float[N] w = {1}> {}",
      "bad-model: 1, column 12: expected a tensor type with fixed dimensions, got float[N].",
    ],
    [
      "(x) => () <float[2] w = {1}> {}",
      "bad-model: 1, column 26: tensor float32 [2]: wrong number of elements: expected 2, got 1.",
    ],
    [
      "(x) => () <int8[1] w = {128}> {}",
      'bad-model: 1, column 25: syntax error: expected an integer from -128 to 127 (int8), got "128".',
    ],
    [
      "(x) => () <int64[1] w = {9223372036854775808}> {}",
      'bad-model: 1, column 26: syntax error: expected a 64-bit integer, got "9223372036854775808".',
    ],
    [
      '(x) => () <float[1] w = {"1"}> {}',
      'bad-model: 1, column 26: syntax error: expected a number, got the string "1".',
    ],
    [
      '() => () <float[1] w = ["location": "w.bin"]> {}',
      "bad-model: 1, column 24: external data can't be read from text: expected the elements in braces. Load the .onnx file.",
    ],
    [
      "() => () { = A<a: ints = 1>() }",
      "bad-model: 1, column 26: attribute of the wrong type: expected ints, got int.",
    ],
    [
      '() => () { = A<a = [1, "b"]>() }',
      "bad-model: 1, column 20: attribute of the wrong type: expected a list of one type, got a list of int, string.",
    ],
    [
      "() => () { = A<a = []>() }",
      'bad-model: 1, column 20: an empty list needs a type: expected for instance "axes: ints = []".',
    ],
    [
      "() => () { = A<a = @b>() }",
      'bad-model: 1, column 20: a reference needs a type: expected for instance "axis: int = @axis".',
    ],
    [
      "() => () { = A<a: number = 1>() }",
      'bad-model: 1, column 19: syntax error: expected an attribute type (float, floats, int, ints, string, strings, tensor, tensors, graph, graphs, sparse_tensor, sparse_tensors, type_proto, type_protos), got "number".',
    ],
    [`(${"seq(".repeat(65)}`, "limit-exceeded: 1, column 261: nested deeper than 64 levels. Refusing to read it."],
    [
      `() => () { ${"= A<g = () => () { ".repeat(70)}`,
      "limit-exceeded: 1, column 1236: nested deeper than 64 levels. Refusing to read it.",
    ],
  ])("says what is wrong with %.60j", (text, message) => {
    expect(errorOf(text)).toBe(message);
  });
});
