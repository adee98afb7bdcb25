/**
 * @file A voice detector (Silero: convolutions and an LSTM) with a quarter of its parameters gone: `npx tersor run examples/recipes/voice.config.mjs`, after
 * make.mjs, which fixes its sampling rate. With VOICE=FILE.wav it learns from a recording, else from made-up sounds.
 *
 * It learns from what it was before: its answers, and the state that it hands on. A state has its batch axis in the middle, so that pieces go one by
 * one; the gradients of eight make a step.
 */
import { defineConfig } from "tersor";

const small = Boolean(process.env.SMALL);
const folder = `../../out/recipes${small ? "-small" : ""}`;
const sounds = "voice-sounds.mjs";

export default defineConfig({
  model: `${folder}/voice-16k.onnx`,
  output: `${folder}/voice-small.onnx`,
  data: { path: sounds, take: small ? 24 : 1500 },
  steps: [
    {
      prune: {
        ratio: 0.25,
        by: "params",
        calibrate: sounds,
        calibrationSamples: small ? 24 : 512,
        compressed: false,
      },
    },
    {
      distill: {
        teacher: "original",
        soft: "mse",
        hints: [{ student: "stateN", teacher: "stateN" }],
        validation: 0,
        epochs: small ? 1 : 3,
        rate: 0.0005,
        batchSize: 1,
        accumulate: 8,
      },
    },
    { quantize: { dtype: "int8", granularity: "channel" } },
    { compare: { data: { path: sounds, skip: small ? 24 : 1500 }, ...(small && { runs: 0, compressed: false }) } },
  ],
});
