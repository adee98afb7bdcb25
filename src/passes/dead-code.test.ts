/** @file Tests of dead code removal. */
import { describe, expect, it } from "vitest";
import { parse } from "../ir/text/index.ts";
import { removeDeadCode } from "./dead-code.ts";

describe("dead code", () => {
  it("removes nodes and constants that no output needs, and keeps inputs", () => {
    const model = parse`(float[2] x, float[2] unused) => (y) <float[2] w = {1, 2}, float[2] v = {1, 2}> {
      a = Add(x, w)  b = Neg(a)  c = Mul(b, v)  y = Relu(x)
    }`;
    const { model: result } = removeDeadCode(model);
    expect(result.graph.nodes.map((node) => node.opType)).toEqual(["Relu"]);
    expect([...result.graph.values].map((value) => value.name)).toEqual(["x", "unused", "y"]);
    expect(removeDeadCode(result)).toEqual({ model: result, modified: false });
    expect(model.graph.nodes).toHaveLength(4);
  });

  it("keeps what only a subgraph uses, and cleans the subgraph", () => {
    const { model } = removeDeadCode(parse`(bool b, float[2] x) => (y) {
      outer = Neg(x)  forDeadOnly = Abs(x)
      y = If (b) <
        then_branch = one () => (p) { p = Relu(outer)  dead = Exp(forDeadOnly) },
        else_branch = two () => (q) { q = Neg(outer) }
      >
    }`);
    expect(model.graphs().map((graph) => graph.nodes.map((node) => node.opType))).toEqual([
      ["Neg", "If"],
      ["Relu"],
      ["Neg"],
    ]);
  });

  it("removes a node with subgraphs whose insides depend on one another", () => {
    const { model } = removeDeadCode(parse`(bool b, float[2] x) => (z) {
      outer = Neg(x)
      y = If (b) <
        then_branch = one () => (p) { p = Relu(outer) },
        else_branch = two () => (q) { q = Identity(outer) }
      >
      z = Abs(x)
    }`);
    expect(model.graphs()).toHaveLength(1);
    expect(model.graph.nodes.map((node) => node.opType)).toEqual(["Abs"]);
  });

  it("removes functions that nothing calls and imports that nothing uses", () => {
    const { model } = removeDeadCode(parse`
      <ir_version: 10, opset_import: ["": 21, "local": 1, "other": 2, "com.microsoft": 1]>
      main (float[2] x) => (y) { y = local.outer(x) }
      <opset_import: ["": 21, "local": 1], domain: "local"> outer (a) => (b) { b = local.inner(a) }
      <opset_import: ["": 21], domain: "local"> inner (a) => (b) { dead = Exp(a)  b = Neg(a) }
      <opset_import: ["": 21], domain: "other"> orphan (a) => (b) { b = Neg(a) }
    `);
    expect(model.functions.map((fn) => [fn.name, fn.graph.nodes.length])).toEqual([
      ["outer", 1],
      ["inner", 1],
    ]);
    expect([...model.opsetImports.keys()]).toEqual(["", "local"]);
  });

  it("takes an unused initializer of IR version 3 off the inputs, but leaves a newer default there", () => {
    const text = (ir: number) =>
      `<ir_version: ${ir}, opset_import: ["": 8]> g (float[2] x, float[2] w = {1, 2}) => (y) { y = Relu(x) }`;
    const inputs = (ir: number) => removeDeadCode(parse(text(ir))).model.graph.inputs.map((input) => input.name);
    expect([inputs(3), inputs(4)]).toEqual([["x"], ["x", "w"]]);
  });
});
