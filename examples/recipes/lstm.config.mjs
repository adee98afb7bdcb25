/**
 * @file A recurrent network with half its hidden units: `npx tersor run examples/recipes/lstm.config.mjs`, after make.mjs.
 *
 * Hidden units that little comes out of on 256 digits go, from all gates at once, and what reads them is solved anew; then the
 * network is trained on, and its weights become integers.
 */
import { defineConfig } from "tersor";

const small = Boolean(process.env.SMALL);
const folder = `../../out/recipes${small ? "-small" : ""}`;
const train = "../article/train.mjs";

export default defineConfig({
  model: `${folder}/lstm.onnx`,
  output: `${folder}/lstm-small.onnx`,
  data: train,
  steps: [
    { prune: { ratio: 0.5, calibrate: train, batchSize: 32 } },
    { finetune: { epochs: 1, rate: 0.001, batchSize: 64, ...(small && { samples: 3840 }) } },
    { quantize: { dtype: "int8", granularity: "channel" } },
    // The test digits, which nothing above has seen.
    { compare: { data: "../article/test.mjs", ...(small && { samples: 500, runs: 0, compressed: false }) } },
  ],
});
