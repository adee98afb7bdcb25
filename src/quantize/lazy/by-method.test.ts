/** @file Every operator's weight through matrices and back: round to nearest gives what the streaming form gives. */
import { describe, expect, it } from "vitest";
import { float32 } from "../../tensor/tensor.ts";
import { Rng } from "../../util/rng.ts";
import { slicesOf, type WeightAxes } from "../grid/slices.ts";
import { resolveSpec, type SpecOptions, specOptions } from "../grid/spec.ts";
import { gptq } from "../methods/gptq.ts";
import { nearest } from "../methods/nearest.ts";
import { quantizeByMethod, quantizeNBitsByMethod } from "./by-method.ts";
import { quantizeNBits } from "./matmul-nbits.ts";
import { quantizeRtn } from "./rtn.ts";

const layers: Readonly<Record<string, { dims: readonly number[]; axes: WeightAxes; groups?: number }>> = {
  MatMul: { dims: [64, 24], axes: { channel: 1, group: 0 } },
  "Gemm transB": { dims: [24, 64], axes: { channel: 0, group: 1 } },
  "batched MatMul": { dims: [3, 32, 20], axes: { channel: 2, group: 1 } },
  Conv: { dims: [10, 32, 3, 3], axes: { channel: 0, group: 1 } },
  "Conv in groups": { dims: [12, 16, 3, 3], axes: { channel: 0, group: 1 }, groups: 3 },
  "depthwise Conv": { dims: [32, 1, 3, 3], axes: { channel: 0, group: 1 }, groups: 32 },
  ConvTranspose: { dims: [32, 5, 2, 2], axes: { channel: 1, group: 0 } },
  "ConvTranspose in groups": { dims: [32, 5, 2, 2], axes: { channel: 1, group: 0 }, groups: 2 },
  LSTM: { dims: [2, 24, 32], axes: { channel: 1, group: 2 } },
};
const settings: readonly SpecOptions[] = [
  {},
  { dtype: "uint4", granularity: "group:16" },
  { dtype: "int4", scale: "mse" },
  { dtype: "int2", granularity: "group:16", scale: "mse" },
  { dtype: "uint8", granularity: "tensor" },
];

describe.each(Object.entries(layers))("%s", (_, { dims, axes, groups = 1 }) => {
  const fits = ({ granularity }: SpecOptions) =>
    !String(granularity).startsWith("group") || (dims[axes.group] as number) % 16 === 0;
  it.each(settings.filter(fits).map((options) => [JSON.stringify(options), options] as const))("%s", (_, options) => {
    const spec = resolveSpec(specOptions.parse(options), "test");
    const rng = new Rng(4, "weight");
    const weight = float32(
      dims,
      Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => rng.normal()),
    );
    const slices = slicesOf(dims, axes, spec.granularity, "w");
    const job = { name: "w", weight, slices, spec, seed: 0, measure: true };
    const run = { method: nearest, options: {}, stats: () => ({}), axes, groups };
    const [a, b] = [quantizeByMethod(job, run), quantizeRtn(job)];
    expect(a.scale.toNumbers()).toEqual(b.scale.toNumbers());
    expect(a.zeroPoint.toNumbers()).toEqual(b.zeroPoint.toNumbers());
    expect(a.codes.toNumbers()).toEqual(b.codes.toNumbers());
    expect(a.sqnr()).toBeCloseTo(b.sqnr() as number, 4);
    expect(a.codes.toNumbers()).toEqual(b.codes.toNumbers());
  });
});

it.each<[string, SpecOptions]>([
  ["4 bits", { dtype: "int4" }],
  ["4 bits with zero points", { dtype: "uint4" }],
  ["2 bits, least squares", { dtype: "uint2", scale: "mse" }],
  ["8 bits", { dtype: "int8" }],
])("MatMulNBits, %s, the last block short", (_, options) => {
  const spec = resolveSpec(specOptions.parse({ granularity: "group:32", ...options }), "test");
  const rng = new Rng(5, "weight");
  const weight = float32(
    [80, 21],
    Float32Array.from({ length: 80 * 21 }, () => rng.normal()),
  );
  const slices = { form: "columns", blocks: 1, rows: 1, n: 1, fold: 1, count: 1, scaleDims: [] } as const;
  const job = { name: "w", weight, slices, spec, seed: 0, measure: true };
  const run = { method: nearest, options: {}, stats: () => ({}), axes: { channel: 1, group: 0 } };
  const [a, b] = [quantizeNBitsByMethod(job, 32, run), quantizeNBits(job, 32)];
  expect(a.packed.toNumbers()).toEqual(b.packed.toNumbers());
  expect(a.scales.toNumbers()).toEqual(b.scales.toNumbers());
  expect(a.zeroPoints?.toNumbers()).toEqual(b.zeroPoints?.toNumbers());
  expect(a.sqnr()).toBeCloseTo(b.sqnr() as number, 4);
});

it.each<[string, SpecOptions, number]>([
  ["scales per channel", { dtype: "int4" }, 1],
  ["scales over blocks of input channels", { dtype: "int4", granularity: "group:16" }, 1],
  ["in groups, each with statistics of its own", { dtype: "uint4", granularity: "group:16" }, 2],
])("GPTQ of a Conv, %s: statistics come in the order of the stored weights", (_, options, groups) => {
  const spec = resolveSpec(specOptions.parse(options), "test");
  const [outputs, channels, kernel, samples] = [12, 32, 4, 200];
  const k = channels * kernel;
  const rng = new Rng(6, "conv");
  const dims = [outputs, channels, 2, 2];
  const weight = float32(
    dims,
    Float32Array.from({ length: outputs * k }, () => rng.normal()),
  );
  // Inputs of each group share one factor per kernel position: order matters.
  const inputs = Array.from({ length: groups }, () => {
    const x = new Float32Array(samples * k);
    for (let s = 0; s < samples; s++) {
      const factor = Array.from({ length: kernel }, () => rng.normal());
      for (let i = 0; i < k; i++) x[s * k + i] = (factor[i % kernel] as number) * (1 + i / k) + rng.normal() * 0.2;
    }
    return x;
  });
  const hessians = inputs.map((x) =>
    Float32Array.from({ length: k * k }, (_, at) => {
      let sum = 0;
      for (let s = 0; s < samples; s++)
        sum += (x[s * k + Math.floor(at / k)] as number) * (x[s * k + (at % k)] as number);
      return sum;
    }),
  );
  const axes = { channel: 0, group: 1 };
  const job = { name: "w", weight, slices: slicesOf(dims, axes, spec.granularity, "w"), spec, seed: 0, measure: false };
  const error = (method: typeof gptq | typeof nearest) => {
    const stats = (part: number) => ({ hessian: hessians[part] });
    const settings = { method, options: method.options.parse({}), stats, axes, groups };
    const quantized = quantizeByMethod(job, settings as Parameters<typeof quantizeByMethod>[1]);
    const [codes, scale, zero] = [quantized.codes, quantized.scale, quantized.zeroPoint].map((t) => t.toNumbers());
    const blocks = spec.granularity.per === "group" ? channels / 16 : 1;
    const delta = weight.toFloat32().map((w, at) => {
      const [o, i] = [Math.floor(at / k), at % k];
      const block = Math.floor(i / kernel / 16);
      const slice = blocks === 1 ? o : (o * blocks + block) * kernel + (i % kernel);
      return w - ((codes?.[at] as number) - (zero?.[slice] as number)) * (scale?.[slice] as number);
    });
    let total = 0;
    for (let o = 0; o < outputs; o++) {
      const x = inputs[Math.floor((o * groups) / outputs)] as Float32Array;
      for (let s = 0; s < samples; s++) {
        let y = 0;
        for (let i = 0; i < k; i++) y += (x[s * k + i] as number) * (delta[o * k + i] as number);
        total += y * y;
      }
    }
    return total;
  };
  expect(error(gptq) / error(nearest)).toBeLessThan(0.3);
});
