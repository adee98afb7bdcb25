/** @file Which layers are not quantized as they come, because float32 is faster. */
import { expect, it } from "vitest";
import { parse } from "../../ir/text/index.ts";
import { float32 } from "../../tensor/tensor.ts";
import { Rng } from "../../util/rng.ts";
import { quantizeDynamic } from "./dynamic.ts";

const rng = new Rng(4, "worth");
const random = (dims: readonly number[]) =>
  float32(
    dims,
    Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => rng.normal()),
  );

const model = (size: number | string) => parse`<ir_version: 8, opset_import: ["": 17]>
  g (float[N,32,${size},${size}] x, float[N,256] v) => (float[N,32,${size},${size}] y, float[N,256] z)
  <float[32,32,3,3] w = ${random([32, 32, 3, 3])}, float[256,256] u = ${random([256, 256])}> {
    [conv] y = Conv<pads = [1, 1, 1, 1]>(x, w)
    [product] z = MatMul(v, u)
  }`;

const kinds = (...args: Parameters<typeof quantizeDynamic>) =>
  quantizeDynamic(...args)
    .layers()
    .map(({ name, status }) => `${name} ${status}`);

it("a convolution whose integer kernel is slower stays float, and says so", () => {
  expect(kinds(model(32), { target: "node-x64-vnni" })).toEqual(["conv kept", "product quantized"]);
  expect(quantizeDynamic(model(32), { target: "node-x64-vnni" }).layers()[0]?.reason).toMatch(
    /^float32 is faster on node-x64-vnni/,
  );
});

it("what is asked for by name, or in spite of costs, is quantized", () => {
  const target = "node-x64-vnni";
  expect(kinds(model(32), { target, layers: "conv" })).toEqual(["conv quantized", "product kept"]);
  expect(kinds(model(32), { target, fitCosts: false })).toEqual(["conv quantized", "product quantized"]);
});

it("sizes that the model leaves open come from the samples; without, nothing is decided", () => {
  const target = "node-x64-vnni";
  expect(kinds(model("S"), { target })).toEqual(["conv quantized", "product quantized"]);
  expect(kinds(model("S"), { target }, [], new Map(), { x: [1, 32, 32, 32] })).toEqual([
    "conv kept",
    "product quantized",
  ]);
});
