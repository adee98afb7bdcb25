/**
 * @file `node examples/recipes/make.mjs`: what the recipes begin with. Two small networks that read handwritten digits row by row, for
 * lstm.config.mjs and transformer.config.mjs; the voice detector of @ricky0123/vad-web at its one sampling rate, for voice.config.mjs.
 * Takes some minutes; with SMALL=1 seconds, and the digits are read badly.
 */
import { mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { nn, runRecipe, saveModel } from "tersor";

const networks = {
  lstm: [nn.lstm(96, { give: "last" }), nn.linear(10)],
  transformer: [
    nn.linear(64),
    nn.positions(32),
    nn.transformerEncoderBlock({ heads: 8 }),
    nn.transformerEncoderBlock({ heads: 8 }),
    nn.poolSteps("mean"),
    nn.linear(10),
  ],
};

const small = Boolean(process.env.SMALL);
const folder = fileURLToPath(new URL(`../../out/recipes${small ? "-small" : ""}`, import.meta.url));
mkdirSync(folder, { recursive: true });
for (const [name, layers] of Object.entries(networks)) {
  const untrained = `${folder}/${name}-untrained.onnx`;
  await saveModel(nn.build(layers, { input: [32, 32], name, seed: 1 }), untrained);
  const data = fileURLToPath(new URL("../article/train.mjs", import.meta.url));
  const finetune = { data, epochs: small ? 1 : 3, rate: 0.005, batchSize: 64, ...(small && { samples: 3840 }) };
  const { manifest } = await runRecipe({ model: untrained, output: `${folder}/${name}.onnx`, steps: [{ finetune }] });
  const { metric, after } = manifest.steps[0].report.validation;
  console.log(`${name}.onnx: ${metric.name} ${after.toFixed(1)} %`);
}

const detector = `${dirname(createRequire(import.meta.url).resolve("@ricky0123/vad-web"))}/silero_vad_v5.onnx`;
await runRecipe({
  model: detector,
  output: `${folder}/voice-16k.onnx`,
  steps: [{ simplify: { inputs: { sr: 16_000 } } }],
});
console.log("voice-16k.onnx: at 16 kHz");
