/** @file Calibration in ONNX Runtime: every statistic against its definition, and what bad data says. */
import { describe, expect, test } from "vitest";
import { encode } from "../../test/wire.ts";
import { datasetOf } from "../data/dataset.ts";
import type { Model } from "../ir/model.ts";
import { parse } from "../ir/text/index.ts";
import { inProcessRuntime } from "../runtime/in-process.ts";
import { hostTensor } from "../tensor/host-tensor.ts";
import { float32 } from "../tensor/tensor.ts";
import { Rng } from "../util/rng.ts";
import { calibrate } from "./calibrate.ts";
import { perChannel } from "./channels.ts";
import type { Collector, Range } from "./collector.ts";
import { type Gram, gramOf, patches, rows } from "./gram.ts";
import { entropy } from "./range/entropy.ts";
import { minMax } from "./range/min-max.ts";
import { movingAverage } from "./range/moving-average.ts";
import { mse } from "./range/mse.ts";
import { percentile } from "./range/percentile.ts";

const open = (model: Model) => inProcessRuntime("ort-node").create(encode(model), { threads: 1 });
const rng = new Rng(3, "calibrate");
const noise = (...dims: number[]) =>
  hostTensor(
    "float32",
    dims,
    Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => rng.normal()),
  );
const data = (...inputs: readonly ReturnType<typeof noise>[]) =>
  datasetOf(
    "noise",
    inputs.map((x, i) => ({ id: `#${i}`, inputs: { x } })),
  );

const chain = parse`(float[N,4] x) => (y) { a = Neg(x) y = Exp(a) }`;

async function one<T>(
  model: Model,
  value: string,
  collector: Collector<T>,
  ...inputs: readonly ReturnType<typeof noise>[]
) {
  const { stats } = await calibrate(model, data(...inputs), new Map([[value, [collector]]]), { open });
  return stats.get(value)?.[0] as T;
}

describe("ranges", () => {
  const inputs = Array.from({ length: 5 }, () => noise(1, 4));
  const all = inputs.flatMap(({ data }) => Array.from(data as Float32Array, (x) => -x));

  test("min-max, also of an input of the model", async () => {
    expect(await one(chain, "a", minMax(), ...inputs)).toEqual({ min: Math.min(...all), max: Math.max(...all) });
    expect(await one(chain, "x", minMax(), ...inputs)).toEqual({ min: -Math.max(...all), max: -Math.min(...all) });
  });

  test("the moving average of equal batches is theirs", async () => {
    const same = noise(1, 4);
    const range = await one(chain, "x", movingAverage(), same, same, same);
    expect(range.max).toBeCloseTo(Math.max(...(same.data as Float32Array)), 6);
  });

  const outlier = () => {
    const x = noise(1, 40_000);
    (x.data as Float32Array)[7] = 100;
    return x;
  };
  const wide = parse`(float[N,M] x) => (y) { y = Neg(x) }`;

  test.each([
    ["percentile", () => percentile(99.9), 2.5, 4.5],
    ["entropy", () => entropy(), 1.5, 10],
    ["mse", () => mse(), 3, 101],
  ] as const)("%s keeps the bulk and stays within what was seen", async (_, make, least, most) => {
    const range: Range = await one(wide, "x", make(), outlier(), noise(1, 40_000));
    expect(range.max).toBeGreaterThan(least);
    expect(range.max).toBeLessThan(most);
    expect(range.min).toBeLessThan(-1.5);
  });

  test("entropy and percentile tell what they cut; a range that ends near zero on one side has its codes on the other", async () => {
    const x = outlier();
    const cut: Range = await one(wide, "x", entropy(), x);
    expect(cut.seen?.max).toBe(100);
    expect((await one(wide, "x", percentile(99), x)).seen).toEqual(cut.seen);
    // Even from −0.1 to 1: cutting would only lose.
    const even = hostTensor(
      "float32",
      [1, 40_000],
      Array.from({ length: 40_000 }, (_, i) => -0.1 + (1.1 * i) / 39_999),
    );
    const range: Range = await one(wide, "x", entropy(), even);
    expect(range.max).toBeGreaterThan(0.95);
    expect(range.min).toBeCloseTo(-0.1, 6);
  });

  test("large values are sampled inside the graph", async () => {
    const x = noise(1, 300_000);
    const range = await one(wide, "x", percentile(50.0001), x);
    expect(range.max).toBeCloseTo(0.674, 1);
  });
});

test("per channel: largest, mean magnitude, mean, mean square", async () => {
  const model = parse`(float[N,2,2] x) => (y) { y = Neg(x) }`;
  const x = hostTensor("float32", [1, 2, 2], [1, -3, 5, 1]);
  const kinds = ["absmax", "absmean", "mean", "mean-square"] as const;
  const results = [];
  for (const kind of kinds) results.push([...(await one(model, "x", perChannel(kind, 1), x))]);
  expect(results).toEqual([
    [3, 5],
    [2, 3],
    [-1, 3],
    [5, 13],
  ]);
  expect([...(await one(model, "x", perChannel("mean", -1), x))]).toEqual([3, -1]);
});

describe("gram", () => {
  test("of rows", async () => {
    const [a, b] = [noise(1, 3), noise(1, 3)];
    const { sums, k } = await one(parse`(float[N,3] x) => (y) { y = Neg(x) }`, "x", gramOf(rows), a, b);
    const seen = [a, b].map(({ data }) => data as Float32Array);
    for (let i = 0; i < k; i++)
      for (let j = 0; j < k; j++)
        expect(sums[i * k + j]).toBeCloseTo(
          seen.reduce((sum, row) => sum + (row[i] as number) * (row[j] as number), 0),
          5,
        );
  });

  test.each([
    ["plain", ""],
    ["strides, pads, dilations", "strides = [2,1], pads = [1,0,2,1], dilations = [2,1]"],
    ["groups", "group = 2, pads = [1,1,1,1]"],
    ["same", `auto_pad = "SAME_UPPER"`],
    ["same, the odd one first", `auto_pad = "SAME_LOWER"`],
    ["same with strides: padding by the size", `auto_pad = "SAME_UPPER", strides = [2,2]`],
    ["same with strides, the odd one first", `auto_pad = "SAME_LOWER", strides = [2,3]`],
    ["same with strides beyond the kernel", `auto_pad = "SAME_UPPER", strides = [5,4]`],
  ])("of patches: w G w is the sum of squares of what a Conv gives, %s", async (_, attributes) => {
    const groups = attributes.includes("group") ? 2 : 1;
    const inner = (4 / groups) * 6;
    const w = noise(2, 4 / groups, 3, 2);
    const weight = float32(w.dims, w.data as Float32Array);
    const text =
      `(float[N,4,7,6] x) => (y) <float[${w.dims}] w = {${[...weight.toFloat32()]}}> { y = Conv <${attributes}> (x, w) }`.replace(
        "<>",
        "",
      );
    const model = parse(text);
    const conv = model.graph.nodes[0];
    if (!conv) throw new Error("no Conv");
    const x = noise(2, 4, 7, 6);
    const { sums, k, groups: parts }: Gram = await one(model, "x", gramOf(patches(conv)), x);
    expect([k, parts]).toEqual([inner, groups]);
    const session = await open(model);
    const { y } = await session.run({ x });
    await session.release();
    const [n = 1, channels = 1, ...places] = y?.dims ?? [];
    const results = y?.data as Float32Array;
    const size = places.reduce((a, b) => a * b, 1);
    for (let channel = 0; channel < 2; channel++) {
      const row = (w.data as Float32Array).subarray(channel * k, (channel + 1) * k);
      const offset = groups === 2 ? channel * k * k : 0;
      let product = 0;
      for (let i = 0; i < k; i++)
        for (let j = 0; j < k; j++)
          product += (row[i] as number) * (row[j] as number) * (sums[offset + i * k + j] as number);
      let squares = 0;
      for (let sample = 0; sample < n; sample++)
        for (let at = 0; at < size; at++)
          squares += (results[(sample * channels + channel) * size + at] as number) ** 2;
      expect(product / squares).toBeCloseTo(1, 4);
    }
  });
});

describe("bad data", () => {
  test("NaN and infinity name the first node that gives them", async () => {
    const model = parse`(float[N,1] x) => (y) { [first] a = Log(x) [second] y = Exp(a) }`;
    const collectors = () => new Map([...["y", "a", "x"].map((name) => [name, [minMax()]] as const)]);
    const bad = (value: number) => data(hostTensor("float32", [1, 1], [1]), hostTensor("float32", [1, 1], [value]));
    await expect(calibrate(model, bad(-1), collectors(), { open })).rejects.toThrow(
      /sample "#1": Log "first" gives NaN/,
    );
    await expect(calibrate(model, bad(Number.NaN), collectors(), { open })).rejects.toThrow(/input "x" gives NaN/);
    // What nobody watches is looked at as well.
    const last = () => new Map([["y", [minMax()]]]);
    await expect(calibrate(model, bad(-1), last(), { open })).rejects.toThrow(/sample "#1": Log "first" gives NaN/);
  });

  test("no samples, wrong shapes, unknown values, an abort", async () => {
    const watch = () => new Map([["a", [minMax()]]]);
    await expect(calibrate(chain, data(), watch(), { open })).rejects.toThrow(/holds no samples/);
    await expect(calibrate(chain, data(noise(1, 5)), watch(), { open })).rejects.toThrow(/"x"/);
    await expect(calibrate(chain, data(noise(1, 4)), new Map([["q", [minMax()]]]), { open })).rejects.toThrow(/"q"/);
    const signal = AbortSignal.abort();
    await expect(calibrate(chain, data(noise(1, 4)), watch(), { open, signal })).rejects.toMatchObject({
      code: "aborted",
    });
  });
});
