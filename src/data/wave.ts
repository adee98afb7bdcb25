/** @file WAV files: the RIFF container of uncompressed sound, read and written; and sound at another rate. */
import { TersorError } from "../util/errors.ts";
import { dataLimits } from "./limits.ts";

export interface Wave {
  /** Samples a second of each channel. */
  readonly sampleRate: number;
  /** Mean of all channels, within ±1 where the file holds integers. */
  readonly samples: Float32Array;
}

type ReadSample = (view: DataView, at: number) => number;

/** How a sample is read, by format tag (1: integers, 3: IEEE floats) and bits. Integers of 8 bits are unsigned, all others signed. */
const readers: Readonly<Record<string, ReadSample>> = {
  "1/8": (view, at) => (view.getUint8(at) - 128) / 128,
  "1/16": (view, at) => view.getInt16(at, true) / 2 ** 15,
  "1/24": (view, at) => (view.getUint16(at, true) + view.getInt8(at + 2) * 2 ** 16) / 2 ** 23,
  "1/32": (view, at) => view.getInt32(at, true) / 2 ** 31,
  "3/32": (view, at) => view.getFloat32(at, true),
  "3/64": (view, at) => view.getFloat64(at, true),
};

/** WAVE_FORMAT_EXTENSIBLE: the real tag opens the sub-format's GUID. */
const EXTENSIBLE = 0xfffe;
/** What programs that write to a pipe give as the length: all that is left. */
const OPEN_END = 0xffff_ffff;

/** Decodes a WAV file; `subject` names it. @throws bad-data for another or a damaged file, compressed sound, and no sound at all */
export function decodeWave(bytes: Uint8Array, subject: string): Wave {
  const fail = (what: string, advice = "Repair it, or leave it out: skipBad.") =>
    new TersorError("bad-data", `${subject}: not readable sound: ${what}. ${advice}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const tag = (at: number) => String.fromCharCode(...bytes.subarray(at, at + 4));
  if (bytes.length < 12 || tag(0) !== "RIFF" || tag(8) !== "WAVE")
    throw fail('expected a WAV file (it begins with "RIFF"), got another one', "Convert it: ffmpeg -i FILE FILE.wav");
  const chunks = new Map<string, { readonly at: number; readonly length: number }>();
  for (let at = 12; at + 8 <= bytes.length && !chunks.has("data"); ) {
    const [name, written] = [tag(at), view.getUint32(at + 4, true)];
    const length = written === OPEN_END ? bytes.length - at - 8 : written;
    if (at + 8 + length > bytes.length)
      throw fail(`its part "${name}" ends early: expected ${length} bytes, got ${bytes.length - at - 8}`);
    chunks.set(name, { at: at + 8, length });
    at += 8 + length + (length % 2);
  }
  const [format, data] = [chunks.get("fmt "), chunks.get("data")];
  if (!format || format.length < 16 || !data) throw fail('it lacks a part: expected "fmt " and then "data"');
  const field = (offset: number) => view.getUint16(format.at + offset, true);
  const [channels, bits, sampleRate] = [field(2), field(14), view.getUint32(format.at + 4, true)];
  const isExtensible = field(0) === EXTENSIBLE && format.length >= 26;
  const kind = isExtensible ? field(24) : field(0);
  const read = readers[`${kind}/${bits}`];
  if (!read)
    throw fail(
      `expected integers of 8, 16, 24 or 32 bits, or floats, got format ${kind} of ${bits} bits`,
      "Convert it: ffmpeg -i FILE -c:a pcm_s16le FILE.wav",
    );
  const step = bits / 8;
  const count = Math.floor(data.length / (step * channels));
  if (channels === 0 || count === 0) throw fail("it holds no sound");
  const [slowest, fastest] = dataLimits.sampleRate;
  if (sampleRate < slowest || sampleRate > fastest)
    throw fail(`expected a sample rate from ${slowest} to ${fastest} Hz, got ${sampleRate}`);
  const samples = new Float32Array(count);
  for (let i = 0; i < count; i++) {
    let sum = 0;
    for (let c = 0; c < channels; c++) sum += read(view, data.at + (i * channels + c) * step);
    samples[i] = sum / channels;
  }
  if (!samples.every(Number.isFinite)) throw fail("it holds values that are no numbers");
  return { sampleRate, samples };
}

/** A WAV file of one channel in 16-bit integers; what is beyond ±1 is cut. */
export function encodeWave({ sampleRate, samples }: Wave): Uint8Array {
  const length = 2 * samples.length;
  const bytes = new Uint8Array(44 + length);
  const view = new DataView(bytes.buffer);
  const tag = (at: number, name: string) => bytes.set(new TextEncoder().encode(name), at);
  tag(0, "RIFF");
  view.setUint32(4, 36 + length, true);
  tag(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  const fields = [1, 1, sampleRate & 0xffff, sampleRate >>> 16, (2 * sampleRate) & 0xffff, sampleRate >>> 15, 2, 16];
  for (const [i, value] of fields.entries()) view.setUint16(20 + 2 * i, value, true);
  tag(36, "data");
  view.setUint32(40, length, true);
  for (const [i, x] of samples.entries())
    view.setInt16(44 + 2 * i, Math.max(-32768, Math.min(32767, Math.round(x * 32768))), true);
  return bytes;
}

/** Zero crossings of the filter on each side, at the lower of the two rates. */
const REACH = 16;
/** Where the filter ends, as a share of half the lower rate: it needs room to fall. */
const ROLLOFF = 0.95;
const MOST_FILTERS = 2048;

/**
 * Sound at another rate: band-limited interpolation with a sinc under a Hann window (J. O. Smith, Digital Audio Resampling,
 * https://ccrma.stanford.edu/~jos/resample/), in double precision.
 */
export function resample({ sampleRate, samples }: Wave, rate: number): Float32Array {
  if (rate === sampleRate) return samples;
  const length = Math.ceil((samples.length * rate) / sampleRate);
  if (!(length <= dataLimits.soundSamples))
    throw new TersorError(
      "bad-data",
      `sound: too long at ${rate} Hz: expected at most ${dataLimits.soundSamples} samples, got ${length}. Cut it.`,
    );
  const common = greatestDivisor(sampleRate, rate);
  const [up, down] = [rate / common, sampleRate / common];
  // The cut-off as a share of half the input's rate, and how far the filter goes in input samples.
  const band = ROLLOFF * Math.min(1, up / down);
  const width = REACH / band;
  const reach = Math.ceil(width);
  const weight = (t: number) =>
    Math.abs(t) >= width ? 0 : band * sinc(band * t) * Math.cos((Math.PI * t) / (2 * width)) ** 2;
  // An output lies at one of `up` places between two inputs.
  const filters = new Map<number, Float64Array>();
  const filterAt = (phase: number) => {
    const known = filters.get(phase);
    if (known) return known;
    const filter = Float64Array.from({ length: 2 * reach + 1 }, (_, k) => weight(k - reach - phase / up));
    // Rates without a common divisor have a filter for every sample: no more are kept than pay off.
    if (filters.size < MOST_FILTERS) filters.set(phase, filter);
    return filter;
  };
  const out = new Float32Array(Math.ceil((samples.length * up) / down));
  for (let i = 0; i < out.length; i++) {
    const first = Math.floor((i * down) / up) - reach;
    const filter = filterAt((i * down) % up);
    let sum = 0;
    for (let k = 0; k < filter.length; k++) sum += (filter[k] as number) * (samples[first + k] ?? 0);
    out[i] = sum;
  }
  return out;
}

const sinc = (x: number) => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));

function greatestDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestDivisor(b, a % b);
}
