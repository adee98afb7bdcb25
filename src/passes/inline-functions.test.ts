/** @file Tests of inlineFunctions. */
import { describe, expect, it } from "vitest";
import { parse, print } from "../ir/text/index.ts";
import { tensorType } from "../ir/types.ts";
import { callsLeft, inlineFunctions } from "./inline-functions.ts";

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

  it("gives an input that a call leaves out to no node, nor to those of subgraphs, and names values and nodes once", () => {
    const { model } =
      inlineFunctions(parse`(bool c, float[2] x) => (y, z) { [f] y = my.F(c, x, )  [f] z = my.F(c, y, ) }
      <domain: "my", opset_import: ["": 21]> F (c, a, high) => (b) {
        [clip] t = Clip(a, , high)
        b = If(c) <then_branch = yes () => (u) { [inner] u = Clip(t, , high) }, else_branch = no () => (u) { u = Neg(t) }>
      }`);
    const clips = model.graphs().flatMap(({ nodes }) => nodes.filter(({ opType }) => opType === "Clip"));
    expect(clips.map(({ inputs }) => inputs.length)).toEqual([1, 1, 1, 1]);
    expect(clips.map(({ name }) => name)).toEqual(["y/clip", "z/clip", "y/inner", "z/inner"]);
    const text = print(model.graph);
    expect(print(parse(text).graph)).toBe(text);
  });

  it("takes the overload that is called, and keeps what a node says of itself", () => {
    const source = parse`(float[2] x) => (y) { y = my.F(x) }
      <domain: "my", opset_import: ["": 21]> F (a) => (b) { b = Neg(a) }`;
    const [fn] = source.functions;
    const other = parse`(float[2] x) => (y) { y = my.F(x) }
      <domain: "my", opset_import: ["": 21]> F (a) => (b) { b = Abs(a) }`.functions[0];
    if (!fn || !other) throw new Error("no function");
    source.functions = [{ ...other, overload: "two" }, fn];
    for (const node of fn.graph.nodes) node.metadata = new Map([["namespace", "layer.0"]]);
    const { model } = inlineFunctions(source);
    const [node] = model.graph.nodes;
    expect([node?.opType, node?.metadata.get("namespace")]).toEqual(["Neg", "layer.0"]);
  });

  it("drops what a body says of sizes in its own names, and brings the domains that it needs", () => {
    const source = parse`(float[2] x, float[3] z) => (y, u) { y = my.F(x)  u = my.F(z) }
      <domain: "my", opset_import: ["": 21, "com.microsoft": 1]> F (a) => (b) { t = com.microsoft.Gelu(a)  b = Neg(t) }`;
    const inner = source.functions[0]?.graph.find("t");
    if (inner) inner.type = tensorType("float32", ["n"]);
    const { model } = inlineFunctions(source);
    expect(model.opsetImports.get("com.microsoft")).toBe(1);
    expect(model.graph.find("y/t")?.type).toEqual(tensorType("float32", [null]));
  });

  it("refuses functions that call themselves, and calls that multiply beyond all measure", () => {
    const recursive = parse`(float[2] x) => (y) { y = my.F(x) }
      <domain: "my", opset_import: ["": 21, "my": 1]> F (a) => (b) { b = my.G(a) }
      <domain: "my", opset_import: ["": 21, "my": 1]> G (a) => (b) { b = my.F(a) }`;
    expect(() => inlineFunctions(recursive)).toThrow('function "my.F" calls itself, by way of my.F, my.G');
    const doubling = (levels: number) =>
      parse(`(float[2] x) => (y) { y = my.F${levels}(x) }
        <domain: "my", opset_import: ["": 21]> F0 (a) => (b) { b = Neg(a) }
        ${Array.from({ length: levels }, (_, i) => `<domain: "my", opset_import: ["": 21, "my": 1]> F${i + 1} (a) => (b) { t = my.F${i}(a)  b = my.F${i}(t) }`).join("\n")}`);
    expect(inlineFunctions(doubling(10)).model.graph.nodes).toHaveLength(1024);
    expect(() => inlineFunctions(doubling(60))).toThrow(
      "functions: their calls would become too many nodes: expected at most 200000",
    );
  });

  it("inlines other versions of operators that mean the same, and leaves the rest with the reason", () => {
    const older = (opType: string) =>
      parse(`(float[2,3,4] x) => (y) { y = my.F(x) }
      <domain: "my", opset_import: ["": 11]> F (a) => (b) { b = ${opType}(a) }`);
    expect(inlineFunctions(older("Relu")).model.functions).toEqual([]);
    const { model, modified } = inlineFunctions(older("Softmax"));
    expect([modified, model.functions.length]).toEqual([false, 1]);
    expect(callsLeft(model).map(({ reason }) => reason)).toEqual([
      'a call of function "my.F", whose Softmax is that of ai.onnx 11, while the model imports ai.onnx 21, where it means something else',
    ]);
    const missing = parse`(float[2] x) => (y, z) { y, z = my.F(x, ) }
      <domain: "my", opset_import: ["": 21]> F (a, k) => (b, k) { b = Neg(a) }`;
    expect(callsLeft(inlineFunctions(missing).model)[0]?.reason).toContain('without its input "k"');
  });

  it("leaves a model without functions alone", () => {
    const model = parse`(float[2] x) => (y) { y = Relu(x) }`;
    expect(inlineFunctions(model)).toEqual({ model, modified: false });
  });
});
