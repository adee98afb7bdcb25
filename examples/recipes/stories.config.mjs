/**
 * @file A language model from its file, with fewer attention heads and hidden units, in integers:
 * `STORIES=FOLDER npx tersor run examples/recipes/stories.config.mjs`, after make.mjs.
 *
 * FOLDER holds stories260K.onnx (a Llama of 260,000 parameters, by Andrej Karpathy; github.com/karpathy/llama2.c) and tokens.i16.bin: stories of
 * 257 tokens, padded with -1. The model learns from what it was before, on the first 63 stories; the others judge it.
 */
import { resolve } from "node:path";
import { defineConfig } from "tersor";

const small = Boolean(process.env.SMALL);
const place = resolve(process.env.STORIES ?? ".");
const stories = { path: `${place}/tokens.i16.bin`, dtype: "int16", dims: [257], nextToken: { padding: -1 } };
const seen = { ...stories, take: small ? 28 : 63 };

export default defineConfig({
  model: `${place}/stories260K.onnx`,
  output: `../../out/recipes${small ? "-small" : ""}/stories-small.onnx`,
  data: seen,
  steps: [
    {
      prune: {
        ratio: 0.2,
        by: "params",
        // All layers add to one residual stream: what is taken from each part is decided by what that costs.
        ranking: "sensitivity",
        calibrate: seen,
        batchSize: 7,
      },
    },
    { distill: { teacher: "original", labels: 0, validation: 0, epochs: small ? 3 : 8, rate: 0.001, batchSize: 7 } },
    { quantize: { mode: "dynamic" } },
    {
      compare: {
        data: { ...stories, skip: 63, ...(small && { take: 9 }) },
        metric: "perplexity",
        ...(small && { runs: 0, compressed: false }),
      },
    },
  ],
});
