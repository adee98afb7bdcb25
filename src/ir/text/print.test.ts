/** @file Tests of print, and that what it prints parses to the same model. */
import { describe, expect, it } from "vitest";
import { dtypes } from "../../tensor/dtype.ts";
import { float32, Tensor } from "../../tensor/tensor.ts";
import { MemorySource } from "../../util/bytes.ts";
import { attr } from "../attribute.ts";
import { Graph } from "../graph.ts";
import { Model } from "../model.ts";
import { hashTensor, parse, print } from "./index.ts";

const exact = { elideAbove: Number.POSITIVE_INFINITY };

describe("print", () => {
  it("writes a model with header, types, constants and attributes", () => {
    const model = parse`
      <ir_version: 9, opset_import: ["": 18, "com.microsoft": 1], producer_name: "tersor", metadata_props: ["k": "v"]>
      main (float[N,2,?,4] x, float[3] b = {1, 0.1, -inf}) => (float[N,3,2,2] y)
      <float[3,2,3,3] w = ${float32([3, 2, 3, 3], new Float32Array(54).fill(0.5))}, float h> {
        [conv1] h = Conv<pads = [1, 1, 1, 1], group = 1>(x, w, b)
        y, "" = com.microsoft.Gelu(h, "", b)
      }`;
    expect(print(model)).toMatchInlineSnapshot(`
      "<
        ir_version: 9,
        opset_import: ["": 18, "com.microsoft": 1],
        producer_name: "tersor",
        metadata_props: ["k": "v"]
      >
      main (float[N,2,?,4] x, float[3] b = {1, 0.1, -inf}) => (float[N,3,2,2] y)
      <float[3,2,3,3] w = {…fnv1a:efed6f6228bbc595}, float h>
      {
        [conv1] h = Conv<pads: ints = [1, 1, 1, 1], group: int = 1>(x, w, b)
        y = com.microsoft.Gelu(h, "", b)
      }"
    `);
  });

  it("indents graphs inside nodes", () => {
    const { graph } = parse`(bool c, float[2] x) => (y) {
      y = If(c) <then_branch = yes () => (a) { a = Neg(x) }, else_branch = no () => (b) <float k = {2}> { b = Mul(x, k) }>
    }`;
    expect(print(graph)).toMatchInlineSnapshot(`
      "graph (bool c, float[2] x) => (y) {
        y = If(c) <
          then_branch: graph = yes () => (a) {
            a = Neg(x)
          },
          else_branch: graph = no () => (b)
          <float k = {2}>
          {
            b = Mul(x, k)
          }
        >
      }"
    `);
  });

  it("writes functions with attributes, defaults and references", () => {
    const model = parse`(x) => (y) { y = my.Scaled<alpha = 2.0>(x) }
      <domain: "my", opset_import: ["": 21], doc_string: "x * alpha"> Scaled <alpha, beta: float = 1> (x) => (y) {
        a = Constant<value_float: float = @alpha>()
        y = Mul(x, a)
      }`;
    expect(print(model)).toMatchInlineSnapshot(`
      "<ir_version: 10, opset_import: ["": 21, "my": 1]>
      graph (x) => (y) {
        y = my.Scaled<alpha: float = 2>(x)
      }

      <domain: "my", opset_import: ["": 21], doc_string: "x * alpha">
      Scaled <alpha, beta: float = 1> (x) => (y) {
        a = Constant<value_float: float = @alpha>()
        y = Mul(x, a)
      }"
    `);
  });

  it("writes every kind of attribute", () => {
    const { graph } = parse`() => () { = Op<
      f = 1.5, i = -9223372036854775808, s = "a \"b\" \\", t = float16[2] {1.5, 15360}, g = b () => () {},
      st = sparse_tensor(float[9]) {float[2] {1, 2}, int64[2] {0, 5}}, ty = optional(seq(map(int64, float[]))),
      fs = [1, nan, -inf, 1e-45], is: ints = [], ss = ["a", x"ff00"], ts = [float {1}, string[1] {"u"}],
      gs = [(x) => (x) {}, "a/b" () => () {}], sts: sparse_tensors = [], tys = [float, float[], sparse_tensor(int8[N])],
      r: int = @axis>() }`;
    expect(print(graph.nodes[0] ?? graph)).toMatchInlineSnapshot(`
      "= Op() <
        f: float = 1.5,
        i: int = -9223372036854775808,
        s: string = "a \\"b\\" \\\\",
        t: tensor = float16[2] {15872, 15360},
        g: graph = b () => () {},
        st: sparse_tensor = sparse_tensor(float[9]) {float[2] {1, 2}, int64[2] {0, 5}},
        ty: type_proto = optional(seq(map(int64, float[]))),
        fs: floats = [1, nan, -inf, 1e-45],
        is: ints = [],
        ss: strings = ["a", x"ff00"],
        ts: tensors = [float {1}, string[1] {"u"}],
        gs: graphs = [graph (x) => (x) {}, "a/b" () => () {}],
        sts: sparse_tensors = [],
        tys: type_protos = [float, float[], sparse_tensor(int8[N])],
        r: int = @axis
      >"
    `);
  });

  it("quotes names that are not identifiers, or that would read as something else", () => {
    const names = ["a.b/c:0", "float", "seq", "nan", "1x", "x y", 'q"\\', "naïve", "line\nbreak", "null\0", "x"];
    const graph = new Graph("my graph");
    for (const name of names) graph.addInput(graph.declare(name));
    graph.addNode({
      opType: "aten|0",
      domain: "pkg.my-lib",
      overload: "o p",
      name: "",
      inputs: graph.inputs,
      outputs: [],
    });
    const text = print(new Model(graph));
    expect(parse(text).graph.inputs.map((value) => value.name)).toEqual(names);
    expect(parse(text).graph.nodes[0]).toMatchObject({ opType: "aten|0", domain: "pkg.my-lib", overload: "o p" });
    expect(print(parse(text))).toBe(text);
  });

  it("keeps notes of models, graphs, values and nodes", () => {
    const text = `<ir_version: 10, opset_import: ["": 21], doc_string: "two
lines", unknown: x"0a00">
g [doc_string: "graph"] (float x [doc_string: "in", metadata_props: ["unit": "m"], unknown: x"01"]) => (float y [doc_string: "out"])
<float[1] w [doc_string: "weight"] = {1}, h [doc_string: "inner"]>
{
  [n, doc_string: "first", metadata_props: ["a": "b"], unknown: x"ff"] h = Add(x, w)
  [doc_string: "second"] y = Neg(h)
}`;
    const model = parse(text);
    expect(model.graph.nodes.map((node) => [node.name, node.docString])).toEqual([
      ["n", "first"],
      ["", "second"],
    ]);
    expect(model.graph.find("x")?.metadata.get("unit")).toBe("m");
    expect(model.graph.find("x")?.unknown).toEqual(Uint8Array.of(1));
    expect(model.graph.find("y")?.docString).toBe("out");
    expect(print(parse(print(model)))).toBe(print(model));
  });

  it("keeps missing inputs and outputs", () => {
    const text = print(parse`(x) => (c) { a, , c = Op(x, , x) }`.graph);
    expect(text).toMatchInlineSnapshot(`
      "graph (x) => (c) {
        a, "", c = Op(x, "", x)
      }"
    `);
    expect(print(parse(text).graph)).toBe(text);
  });

  it("prints one node", () => {
    const { graph } = parse`(x) => (y) { [n] y = Softmax<axis = -1>(x) }`;
    expect(graph.nodes.map((node) => print(node))).toEqual(["[n] y = Softmax<axis: int = -1>(x)"]);
  });

  it("writes float attributes as short as float32 allows", () => {
    const graph = new Graph("g");
    for (const value of [0.1, 1, -0, 16777216, 1e20, 3.4028234663852886e38, 1.401298464324817e-45])
      graph.addNode({ opType: "C", inputs: [], outputs: [], attributes: { v: attr.float(value) } });
    expect(graph.nodes.map((node) => print(node).slice(15, -3))).toMatchInlineSnapshot(`
      [
        "0.1",
        "1",
        "-0.0",
        "16777216",
        "1e+20",
        "3.4028235e+38",
        "1e-45",
      ]
    `);
  });
});

describe("constants", () => {
  const big = float32(
    [20],
    Float32Array.from({ length: 20 }, (_, i) => i / 7),
  );

  it("come back bit by bit, in every element type", () => {
    for (const { name, text, bits, kind } of dtypes.filter((row) => row.kind !== "string")) {
      const width = Math.ceil((5 * bits) / 8);
      const bytes = Uint8Array.from({ length: width }, (_, i) => (kind === "bool" ? i % 2 : (i * 37 + 5) & 0x7e));
      if (bits < 8) bytes[width - 1] = (bytes[width - 1] ?? 0) & ((1 << ((5 * bits) % 8)) - 1);
      const tensor = new Tensor(name, [5], new MemorySource(bytes));
      const twin = parse(`() => () <${text}[5] w = {…t}> {}`, { tensors: () => tensor });
      const again = parse(print(twin, exact)).graph.find("w")?.tensor;
      expect([name, again?.dtype, again && hashTensor(again)]).toEqual([name, name, hashTensor(tensor)]);
    }
  });

  it("are left out above 16 elements, and supplied again by hash", () => {
    const model = parse`() => (w) <float[20] w = ${big}> {}`;
    const text = print(model.graph);
    expect(text).toMatchInlineSnapshot(`
      "graph () => (float[20] w)
      <float[20] w = {…fnv1a:ef990a03d0f76ca3}>
      {}"
    `);
    const again = parse(text, { tensors: (hash) => (hash === hashTensor(big) ? big : undefined) });
    expect(again.graph.find("w")?.tensor).toBe(big);
    expect(() => parse(text)).toThrow("line 2, column 17: the elements of this tensor were left out");
    expect(() => parse(text, { tensors: () => float32([2], [1, 2]) })).toThrow("expected float[20], got float[2]");
  });
});
