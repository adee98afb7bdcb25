import { expect, it } from "vitest";
import { parse } from "../../ir/text/index.ts";
import { specOptions } from "../../quantize/grid/spec.ts";
import { findLayers, type WeightLayer } from "../../quantize/layers/sites.ts";
import { float32 } from "../../tensor/tensor.ts";
import { type RuleLadder, rulesAt, weightRungs } from "./ladders.ts";

const model = parse`<ir_version: 8, opset_import: ["": 17]>
  g (float[N,64] x) => (float[N,8] y)
  <float[64,20] w1 = ${float32([64, 20], new Float32Array(1280))}, float[20,8] w2 = ${float32([20, 8], new Float32Array(160))}> {
    [first] a = MatMul(x, w1)
    [second] y = MatMul(a, w2)
  }`;
const [first, second] = findLayers(model).layers as [WeightLayer, WeightLayer];

const labels = (layer: WeightLayer, options: object, hasData = false) =>
  weightRungs(layer, specOptions.parse(options), hasData).map(({ label }) => label);

it("improves codes of the same width first, then widens them", () => {
  expect(labels(first, { dtype: "int4", granularity: "tensor" })).toEqual([
    "int4 tensor",
    "int4 tensor mse",
    "int4 channel mse",
    "int4 channel mse hqq",
    "int4 group:32 mse hqq",
    "int8 channel mse",
    "float16 mse",
  ]);
});

it("takes the method that looks at data where there is some, and groups where they divide the layer", () => {
  expect(labels(second, { dtype: "int4" }, true)).toEqual([
    "int4 channel",
    "int4 channel mse",
    "int4 channel mse gptq",
    "int8 channel mse",
    "float16 mse",
  ]);
});

it("goes on from what was asked for", () => {
  expect(labels(first, { dtype: "uint2", granularity: "group:16", scale: "mse", method: "hqq" })).toEqual([
    "uint2 group:16 mse hqq",
    "uint4 group:16 mse hqq",
    "uint8 group:16 mse",
    "float16 mse",
  ]);
  expect(labels(first, { bits: 5, scale: "mse", method: "hqq" })).toEqual([
    "int8 (5 bits) channel mse hqq",
    "int8 channel mse",
    "float16 mse",
  ]);
  expect(labels(first, { dtype: "float16" })).toEqual(["float16"]);
});

it("never costs less on a later rung", () => {
  for (const dtype of ["int2", "uint4", "int8"] as const)
    for (const granularity of ["tensor", "channel", "group:16", "group:32"] as const) {
      const bits = weightRungs(first, specOptions.parse({ dtype, granularity }), true).map((rung) => rung.bits);
      expect(bits).toEqual(bits.toSorted((a, b) => a - b));
    }
});

it("makes rules of the layers that are not as asked for", () => {
  const rungs = weightRungs(first, specOptions.parse({ dtype: "int4" }), false);
  const ladder: RuleLadder = { index: 3, name: "first", weight: "w1", outputs: ["a"], rungs };
  expect(rulesAt([ladder], [0])).toEqual([]);
  expect(rulesAt([ladder], [1])).toEqual([{ match: "3", keep: false, options: { scale: { by: "mse" } } }]);
});
