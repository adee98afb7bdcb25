/** @file Static quantization with a method for the weights: closer outputs from the same integer kernels. */
import { expect, test } from "vitest";
import { runModel, withSession } from "../../../test/run-model.ts";
import { encode } from "../../../test/wire.ts";
import { datasetOf } from "../../data/dataset.ts";
import type { Model } from "../../ir/model.ts";
import { parse } from "../../ir/text/index.ts";
import { inProcessRuntime } from "../../runtime/in-process.ts";
import { float32 } from "../../tensor/tensor.ts";
import { Rng } from "../../util/rng.ts";
import type { StaticOptions } from "./options.ts";
import { quantizeStatic } from "./static.ts";

const rng = new Rng(8, "static methods");
const normal = (n: number) => Float32Array.from({ length: n }, () => rng.normal());
const convolution = (n: number, k: number) =>
  float32(
    [n, k, 3, 3],
    normal(n * k * 9).map((w) => w / 12),
  );
const bias = () => float32([16], normal(16));

/** The first and the last layer keep 8 bits. */
const model = parse`(float[N,16,6,6] x) => (y)
  <float[16,16,3,3] a = ${convolution(16, 16)}, float[16,16,3,3] b = ${convolution(16, 16)}, float[16,16,3,3] c = ${convolution(16, 16)},
   float[16] p = ${bias()}, float[16] q = ${bias()}, float[16] r = ${bias()}> {
    a1 = Conv <pads = [1,1,1,1]> (x, a, p) a2 = Relu(a1)
    b1 = Conv <pads = [1,1,1,1]> (a2, b, q) b2 = Relu(b1)
    y = Conv(b2, c, r) }`;

const mixture = normal(16 * 3);
const pictures = (count: number) =>
  Array.from({ length: count }, (_, i) => {
    const data = new Float32Array(16 * 36);
    for (let place = 0; place < 36; place++) {
      const sources = normal(3);
      for (let c = 0; c < 16; c++)
        data[c * 36 + place] = sources.reduce(
          (sum, s, k) => sum + s * (mixture[c * 3 + k] as number),
          0.05 * rng.normal(),
        );
    }
    return { id: String(i), inputs: { x: { dtype: "float32", dims: [1, 16, 6, 6], data } as const } };
  });
const seen = datasetOf("seen", pictures(48));
const unseen = pictures(24);

async function noiseOf(options: StaticOptions): Promise<number> {
  const open = (each: Model) => inProcessRuntime("ort-node").create(encode(each), { threads: 1 });
  const result = await quantizeStatic(model, seen, options, { open });
  const inner = result.layers().find(({ weight }) => weight === "b");
  expect(inner?.spec?.endsWith(" gptq")).toBe(options.method === "gptq");
  return withSession(result.model, async (session) => {
    let sum = 0;
    for (const { inputs } of unseen) {
      const [want, got] = [await runModel(model, inputs), await session.run(inputs)];
      const [values, actual] = [want, got].map(({ y }) => Array.from((y?.data ?? []) as Float32Array));
      values?.forEach((value, i) => {
        sum += (value - (actual?.[i] as number)) ** 2;
      });
    }
    return sum;
  });
}

test("gptq brings 4-bit weights with 8-bit activations closer on unseen data", async () => {
  const rtn = await noiseOf({ dtype: "int4" });
  expect(await noiseOf({ dtype: "int4", method: "gptq" })).toBeLessThan(rtn * 0.7);
});

test("gptq's codes cannot saturate where sums are kept in 16 bits", async () => {
  const open = (each: Model) => inProcessRuntime("ort-node").create(encode(each), { threads: 1 });
  const { model: quantized } = await quantizeStatic(model, seen, { target: "node-x64", method: "gptq" }, { open });
  const codes = Array.from(quantized.graph.find("b_quantized")?.tensor?.toNumbers() ?? []);
  expect(codes.length).toBe(16 * 16 * 9);
  expect(codes.reduce((most, code) => Math.max(most, Math.abs(code)), 0)).toBeLessThanOrEqual(64);
});
