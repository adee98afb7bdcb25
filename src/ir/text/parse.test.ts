/** @file Tests of parse: grammar, defaults, names, errors. */
import { describe, expect, it } from "vitest";
import { float32 } from "../../tensor/tensor.ts";
import { parse } from "./index.ts";

describe("parse", () => {
  it("reads the short form with the defaults of a header", () => {
    const model = parse`(float[2,3] x) => (y) { y = Sqrt(x) }`;
    expect([model.irVersion, model.opset, model.graph.name]).toEqual([10, 21, "graph"]);
    expect(model.graph.inputs[0]?.type).toEqual({ kind: "tensor", dtype: "float32", shape: [2, 3] });
    expect(model.graph.outputs[0]?.type).toBeUndefined();
    expect(model.graph.outputs[0]?.producer?.opType).toBe("Sqrt");
  });

  it("puts a tensor in the place of its elements", () => {
    const { graph } = parse`(float[2] x) => (y) <float[2] w = ${float32([2], [1, 2])}> { y = Add(x, w) }`;
    expect(graph.find("w")?.tensor?.toNumbers()).toEqual(Float64Array.of(1, 2));
  });
});
