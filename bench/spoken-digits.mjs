/** @file Spoken digits: the recordings as data of a recipe, and how a recurrent network is trained on them. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { encodeWave } from "../dist/data/wave.js";
import * as nn from "../dist/nn/index.js";

/** The recordings as WAV files, a folder a digit: takes 0 to 4 are the test set, 5 to 8 judge the epochs. */
export function spokenDigits(shared, folder) {
  const source = join(shared, "data", "spoken-digits");
  const { items } = JSON.parse(readFileSync(join(source, "index.json"), "utf8"));
  const bytes = readFileSync(join(source, "pcm.i16.bin"));
  for (const [digit, speaker, take, offset, length] of items) {
    const part = take < 5 ? "test" : take < 9 ? "validation" : "training";
    const samples = Float32Array.from({ length }, (_, i) => bytes.readInt16LE(2 * (offset + i)) / 32768);
    const place = join(folder, part, `${digit}`);
    mkdirSync(place, { recursive: true });
    writeFileSync(join(place, `${speaker}-${take}.wav`), encodeWave({ sampleRate: 8000, samples }));
  }
  return (part) => ({ path: join(folder, part), sampleRate: 8000, mels: 40, normalize: "recording", shuffle: true });
}

/** A recurrent layer over log-mel features [64, 40], and the digit. */
export const spokenLayers = (layer) => [layer, nn.poolSteps("mean"), nn.dropout(0.3), nn.linear(10)];

/** Options of the step that trains it from nothing. */
export const spokenStep = (data) => ({
  data: data("training"),
  validation: data("validation"),
  epochs: 15,
  batchSize: 32,
  rate: 0.004,
  schedule: { name: "cosine", warmup: 0.1 },
  augment: { noise: 0.2 },
  clipNorm: 1,
});
