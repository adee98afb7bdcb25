/** @file Products with integer weights run in the kernel that decodes as it multiplies, whatever activation is behind them. */
import { expect, test } from "vitest";
import { optimizedOps } from "../../../test/optimized-graph.ts";
import { relativeError, runModel } from "../../../test/run-model.ts";
import { parse } from "../../ir/text/index.ts";
import { hostTensor } from "../../tensor/host-tensor.ts";
import { float32 } from "../../tensor/tensor.ts";
import { Rng } from "../../util/rng.ts";
import { quantize } from "../weights/quantize-weights.ts";

const rng = new Rng(2, "products");
const random = (...dims: number[]) =>
  float32(
    dims,
    Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => rng.normal() / 8),
  );

test.each([
  ["MatMul", "h = MatMul(x, a)\n r = Relu(h)\n y = MatMul(r, b)"],
  ["MatMul and a bias", "h = MatMul(x, a)\n g = Add(h, c)\n r = Relu(g)\n y = MatMul(r, b)"],
  ["Gemm", "h = Gemm<transB = 1>(x, a, c)\n r = Relu(h)\n y = Gemm(r, b)"],
])("%s", async (_, body) => {
  const tensors = new Map([
    ["a", random(64, 64)],
    ["b", random(64, 64)],
    ["c", random(64)],
  ]);
  const model = parse(
    `<ir_version: 8, opset_import: ["": 17]> g (float[N,64] x) => (float[N,64] y)
    <float[64,64] a = {…a}, float[64,64] b = {…b}, float[64] c = {…c}> { ${body} }`,
    { tensors: (key) => tensors.get(key) as NonNullable<ReturnType<typeof tensors.get>> },
  );
  const { model: quantized } = quantize(model);
  const ops = await optimizedOps(quantized);
  expect(ops["com.microsoft.MatMulNBits"]).toBe(2);
  expect(ops.DequantizeLinear).toBeUndefined();
  const x = hostTensor(
    "float32",
    [3, 64],
    Float32Array.from({ length: 192 }, () => rng.normal()),
  );
  expect(relativeError(await runModel(model, { x }), await runModel(quantized, { x }))).toBeLessThan(0.03);
});
