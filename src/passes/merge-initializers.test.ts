/** @file Tests of merging equal initializers. */
import { describe, expect, it } from "vitest";
import { parse } from "../ir/text/index.ts";
import { float32 } from "../tensor/tensor.ts";
import { mergeInitializers } from "./merge-initializers.ts";

const namesIn = (model: ReturnType<typeof parse>) =>
  model.graphs().map((graph) => graph.initializers.map((value) => value.name));

describe("merge-initializers", () => {
  it("merges constants of equal dtype, dims and bytes only", () => {
    const model = parse`(float[2] x) => (y)
      <float[2] a = {1, 2}, float[2] same = {1, 2}, float[1,2] dims = {1, 2}, float[2] bytes = {1, 3}, float[2] zero = {0, 0}, float[2] minus = {-0.0, 0}> {
      y = Sum(x, a, same, dims, bytes, zero, minus)
    }`;
    const { model: result } = mergeInitializers(model);
    expect(namesIn(result)).toEqual([["a", "dims", "bytes", "zero", "minus"]]);
    expect(result.graph.nodes[0]?.inputs.slice(1, 3).map((value) => value?.name)).toEqual(["a", "a"]);
    expect(mergeInitializers(result)).toEqual({ model: result, modified: false });
  });

  it("reuses a constant of the graph around a subgraph, and moves what branches share to the main graph", () => {
    const { model } = mergeInitializers(parse`(bool b, float[2] x) => (y) <float[2] w = {1, 2}> {
      t = Add(x, w)
      y = If (b) <
        then_branch = one () => (p) <float[2] w1 = {1, 2}, float[2] v1 = {5, 5}> { u = Add(t, w1)  p = Add(u, v1) },
        else_branch = two () => (q) <float[2] v2 = {5, 5}> { q = Add(t, v2) }
      >
    }`);
    expect(namesIn(model)).toEqual([["w", "v1_1"], [], []]);
  });

  it("leaves outputs and inputs with a default alone", () => {
    const model = parse`(float[2] x, float[2] c = {1, 2}) => (y, b) <float[2] a = {1, 2}, float[2] b = {1, 2}> {
      y = Sum(x, a, b, c)
    }`;
    expect(mergeInitializers(model).modified).toBe(false);
  });

  it("compares large tensors whole: equal samples are not enough", () => {
    const large = (change: number) => {
      const data = new Float32Array(40_000);
      data[10_000] = change;
      return float32([40_000], data);
    };
    const model = parse`(float[40000] x) => (y)
      <float[40000] a = ${large(1)}, float[40000] b = ${large(2)}, float[40000] c = ${large(1)}> { y = Sum(x, a, b, c) }`;
    expect(namesIn(mergeInitializers(model).model)).toEqual([["a", "b"]]);
  });
});
