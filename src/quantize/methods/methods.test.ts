/** @file GPTQ and HQQ on made matrices: what they promise against rounding to nearest. */
import { describe, expect, it } from "vitest";
import { Rng } from "../../util/rng.ts";
import { searchInputScale } from "../equalize/awq.ts";
import { type QuantSpec, resolveSpec, type SpecOptions, specOptions } from "../grid/spec.ts";
import { awq } from "./awq.ts";
import { gptq } from "./gptq.ts";
import { hqq } from "./hqq.ts";
import { dequantizeMatrix } from "./matrix.ts";
import type { LayerStats, QuantMethod, WeightMatrix } from "./method.ts";
import { nearest } from "./nearest.ts";

const specOf = (options: SpecOptions): QuantSpec => resolveSpec(specOptions.parse(options), "test");

function matrixOf(k: number, n: number, { groupSize = k, fold = 1, heavy = false, seed = 1 } = {}): WeightMatrix {
  const rng = new Rng(seed, "weights");
  const data = Float32Array.from({ length: k * n }, () => {
    const x = rng.normal() * 0.02;
    return heavy && rng.uniform() < 0.02 ? x * 8 : x;
  });
  return { name: "w", k, n, data, groupSize, fold, dtype: "float32" };
}

/** Inputs [samples, k] that share a few hidden factors, with channels of different size. */
function correlated(samples: number, k: number): Float32Array {
  const rng = new Rng(2, "inputs");
  const hidden = 12;
  const mix = Float32Array.from({ length: hidden * k }, () => rng.normal());
  const size = Float32Array.from({ length: k }, () => Math.exp(rng.normal() * 0.7));
  const x = new Float32Array(samples * k);
  for (let s = 0; s < samples; s++) {
    const factors = Float32Array.from({ length: hidden }, () => rng.normal());
    for (let i = 0; i < k; i++) {
      let value = rng.normal() * 0.5;
      for (let f = 0; f < hidden; f++)
        value += ((factors[f] as number) * (mix[f * k + i] as number)) / Math.sqrt(hidden);
      x[s * k + i] = value * (size[i] as number);
    }
  }
  return x;
}

function hessianOf(x: Float32Array, k: number): Float32Array {
  const h = new Float32Array(k * k);
  for (let s = 0; s < x.length / k; s++) {
    for (let i = 0; i < k; i++) {
      const a = x[s * k + i] as number;
      for (let j = i; j < k; j++) h[i * k + j] = (h[i * k + j] as number) + a * (x[s * k + j] as number);
    }
  }
  return h;
}

/** |X (W - W')|^2 */
function outputError(x: Float32Array, { k, n, data }: WeightMatrix, values: Float32Array): number {
  const delta = data.map((w, i) => w - (values[i] as number));
  let error = 0;
  for (let s = 0; s < x.length / k; s++) {
    const y = new Float64Array(n);
    for (let i = 0; i < k; i++) {
      const a = x[s * k + i] as number;
      for (let j = 0; j < n; j++) y[j] = (y[j] as number) + a * (delta[i * n + j] as number);
    }
    for (const v of y) error += v * v;
  }
  return error;
}

function run<O>(
  method: QuantMethod<O>,
  matrix: WeightMatrix,
  spec: QuantSpec,
  stats: LayerStats,
  options: object = {},
) {
  const quantized = method.quantize(matrix, spec, stats, method.options.parse(options));
  return { ...quantized, values: dequantizeMatrix(matrix, spec, quantized) };
}

describe("gptq", () => {
  const x = correlated(300, 96);
  const hessian = hessianOf(x, 96);

  it.each<[string, SpecOptions, number, number, object, number]>([
    ["int4 per channel", { dtype: "int4" }, 24, 96, {}, 0.5],
    ["int4 in groups of 32", { dtype: "int4" }, 24, 32, {}, 0.5],
    ["uint4 asymmetric in groups of 32", { dtype: "uint4" }, 40, 32, {}, 0.5],
    ["int4 in groups that don't divide", { dtype: "int4" }, 17, 40, {}, 0.5],
    ["int4 with act-order", { dtype: "int4" }, 24, 32, { actOrder: true }, 0.45],
    ["3 bits", { dtype: "int8", bits: 3 }, 24, 96, {}, 0.6],
    ["2 bits, least squares", { dtype: "int2", scale: "mse" }, 24, 16, {}, 0.7],
    ["8 bits", { dtype: "int8" }, 24, 96, {}, 0.5],
    ["one scale for all", { dtype: "int4" }, 20, 96, { fold: true }, 0.5],
  ])(
    "%s: less error at the output than rounding to nearest",
    (_, options, n, groupSize, { fold, ...own }: { fold?: boolean }, bound) => {
      const matrix = matrixOf(96, n, { groupSize, fold: fold ? n : 1 });
      const spec = specOf(options);
      const [a, b] = [run(gptq, matrix, spec, { hessian }, own), run(nearest, matrix, spec, {})];
      expect(a.scales.length).toBe(b.scales.length);
      expect(outputError(x, matrix, a.values) / outputError(x, matrix, b.values)).toBeLessThan(bound);
    },
  );

  it("is rounding to nearest where inputs are not correlated", () => {
    const diagonal = new Float32Array(96 * 96);
    for (let i = 0; i < 96; i++) diagonal[i * 97] = 1 + (i % 7);
    for (const actOrder of [false, true]) {
      for (const options of [{ dtype: "int4" }, { dtype: "uint4", scale: "mse" }] as const) {
        const matrix = matrixOf(96, 20, { groupSize: 32 });
        const a = run(gptq, matrix, specOf(options), { hessian: diagonal }, { actOrder });
        expect(a).toEqual(run(nearest, matrix, specOf(options), {}));
      }
    }
  });

  it("rounds the weights of inputs that were never active, and spreads no error to them", () => {
    const dead = hessian.slice();
    for (let i = 0; i < 96; i++) dead[i * 96 + 50] = dead[50 * 96 + i] = 0;
    const matrix = matrixOf(96, 8);
    const spec = specOf({ dtype: "int4" });
    const [a, b] = [run(gptq, matrix, spec, { hessian: dead }), run(nearest, matrix, spec, {})];
    expect(a.values.subarray(50 * 8, 51 * 8)).toEqual(b.values.subarray(50 * 8, 51 * 8));
    expect(a.values).not.toEqual(b.values);
  });

  it("reads the upper triangle only, and does not care about the Hessian's scale", () => {
    const full = hessian.map((_, at) => {
      const [i, j] = [Math.floor(at / 96), at % 96];
      return (i <= j ? hessian[at] : hessian[j * 96 + i]) as number;
    });
    const matrix = matrixOf(96, 8);
    const spec = specOf({ dtype: "int4" });
    const first = run(gptq, matrix, spec, { hessian });
    expect(run(gptq, matrix, spec, { hessian: full })).toEqual(first);
    expect(run(gptq, matrix, spec, { hessian: full.map((v) => v * 4) })).toEqual(first);
  });

  it("works on fewer samples than inputs, and with all inputs dead", () => {
    const few = hessianOf(correlated(3, 96), 96);
    const matrix = matrixOf(96, 8);
    const spec = specOf({ dtype: "int4" });
    expect(run(gptq, matrix, spec, { hessian: few }).values.every(Number.isFinite)).toBe(true);
    expect(run(gptq, matrix, spec, { hessian: new Float32Array(96 * 96) })).toEqual(run(nearest, matrix, spec, {}));
  });

  it("keeps to scales and codes given from outside", () => {
    const matrix = matrixOf(96, 8);
    const fixed = { scales: new Float32Array(8).fill(0.01), zeroPoints: new Int32Array(8) };
    const a = run(gptq, { ...matrix, fixed, range: { qmin: -3, qmax: 3 } }, specOf({ dtype: "int8" }), { hessian });
    expect(a.scales).toEqual(fixed.scales);
    expect([...new Int8Array(a.codes.buffer)].every((code) => Math.abs(code) <= 3)).toBe(true);
  });

  it("names what is wrong with its statistics", () => {
    const spec = specOf({ dtype: "int4" });
    expect(() => run(gptq, matrixOf(96, 8), spec, {})).toThrow(/weight "w": wrong statistics.*\[96, 96\], got none/);
    const broken = hessian.map((v, i) => (i === 7 * 97 ? Number.NaN : v));
    expect(() => run(gptq, matrixOf(96, 8), spec, { hessian: broken })).toThrow(/not positive definite/);
  });
});

describe("hqq", () => {
  const lp = (matrix: WeightMatrix, values: Float32Array) =>
    matrix.data.reduce((sum, w, i) => sum + Math.abs(w - (values[i] as number)), 0);

  it.each<[string, SpecOptions, number]>([
    ["uint4 in groups of 64", { dtype: "uint4" }, 0.98],
    ["int4 in groups of 64", { dtype: "int4" }, 0.95],
    ["uint2 in groups of 64", { dtype: "uint2" }, 0.9],
    ["uint4 from the least-squares scale", { dtype: "uint4", scale: "mse" }, 1],
  ])("%s: less absolute error on heavy-tailed weights than rounding to nearest", (_, options, bound) => {
    const matrix = matrixOf(256, 24, { groupSize: 64, heavy: true });
    const [a, b] = [run(hqq, matrix, specOf(options), {}), run(nearest, matrix, specOf(options), {})];
    expect(lp(matrix, a.values) / lp(matrix, b.values)).toBeLessThan(bound);
  });

  it("keeps integer zero points in range, and is never worse than its start", () => {
    const matrix = matrixOf(70, 5, { groupSize: 32 });
    const spec = specOf({ dtype: "uint4" });
    const [a, b] = [run(hqq, matrix, spec, {}), run(nearest, matrix, spec, {})];
    expect([...a.zeroPoints].every((zp) => zp >= 0 && zp <= 15)).toBe(true);
    expect(lp(matrix, a.values)).toBeLessThanOrEqual(lp(matrix, b.values) * 1.000001);
  });

  it("quantizes zeros to zero", () => {
    const matrix = { ...matrixOf(64, 4), data: new Float32Array(256) };
    expect(run(hqq, matrix, specOf({ dtype: "uint4" }), {}).values).toEqual(new Float32Array(256));
  });
});

describe("awq", () => {
  const k = 96;
  const x = correlated(300, k);
  const hessian = hessianOf(x, k);
  const meanAbs = Float32Array.from({ length: k }, (_, i) => {
    let sum = 0;
    for (let s = 0; s < 300; s++) sum += Math.abs(x[s * k + i] as number);
    return sum / 300;
  });

  it.each<[string, SpecOptions, number, boolean]>([
    ["int4 in groups of 32", { dtype: "int4" }, 32, false],
    ["uint4 in groups of 32", { dtype: "uint4" }, 32, true],
    ["int2 per channel", { dtype: "int2" }, 96, true],
    ["uint4 in groups that don't divide", { dtype: "uint4" }, 40, false],
  ])("%s: clipping lowers the error at the output", (_, options, groupSize, heavy) => {
    const matrix = matrixOf(k, 24, { groupSize, heavy });
    const [a, b] = [run(awq, matrix, specOf(options), { hessian }), run(nearest, matrix, specOf(options), {})];
    expect(outputError(x, matrix, a.values) / outputError(x, matrix, b.values)).toBeLessThan(0.95);
  });

  it("scaling inputs lowers the error at the output, as it says", () => {
    const spec = specOf({ dtype: "int4" });
    const matrix = matrixOf(k, 24, { groupSize: 32 });
    const { inputScale, alpha, ratio } = searchInputScale([matrix], spec, { hessian, meanAbs });
    expect(alpha).toBeGreaterThan(0);
    const data = matrix.data.map((w, i) => w * (inputScale[Math.floor(i / 24)] as number));
    const { values } = run(nearest, { ...matrix, data }, spec, {});
    const back = values.map((v, i) => v / (inputScale[Math.floor(i / 24)] as number));
    const plain = outputError(x, matrix, run(nearest, matrix, spec, {}).values);
    expect(outputError(x, matrix, back) / plain).toBeCloseTo(ratio, 3);
    expect(ratio).toBeLessThan(0.9);
  });

  it("judges by some of the outputs, and by all layers that read the input", () => {
    const spec = specOf({ dtype: "int4" });
    const layers = [matrixOf(k, 24, { groupSize: 32 }), matrixOf(k, 200, { groupSize: 32, seed: 2 })];
    const some = searchInputScale(layers, spec, { hessian, meanAbs }, { outputs: 64 });
    expect(some.ratio).toBeLessThan(0.95);
    expect(() => searchInputScale(layers, spec, { hessian })).toThrow(/expected mean \|x\| \[96\], got none/);
  });
});
