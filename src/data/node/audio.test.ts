import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { collect, skippedSamples } from "../dataset.ts";
import type { InputInfo } from "../fit-input.ts";
import { LogMel } from "../log-mel.ts";
import { encodeWave } from "../wave.ts";
import { type DataSpec, openData } from "./open-data.ts";

const folder = mkdtempSync(join(tmpdir(), "tersor-audio-"));
afterAll(() => rmSync(folder, { recursive: true }));

function write(path: string, content: string | Uint8Array): void {
  mkdirSync(dirname(join(folder, path)), { recursive: true });
  writeFileSync(join(folder, path), content);
}

const tone = Float32Array.from({ length: 400 }, (_, i) => Math.round(8192 * Math.sin(i / 3)) / 32768);
const sound = (length: number) => encodeWave({ sampleRate: 8000, samples: tone.subarray(0, length) });
write("digits/one/a.wav", sound(400));
write("digits/two/b.WAV", sound(250));
write("bad/a.wav", sound(400));
write("bad/b.wav", sound(400).slice(0, 100));
write("bad/labels.csv", "file,label\na.wav,yes\nb.wav,no\n");
write("text/readme.md", "nothing to hear");

const input = (...dims: InputInfo["dims"]): InputInfo => ({ name: "x", dtype: "float32", dims });
const options = { sampleRate: 8000, mels: 8 };
const open = (spec: DataSpec, ...dims: InputInfo["dims"]) => openData(spec, { inputs: [input(...dims)], folder });
const read = async (spec: DataSpec, ...dims: InputInfo["dims"]) => collect(await open(spec, ...dims));

/** The same features without a file in between. */
const expected = new LogMel(
  {
    ...options,
    window: 200,
    hop: 80,
    fft: 256,
    fmin: 20,
    fmax: 4000,
    scale: "htk",
    area: false,
    centre: true,
    floor: 1e-6,
    log: "ln",
  },
  "x",
);

describe("a folder of recordings", () => {
  it("is known by its files, labelled by sub-folders, and gives log-mel features", async () => {
    const samples = await read({ path: "digits", ...options }, "N", "T", 8);
    expect(samples.map(({ id, label }) => [id, label])).toEqual([
      ["one/a.wav", 0],
      ["two/b.WAV", 1],
    ]);
    expect(samples[0]?.inputs.x).toMatchObject({ dims: [1, 6, 8], data: expected.compute(tone) });
    expect(samples[1]?.inputs.x?.dims).toEqual([1, 4, 8]);
  });

  it("gives what the model's dims say: bands first, so many frames, a channel, silence at the end", async () => {
    const [, first] = await read({ path: "digits", sampleRate: 8000 }, "N", 5, 8);
    const [, second] = await read({ path: "digits", sampleRate: 8000, layout: "mels-frames" }, "N", 1, 8, 5);
    const [a, b] = [first?.inputs.x, second?.inputs.x];
    expect([a?.dims, b?.dims]).toEqual([
      [1, 5, 8],
      [1, 1, 8, 5],
    ]);
    const at = (i: number, j: number) => a?.data[i * 8 + j];
    for (let t = 0; t < 5; t++) for (let m = 0; m < 8; m++) expect(b?.data[m * 5 + t]).toBe(at(t, m));
    expect(at(4, 3)).toBe(Math.fround(expected.silence));
    expect(at(3, 3)).not.toBe(Math.fround(expected.silence));
  });

  it("gives samples to a model of [N, samples], at its rate", async () => {
    const [whole] = await read({ path: "digits", sampleRate: 8000 }, "N", "L");
    expect(whole?.inputs.x).toMatchObject({ dims: [1, 400], data: tone });
    const [, padded] = await read({ path: "digits", sampleRate: 16_000 }, "N", 600);
    expect(padded?.inputs.x?.dims).toEqual([1, 600]);
    expect(padded?.inputs.x?.data.slice(500)).toEqual(new Float32Array(100));
  });

  it.each(["recording", "band"])("is normalized by %s, whatever is filled up", async (normalize) => {
    const [short, long] = await Promise.all(
      [5, 6].map((frames) => read({ path: "digits", ...options, normalize, frames }, "N", "T", 8)),
    );
    const values = [...(short?.[1]?.inputs.x?.data ?? [])].map(Number).slice(0, 32);
    expect(values.reduce((a, b) => a + b) / 32).toBeCloseTo(0, 5);
    expect(values.reduce((sum, x) => sum + x * x, 0) / 32).toBeCloseTo(1, 3);
    expect([...(long?.[1]?.inputs.x?.data ?? [])].slice(0, 32)).toEqual(values);
  });

  it("names a damaged file, or leaves it out", async () => {
    await expect(read({ path: "bad", ...options }, "N", "T", 8)).rejects.toThrow(
      /bad\/b.wav: not readable sound: its part "data" ends early: expected 800 bytes, got 56/,
    );
    const data = await open({ path: "bad", ...options, skipBad: true, classes: ["no", "yes"] }, "N", "T", 8);
    expect((await collect(data)).map(({ id, label }) => [id, label])).toEqual([["a.wav", 1]]);
    expect(skippedSamples(data)).toMatchObject([{ id: "b.wav" }]);
  });

  it.each<[string, DataSpec, InputInfo["dims"], RegExp]>([
    ["an image", { path: "digits" }, ["N", 3, 32, 32], /takes no sound: expected \[N, samples\]/],
    ["other mels", { path: "digits", mels: 9 }, ["N", "T", 8], /wrong shape: expected float32 \[N, T, 8\]/],
    [
      "a folder of text",
      { path: "text", format: "audio" },
      ["N", "T", 8],
      /no recordings: expected files such as .wav/,
    ],
    ["a wrong option", { path: "digits", hop: 0 }, ["N", "T", 8], /\(audio\): "hop": too small/],
  ])("refuses %s", async (_, spec, dims, message) => {
    await expect(read(spec, ...dims)).rejects.toThrow(message);
  });
});
