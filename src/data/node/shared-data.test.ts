import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { collect } from "../dataset.ts";
import type { InputInfo } from "../fit-input.ts";
import { openData } from "./open-data.ts";

const folder = fileURLToPath(new URL("../../../../shared/data", import.meta.url));
const input = (name: string, dtype: InputInfo["dtype"], ...dims: InputInfo["dims"]): InputInfo => ({
  name,
  dtype,
  dims,
});

/** Skipped where the shared data are not beside the checkout. */
describe.skipIf(!existsSync(folder))("the shared data", () => {
  it("CIFAR-10: 2000 normalized pictures", async () => {
    const labels = { path: "cifar10-jpeg/test_y.u8.bin", dtype: "uint8" };
    const mean = [0.485, 0.456, 0.406];
    const std = [0.229, 0.224, 0.225];
    const path = "cifar10-jpeg/test_x.u8.bin";
    const classes = "cifar10-jpeg/classes.json";
    const spec = {
      path,
      dtype: "uint8",
      dims: [32, 32, 3],
      stored: "nhwc",
      scale: 1 / 255,
      mean,
      std,
      labels,
      classes,
    };
    const data = await openData(spec, { inputs: [input("input", "float32", "N", 3, 32, 32)], folder });
    const read = await collect(data);
    expect(read).toHaveLength(2000);
    // Back to [0, 1] the channel means are those of CIFAR-10: 0.491, 0.482, 0.447.
    const sums = [0, 0, 0];
    for (const { inputs } of read) {
      const values = inputs.input?.data as Float32Array;
      values.forEach((value, i) => {
        sums[i >> 10] = (sums[i >> 10] as number) + value;
      });
    }
    const means = sums.map((sum, c) => (sum / (2000 * 1024)) * (std[c] as number) + (mean[c] as number));
    expect(means[0]).toBeCloseTo(0.491, 1);
    expect(means[1]).toBeCloseTo(0.482, 1);
    expect(means[2]).toBeCloseTo(0.447, 1);
    expect(read[0]?.inputs.input?.dims).toEqual([1, 3, 32, 32]);
    expect(new Set(read.map(({ label }) => label)).size).toBe(10);
  });

  it("keyword spotting: 1000 utterances", async () => {
    const labels = { path: "mlperf-kws/test_y.u8.bin", dtype: "uint8" };
    const path = "mlperf-kws/test_x.i8.bin";
    const spec = { path, dtype: "int8", dims: [1, 49, 10], zeroPoint: 83, scale: 0.5847089289276733, labels };
    const data = await openData(spec, { inputs: [input("mfcc", "float32", "N", 1, 49, 10)], folder });
    const read = await collect(data);
    expect(read).toHaveLength(1000);
    expect(read[0]?.inputs.mfcc?.dims).toEqual([1, 1, 49, 10]);
    const whole = (read[0]?.inputs.mfcc?.data[0] as number) / 0.5847089289276733;
    expect(whole).toBeCloseTo(Math.round(whole), 4);
  });

  it("stories260k: 46,986 tokens that count", async () => {
    const path = "stories260k/tokens.i16.bin";
    const spec = { path, dtype: "int16", dims: [257], nextToken: { padding: -1 } };
    const data = await openData(spec, { inputs: [input("input_ids", "int64", "B", "T")], folder });
    const read = await collect(data);
    expect(read).toHaveLength(189);
    expect(read[0]?.inputs.input_ids).toMatchObject({ dtype: "int64", dims: [1, 256] });
    const counted = read
      .flatMap(({ label }) => Array.from((label as { data: BigInt64Array }).data))
      .filter((id) => id >= 0n);
    expect(counted).toHaveLength(46_986);
  });

  it("OCR lines: pictures 48 high with their text", async () => {
    const spec = { path: "ocr-lines", colour: "grey", mean: 0.5, std: 0.5, take: 2 };
    const data = await openData(spec, { inputs: [input("x", "float32", "N", 3, 48, "W")], folder });
    const [first] = await collect(data);
    expect(first?.label).toBe("To comfort Edward with our company.");
    expect(first?.inputs.x?.dims.slice(0, 3)).toEqual([1, 3, 48]);
  });
});
