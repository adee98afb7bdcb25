import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { batches, unbatch } from "../data/batch.ts";
import { type DataSpec, openData } from "../data/node/open-data.ts";
import { ortNode } from "../runtime/ort-node.ts";
import { metricForLabel } from "./choose-metric.ts";

const folder = fileURLToPath(new URL("../../../shared/data", import.meta.url));

const cifar = {
  path: "cifar10-jpeg/test_x.u8.bin",
  dtype: "uint8",
  dims: [32, 32, 3],
  stored: "nhwc",
  scale: 1 / 255,
  mean: [0.485, 0.456, 0.406],
  std: [0.229, 0.224, 0.225],
  labels: { path: "cifar10-jpeg/test_y.u8.bin", dtype: "uint8" },
};
const keywords = {
  path: "mlperf-kws/test_x.i8.bin",
  dtype: "int8",
  dims: [1, 49, 10],
  zeroPoint: 83,
  scale: 0.5847089289276733,
  labels: { path: "mlperf-kws/test_y.u8.bin", dtype: "uint8" },
};
const stories = { path: "stories260k/tokens.i16.bin", dtype: "int16", dims: [257], nextToken: { padding: -1 } };

/** Skipped where the shared data are not beside the checkout. The numbers are those of its README. */
describe.skipIf(!existsSync(folder))("models on the shared data", () => {
  it.each<[string, DataSpec, string, number]>([
    ["models/resnet20_cifar10.onnx", cifar, "top-1", 81.0],
    ["models/mlperf_kws_dscnn.onnx", keywords, "top-1", 91.5],
    ["stories260k/stories260K.onnx", stories, "perplexity", 4.882],
  ])("%s does as well as it is known to", async (model, spec, name, wanted) => {
    const session = await ortNode().create({ path: `${folder}/${model}` });
    const data = await openData(spec, { inputs: session.inputs, folder });
    const first = await data.at?.(0);
    const metric = first && metricForLabel(first);
    expect(metric?.name).toBe(name);
    const judge = metric?.create();
    for await (const { samples, inputs } of batches(data, { size: 50 })) {
      const outputs = unbatch(await session.run(inputs), samples.length);
      for (const [index, sample] of samples.entries()) judge?.add(outputs[index] ?? {}, sample);
    }
    await session.release();
    expect(judge?.value()).toBeCloseTo(wanted, 2);
  });
});
