/** @file What has no integer kernel is not written as if it had: biases of one number, computed ones, products with a vector. */
import { expect, test } from "vitest";
import { optimizedOps } from "../../../test/optimized-graph.ts";
import { runModel } from "../../../test/run-model.ts";
import { encode } from "../../../test/wire.ts";
import { datasetOf } from "../../data/dataset.ts";
import { parse } from "../../ir/text/index.ts";
import { inProcessRuntime } from "../../runtime/in-process.ts";
import { hostTensor } from "../../tensor/host-tensor.ts";
import { float32 } from "../../tensor/tensor.ts";
import { Rng } from "../../util/rng.ts";
import { quantizeStatic } from "./static.ts";

const rng = new Rng(8, "obstacles");
const random = (...dims: number[]) =>
  float32(
    dims,
    Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => rng.normal() / 8),
  );
const x = Float32Array.from({ length: 16 * 64 }, () => rng.normal());
const rows = (dims: readonly number[]) =>
  datasetOf(
    "rows",
    Array.from({ length: 16 }, (_, i) => ({
      id: `#${i}`,
      inputs: { x: hostTensor("float32", [1, ...dims], x.slice(i * 64, (i + 1) * 64)) },
    })),
  );
const running = {
  open: (probed: Parameters<typeof encode>[0]) => inProcessRuntime("ort-node").create(encode(probed), { threads: 1 }),
};

const gemm = (bias: string, extra = "") => parse`<ir_version: 8, opset_import: ["": 17]>
  g (float[N,64] x) => (float[N,16] y) <
    float[64,48] a = ${random(64, 48)}, float[48,32] b = ${random(48, 32)}, float[32,16] c = ${random(32, 16)},
    float[1] one = {0.5}, float scalar = {0.5}, float[48] own = ${random(48)}
  > {
    ${extra}
    [first] h = Gemm(x, a, own)
    hr = Relu(h)
    [second] i = Gemm(hr, b, ${bias})
    ir = Relu(i)
    [third] y = Gemm(ir, c)
  }`;

test.each(["one", "scalar"])("a bias of one number (%s) runs in integers", async (bias) => {
  const model = gemm(bias);
  const { model: quantized } = await quantizeStatic(model, rows([64]), {}, running);
  expect((await optimizedOps(quantized))["com.microsoft.QGemm"]).toBe(3);
  const feeds = { x: hostTensor("float32", [16, 64], x) };
  const [wanted, given] = [await runModel(model, feeds), await runModel(quantized, feeds)].map(({ y }) => [
    ...((y?.data ?? []) as Float32Array),
  ]);
  expect(
    Math.max(...(wanted as number[]).map((value, i) => Math.abs(value - ((given as number[])[i] as number)))),
  ).toBeLessThan(0.1);
});

test("a bias that is computed keeps its Gemm float, with the reason", async () => {
  const result = await quantizeStatic(gemm("m", "m = ReduceMean<axes = [1]>(x)"), rows([64]), {}, running);
  const second = result.layers().find(({ name }) => name === "second");
  expect(second).toMatchObject({
    status: "kept",
    reason: "its bias is computed at run time: there is no integer kernel",
  });
  const node = result.model.graph.nodes.find(({ name }) => name === "second");
  expect(node?.inputs[1]?.tensor?.dtype).toBe("float32");
});

test("a product with a vector is left alone, with the reason, and nothing is put around it", async () => {
  const model = parse`<ir_version: 8, opset_import: ["": 17]>
    g (float[N,1,64] x) => (float[N,1] y) <float[64] v = ${random(64)}> { [score] y = MatMul(x, v) }`;
  const result = await quantizeStatic(model, rows([1, 64]), {}, running);
  expect(result.model.graph.nodes.map(({ opType }) => opType)).toEqual(["MatMul"]);
  expect(JSON.stringify(result.skipped)).toContain("a product with a vector: there are no channels");
});
