/**
 * @file A transformer without a third of its work: `npx tersor run examples/recipes/transformer.config.mjs`, after make.mjs.
 *
 * Heads and hidden units of the feed-forward parts go. Then it learns from what it was before, without labels, and its weights become integers.
 */
import { defineConfig } from "tersor";

const small = Boolean(process.env.SMALL);
const folder = `../../out/recipes${small ? "-small" : ""}`;
const train = "../article/train.mjs";

export default defineConfig({
  model: `${folder}/transformer.onnx`,
  output: `${folder}/transformer-small.onnx`,
  data: train,
  steps: [
    {
      prune: {
        ratio: 0.33,
        by: "macs",
        calibrate: train,
        batchSize: 32,
      },
    },
    {
      distill: {
        teacher: "original",
        labels: 0,
        epochs: 1,
        rate: 0.001,
        batchSize: 64,
        ...(small && { samples: 1280 }),
      },
    },
    { quantize: { dtype: "int8", granularity: "channel" } },
    // The test digits, which nothing above has seen.
    { compare: { data: "../article/test.mjs", ...(small && { samples: 500, runs: 0, compressed: false }) } },
  ],
});
