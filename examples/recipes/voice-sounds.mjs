/**
 * @file What the voice detector learns from: pieces of 32 ms, each with the state that the pieces before it left. Of a recording (16 kHz, 16 bits,
 * one channel) that VOICE names; without one, of made-up sounds: buzzes with formants, like vowels, noises and silence.
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { runtime } from "tersor";

const small = Boolean(process.env.SMALL);
const [RATE, PIECE, PIECES] = [16_000, 512, small ? 32 : 1800];
const model = fileURLToPath(new URL(`../../out/recipes${small ? "-small" : ""}/voice-16k.onnx`, import.meta.url));

export default async function* () {
  const wave = process.env.VOICE ? recorded(process.env.VOICE) : madeUp();
  const session = await runtime.inProcessRuntime("ort-node").create({ path: model }, { threads: 1 });
  let state = { dtype: "float32", dims: [2, 1, 128], data: new Float32Array(256) };
  for (let at = 0; at + PIECE <= wave.length; at += PIECE) {
    const input = { dtype: "float32", dims: [1, PIECE], data: wave.slice(at, at + PIECE) };
    yield { inputs: { input, state } };
    state = (await session.run({ input, state })).stateN;
  }
  await session.release();
}

function recorded(path) {
  const bytes = readFileSync(path).subarray(44);
  const length = Math.min(PIECES * PIECE, bytes.length >> 1);
  return Float32Array.from({ length }, (_, i) => bytes.readInt16LE(2 * i) / 32768);
}

/** Half a second each of a vowel, a noise, nothing, and so on; the same on every pass. */
function madeUp() {
  const random = (n) => {
    const x = Math.sin(n * 12.9898) * 43758.5453;
    return 2 * (x - Math.floor(x)) - 1;
  };
  return Float32Array.from({ length: PIECES * PIECE }, (_, i) => {
    const part = Math.floor((2 * i) / RATE);
    const t = i / RATE;
    if (part % 3 === 2) return 0.002 * random(i);
    if (part % 3 === 1) return 0.1 * random(i);
    const pitch = 110 + 60 * Math.abs(random(part));
    const formants = [500, 1500, 2500].map((middle) => middle * (1 + 0.4 * random(part + middle)));
    let sum = 0;
    for (let k = 1; k * pitch < 4000; k++)
      for (const middle of formants)
        sum += Math.exp(-(((k * pitch - middle) / 120) ** 2)) * Math.sin(2 * Math.PI * k * pitch * t);
    return 0.15 * sum;
  });
}
