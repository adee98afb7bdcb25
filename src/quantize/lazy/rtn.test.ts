import fc from "fast-check";
import { expect, test } from "vitest";
import { float32, type Tensor } from "../../tensor/tensor.ts";
import { readAll } from "../../util/bytes.ts";
import { Rng } from "../../util/rng.ts";
import { slicesOf } from "../grid/slices.ts";
import { type QuantSpec, resolveSpec, type SpecOptions, specOptions } from "../grid/spec.ts";
import { quantizeRtn } from "./rtn.ts";

const axes = { channel: 1, group: 0 };

function run(weight: Tensor, options: SpecOptions, seed = 0, name = "w") {
  const spec: QuantSpec = resolveSpec(specOptions.parse(options), "test");
  const slices = slicesOf(weight.dims, axes, spec.granularity, "w");
  const quantized = quantizeRtn({ name, weight, slices, spec, seed, measure: true });
  const codes = quantized.codes.toNumbers();
  const scale = quantized.scale.toNumbers();
  const zeroPoint = quantized.zeroPoint.toNumbers();
  const [, n = 1] = weight.dims;
  const sliceOf = (i: number) => {
    if (slices.count === 1) return 0;
    if (!slices.blockSize) return i % n;
    return Math.floor(i / n / slices.blockSize) * n + (i % n);
  };
  const values = codes.map((q, i) => (q - (zeroPoint[sliceOf(i)] as number)) * (scale[sliceOf(i)] as number));
  return { codes, scale, zeroPoint, values, sliceOf, quantized };
}

function gaussian(dims: readonly [number, number], seed = 1): Tensor {
  const rng = new Rng(seed, "test");
  return float32(
    dims,
    Float32Array.from({ length: dims[0] * dims[1] }, () => rng.normal()),
  );
}

const specs = fc.record({
  dtype: fc.constantFrom("int8", "uint8", "int4", "uint4", "int2", "uint2"),
  symmetric: fc.boolean(),
  granularity: fc.constantFrom("tensor", "channel", "group:16"),
  rounding: fc.constantFrom("nearest", "half-up"),
}) as fc.Arbitrary<SpecOptions>;

test("in range, rounding is off by at most half a step", () => {
  fc.assert(
    fc.property(specs, fc.integer({ min: 1, max: 40 }), fc.integer({ min: 0, max: 99 }), (options, n, seed) => {
      const weight = gaussian([32, n], seed);
      const { values, scale, sliceOf, codes } = run(weight, options);
      const top = { int8: 127, uint8: 255, int4: 7, uint4: 15, int2: 1, uint2: 3 }[options.dtype as "int8"];
      weight.toFloat32().forEach((w, i) => {
        const step = Math.abs(scale[sliceOf(i)] as number);
        // A narrow symmetric grid has one code less on one side: what lies beyond it is clipped, not rounded.
        if ((codes[i] as number) < top) expect(Math.abs(w - (values[i] as number))).toBeLessThanOrEqual(step * 0.5001);
      });
    }),
    { seed: 7, numRuns: 60 },
  );
});

test("half-up is floor(x / Δ + 1/2) · Δ", () => {
  const weight = float32([4, 1], [0.5, 1.5, -0.5, 127]);
  expect([...run(weight, { granularity: "tensor", rounding: "half-up" }).codes]).toEqual([1, 2, 0, 127]);
  expect([...run(weight, { granularity: "tensor" }).codes]).toEqual([0, 2, 0, 127]);
});

test("stochastic rounding is unbiased: its mean over seeds is the weight", () => {
  const weight = gaussian([64, 4]);
  const mean = new Float64Array(256);
  const seeds = 400;
  let step = 0;
  for (let seed = 0; seed < seeds; seed++) {
    const { values, scale } = run(
      weight,
      { bits: 4, granularity: "tensor", rounding: "stochastic", scale: "absmax", symmetric: false },
      seed,
    );
    step = scale[0] as number;
    values.forEach((value, i) => {
      mean[i] = (mean[i] as number) + value / seeds;
    });
  }
  // The standard error of a mean is at most step / 2 / sqrt(seeds); five of them leave no room for a bias.
  weight.toFloat32().forEach((w, i) => {
    expect(Math.abs(w - (mean[i] as number))).toBeLessThan((5 * step) / 2 / Math.sqrt(seeds) + step * 0.01);
  });
});

test("the same seed gives the same codes, another seed or tensor others", () => {
  const weight = gaussian([32, 8]);
  const options = { rounding: "stochastic" } as const;
  const a = run(weight, options, 3).codes;
  expect(run(weight, options, 3).codes).toEqual(a);
  expect(run(weight, options, 4).codes).not.toEqual(a);
  expect(run(weight, options, 3, "other").codes).not.toEqual(a);
});

test("jobs that take turns in the kernel memory do not disturb each other", () => {
  const weights = [gaussian([600, 600], 1), gaussian([600, 600], 2)] as const;
  const alone = weights.map((weight) => run(weight, { dtype: "int4" }).codes);
  const jobs = weights.map((weight) => run(weight, { dtype: "int4" }).quantized.codes.bytes);
  const iterators = jobs.map((source) => (source.chunks?.() ?? [])[Symbol.iterator]());
  const parts: number[][] = [[], []];
  for (let done = false; !done; ) {
    done = true;
    iterators.forEach((iterator, i) => {
      const next = iterator.next();
      if (next.done) return;
      done = false;
      for (const byte of next.value) parts[i]?.push(((byte & 15) ^ 8) - 8, ((byte >> 4) ^ 8) - 8);
    });
  }
  expect(parts[0]).toEqual([...(alone[0] ?? [])]);
  expect(parts[1]).toEqual([...(alone[1] ?? [])]);
});

test("the least-squares scale beats the largest weight where there is an outlier", () => {
  const rng = new Rng(5, "outlier");
  const data = Float32Array.from({ length: 512 }, () => rng.normal());
  data[17] = 9;
  const weight = float32([512, 1], data);
  const noise = (options: SpecOptions) => {
    const { values } = run(weight, options);
    return data.reduce((sum, w, i) => sum + (w - (values[i] as number)) ** 2, 0);
  };
  for (const dtype of ["int4", "uint4", "int2"] as const)
    expect(noise({ dtype, scale: "mse" })).toBeLessThan(noise({ dtype }));
  expect(noise({ dtype: "int4", scale: "percentile:99" })).not.toBe(noise({ dtype: "int4" }));
});

test("weight SQNR is known after reading, and right", () => {
  const weight = gaussian([64, 16]);
  const { values, quantized } = run(weight, {});
  const w = weight.toFloat32();
  const signal = w.reduce((sum, x) => sum + x * x, 0);
  const noise = w.reduce((sum, x, i) => sum + (x - (values[i] as number)) ** 2, 0);
  expect(quantized.sqnr()).toBeCloseTo(10 * Math.log10(signal / noise), 2);
});

test("NaN and infinity are refused by name", () => {
  const weight = float32([2, 2], [1, Number.NaN, 0, 0]);
  expect(() => readAll(run(weight, {}).quantized.codes.bytes)).toThrow(/weight "w" \[2, 2\]: expected finite numbers/);
});
