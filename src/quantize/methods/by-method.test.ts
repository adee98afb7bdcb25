/** @file Every operator's weight through matrices and back: round to nearest gives what the streaming form gives. */
import { describe, expect, it } from "vitest";
import { float32 } from "../../tensor/tensor.ts";
import { Rng } from "../../util/rng.ts";
import { slicesOf, type WeightAxes } from "../slices.ts";
import { resolveSpec, type SpecOptions, specOptions } from "../spec.ts";
import { quantizeByMethod, quantizeNBitsByMethod } from "./by-method.ts";
import { quantizeNBits } from "./matmul-nbits.ts";
import { nearest } from "./nearest.ts";
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
    !granularity?.startsWith("group") || (dims[axes.group] as number) % 16 === 0;
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
