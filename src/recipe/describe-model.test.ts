import { describe, expect, it } from "vitest";
import { parse } from "../ir/text/index.ts";
import { float32 } from "../tensor/tensor.ts";
import { describeModel } from "./describe-model.ts";

describe("describeModel", () => {
  it("counts what a model is made of", () => {
    const model = parse`<ir_version: 8, opset_import: ["": 17]>
      g (float[N,3,8,8] x) => (float[N,4,6,6] y)
      <float[4,3,3,3] w = ${float32([4, 3, 3, 3], new Float32Array(108))}, float[4] b = {1, 2, 3, 4}> {
        c = Conv(x, w, b)
        y = Relu(c)
      }`;
    const description = describeModel(model, { shapes: { N: 2 } });
    expect(description).toMatchObject({
      opsets: { "ai.onnx": 17 },
      inputs: [{ name: "x", type: "float[N,3,8,8]" }],
      params: 112,
      constantBytes: 448,
      macs: { total: 2 * 4 * 6 * 6 * 27, unknownNodes: 0, openSizes: [] },
      operators: [
        { opType: "Conv", count: 1, params: 112, bytes: 448, macs: 2 * 4 * 6 * 6 * 27 },
        { opType: "Relu", count: 1, params: 0, bytes: 0, macs: 0 },
      ],
      layers: [{ index: 0, name: "c", opType: "Conv", weight: "w", dims: [4, 3, 3, 3], compressible: true }],
      notes: [],
    });
    expect(describeModel(model).macs.openSizes).toEqual(["N"]);
  });

  it("counts a constant that several operators share once", () => {
    const model = parse`<ir_version: 8, opset_import: ["": 17]>
      g (float[2,2] x) => (float[2,2] z) <float[2,2] w = {1, 2, 3, 4}> {
        y = MatMul(x, w)
        z = Add(y, w)
      }`;
    const { operators, params } = describeModel(model);
    expect(params).toBe(4);
    expect(operators.map(({ opType, params }) => [opType, params])).toEqual([
      ["MatMul", 4],
      ["Add", 0],
    ]);
  });

  it("lists operators it does not know, and what is wrong with a model", () => {
    const model = parse`<ir_version: 8, opset_import: ["": 17, "my": 1]>
      g (float[2,2] x) => (y, z) {
        y = my.Strange(x)
        z = MatMul(x)
      }`;
    const { operators, notes, layers } = describeModel(model);
    expect(operators).toContainEqual({ opType: "my.Strange", count: 1, params: 0, bytes: 0, macs: null });
    expect(layers).toMatchObject([{ name: "z", compressible: false }]);
    expect(notes.join(" ")).toContain("MatMul");
  });
});
