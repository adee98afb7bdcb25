/** @file Weights that are stored in another form: integers behind DequantizeLinear go with their scales and zero points. */
import { expect, it } from "vitest";
import { randomFeeds, relativeError, runModel } from "../../../test/run-model.ts";
import { encode } from "../../../test/wire.ts";
import { datasetOf } from "../../data/dataset.ts";
import { parse } from "../../ir/text/index.ts";
import { inProcessRuntime } from "../../runtime/in-process.ts";
import { float32, fromNumbers } from "../../tensor/tensor.ts";
import { Rng } from "../../util/rng.ts";
import { pruneChannels } from "./prune-channels.ts";

const rng = new Rng(7, "stored");
const codes = (...dims: number[]) =>
  fromNumbers(
    "int8",
    dims,
    Array.from({ length: dims.reduce((all, dim) => all * dim, 1) }, () => Math.round(rng.uniform() * 200 - 100)),
  );
const scales = (count: number) =>
  float32(
    [count],
    Array.from({ length: count }, () => 0.002 + 0.004 * rng.uniform()),
  );

const quantized = parse`<ir_version: 10, opset_import: ["": 21]> g (float[1,3,8,8] x) => (y)
  <int8[16,3,3,3] w0 = ${codes(16, 3, 3, 3)}, float[16] s0 = ${scales(16)}, int8[16] z0 = ${fromNumbers("int8", [16], new Array(16).fill(0))},
   int8[12,16,3,3] w1 = ${codes(12, 16, 3, 3)}, float[12] s1 = ${scales(12)}, int8[5,12] w2 = ${codes(5, 12)},
   float s2 = {0.01}, float sx = {0.05}, uint8 zx = {100}> {
    a = QuantizeLinear(x, sx, zx)  b = DequantizeLinear(a, sx, zx)
    v0 = DequantizeLinear <axis = 0> (w0, s0, z0)  c = Conv(b, v0)  r = Relu(c)
    d = QuantizeLinear(r, sx, zx)  e = DequantizeLinear(d, sx, zx)
    v1 = DequantizeLinear <axis = 0> (w1, s1)  f = Conv(e, v1)  s = Relu(f)
    p = GlobalAveragePool(s)  q = Flatten(p)  v2 = DequantizeLinear(w2, s2)  y = Gemm <transB = 1> (q, v2)
  }`;

const fed = [{ name: "x", dtype: "float32", dims: [1, 3, 8, 8] }] as const;
const data = datasetOf(
  "made up",
  Array.from({ length: 16 }, (_, i) => ({ id: `${i}`, inputs: randomFeeds(fed, i) })),
);
const calibration = {
  data,
  open: (probed: typeof quantized) => inProcessRuntime("ort-node").create(encode(probed), { threads: 1 }),
};

it.each([undefined, calibration])("a quantized model is cut: codes, scales and zero points together", async (given) => {
  const options = { ratio: 0.4, ...(given && ({ criterion: "wanda", ranking: "layer" } as const)) } as const;
  const { model, plain, masked, groups, reached, unrecovered } = await pruneChannels(quantized, options, given);
  expect([reached, groups.map(({ channels, removed }) => [channels, removed])]).toEqual([
    true,
    [
      [16, expect.any(Number)],
      [12, expect.any(Number)],
    ],
  ]);
  expect(groups.every(({ removed }) => removed > 3)).toBe(true);
  const feeds = randomFeeds(fed, 99);
  const optimization = "disabled" as const;
  const [wanted, found] = [await runModel(masked(), feeds, optimization), await runModel(plain, feeds, optimization)];
  expect(relativeError(wanted, found)).toBeLessThan(1e-5);
  const sizes = ["w0", "s0", "z0"].map((name) => model.graph.find(name)?.tensor?.dims[0]);
  expect(new Set(sizes).size).toBe(1);
  const reason = "the weight is stored as int8: prune the float model, then quantize";
  expect(unrecovered.map(({ opType, reason: said }) => [opType, said])).toEqual(
    given
      ? [
          ["Conv", reason],
          ["Gemm", reason],
        ]
      : [],
  );
});

it("scores of codes are those of the weights: scales count", async () => {
  const few = parse`<ir_version: 10, opset_import: ["": 21]> g (float[N,2] x) => (y)
    <int8[3,2] w = ${fromNumbers("int8", [3, 2], [100, 100, 10, 10, 50, 50])}, float[3] s = ${float32([3], [0.001, 0.1, 0.01])}, float[1,3] v = ${float32([1, 3], [1, 1, 1])}> {
      d = DequantizeLinear <axis = 0> (w, s)  h = Gemm <transB = 1> (x, d)  y = Gemm <transB = 1> (h, v) }`;
  const { model } = await pruneChannels(few, { ratio: 0.3 }, undefined);
  expect([...(model.graph.find("w")?.tensor?.toNumbers() ?? [])]).toEqual([10, 10, 50, 50]);
});

it("float16 models are cut by what their activations show, and their weights solved", async () => {
  const draw = (...dims: number[]) =>
    fromNumbers(
      "float16",
      dims,
      Array.from({ length: dims.reduce((all, dim) => all * dim, 1) }, () => rng.normal() * 0.3),
    );
  const half = parse`<ir_version: 10, opset_import: ["": 21]> g (float16[N,6] x) => (y)
    <float16[6,16] a = ${draw(6, 16)}, float16[16] b = ${draw(16)}, float16[16,3] c = ${draw(16, 3)}> {
      h = MatMul(x, a)  k = Add(h, b)  r = Relu(k)  y = MatMul(r, c) }`;
  const fed16 = [{ name: "x", dtype: "float16", dims: ["N", 6] }] as const;
  const rows = Array.from({ length: 48 }, (_, i) => ({ id: `${i}`, inputs: randomFeeds(fed16, i, { x: [1, 6] }) }));
  const data16 = { ...calibration, data: datasetOf("half", rows) };
  const { approach, groups, unrecovered } = await pruneChannels(half, { ratio: 0.3 }, data16);
  expect(groups.map(({ removed, criterion }) => [removed, criterion])).toEqual([[5, undefined]]);
  expect(unrecovered).toEqual([]);
  const [tried] = (approach.tried ?? []).filter(({ criteria: [first] }) => first === "fisher");
  expect(tried?.reason).toMatch(/float32 output/);
  expect(approach.tried?.filter(({ sqnr }) => sqnr !== undefined).map(({ ranking }) => ranking)).toEqual([
    "layer",
    "global",
    "sensitivity",
  ]);
  expect(approach.judged?.sqnr).toBeGreaterThan(10);
});
