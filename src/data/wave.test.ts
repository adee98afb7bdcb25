import { describe, expect, it } from "vitest";
import { decodeWave, encodeWave, resample } from "./wave.ts";

const values = [0, 0.5, -0.5, 0.25, -1, 0.125];

/** A WAV file of any kind, with an odd part in front of the data, as editors write them. */
function wave(kind: number, bits: number, write: (view: DataView, at: number, x: number) => void, channels = 1) {
  const step = bits / 8;
  const header = 12 + 24 + 8 + 4 + 8;
  const bytes = new Uint8Array(header + values.length * step);
  const view = new DataView(bytes.buffer);
  const put = (at: number, text: string) => bytes.set(new TextEncoder().encode(text), at);
  put(0, "RIFF");
  put(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, kind, true);
  view.setUint16(22, channels, true);
  view.setUint32(24, 8000, true);
  view.setUint16(34, bits, true);
  put(36, "LIST");
  view.setUint32(40, 3, true);
  put(48, "data");
  view.setUint32(52, values.length * step, true);
  for (const [i, x] of values.entries()) write(view, header + i * step, x);
  return bytes;
}

const int24 = (view: DataView, at: number, x: number) => {
  view.setUint16(at, (x * 2 ** 23) & 0xffff, true);
  view.setInt8(at + 2, (x * 2 ** 23) >> 16);
};
const pcm16 = wave(1, 16, (view, at, x) => view.setInt16(at, x * 2 ** 15, true));

describe("WAV files", () => {
  it.each([
    ["8 bits", wave(1, 8, (view, at, x) => view.setUint8(at, x * 128 + 128))],
    ["16 bits", pcm16],
    ["24 bits", wave(1, 24, int24)],
    ["32 bits", wave(1, 32, (view, at, x) => view.setInt32(at, x * 2 ** 31, true))],
    ["float", wave(3, 32, (view, at, x) => view.setFloat32(at, x, true))],
    ["double", wave(3, 64, (view, at, x) => view.setFloat64(at, x, true))],
  ])("of %s are read exactly", (_, bytes) => {
    const { sampleRate, samples } = decodeWave(bytes, "a.wav");
    expect(sampleRate).toBe(8000);
    expect([...samples]).toEqual(values);
  });

  it("give the mean of their channels", () => {
    const stereo = wave(3, 32, (view, at, x) => view.setFloat32(at, x, true), 2);
    expect([...decodeWave(stereo, "a.wav").samples]).toEqual([0.25, -0.125, -0.4375]);
  });

  it("are read as they were written, but for rounding", () => {
    const samples = Float32Array.from({ length: 101 }, (_, i) => Math.sin(i));
    const read = decodeWave(encodeWave({ sampleRate: 48_000, samples }), "a.wav");
    expect(read.sampleRate).toBe(48_000);
    expect(Math.max(...read.samples.map((x, i) => Math.abs(x - (samples[i] as number))))).toBeLessThan(2 ** -15);
  });

  it.each([
    ["another file", new TextEncoder().encode("OggS and so on"), /expected a WAV file/],
    ["nothing", new Uint8Array(0), /expected a WAV file/],
    ["a file that ends early", pcm16.slice(0, -3), /its part "data" ends early: expected 12 bytes, got 9/],
    ["a file without data", pcm16.slice(0, 36), /lacks a part/],
    ["compressed sound", wave(85, 16, () => {}), /format 85 of 16 bits. Convert it/],
    ["12-bit integers", wave(1, 12, () => {}), /format 1 of 12 bits/],
    ["NaN", wave(3, 32, (view, at) => view.setFloat32(at, Number.NaN, true)), /values that are no numbers/],
    ["no channels", wave(1, 16, () => {}, 0), /holds no sound/],
  ])("refuse %s", (_, bytes, message) => {
    expect(() => decodeWave(bytes, "a.wav")).toThrow(message);
  });
});

describe("resampling", () => {
  const tone = (rate: number, hertz: number, count: number) =>
    Float32Array.from({ length: count }, (_, i) => Math.sin((2 * Math.PI * hertz * i) / rate));

  it.each([
    [8000, 16_000],
    [44_100, 16_000],
    [16_000, 8000],
  ])("from %i to %i Hz keeps a tone", (from, to) => {
    const out = resample({ sampleRate: from, samples: tone(from, 440, from / 10) }, to);
    const wanted = tone(to, 440, out.length);
    const inner = [...out].slice(100, -100).map((x, i) => Math.abs(x - (wanted[i + 100] as number)));
    expect(out).toHaveLength(to / 10);
    expect(Math.max(...inner)).toBeLessThan(2e-3);
  });

  it("removes what the lower rate cannot hold", () => {
    const out = resample({ sampleRate: 16_000, samples: tone(16_000, 6000, 3200) }, 8000);
    expect(Math.max(...out.slice(100, -100).map(Math.abs))).toBeLessThan(0.01);
  });
});
