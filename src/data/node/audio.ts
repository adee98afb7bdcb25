/** @file Data format: a folder of WAV files as log-mel features or as samples, labelled by its sub-folders or by a file of labels. */
import { z } from "zod";
import { type HostTensor, hostTensor } from "../../tensor/host-tensor.ts";
import { TersorError } from "../../util/errors.ts";
import { type InputInfo, onlyInput, shapeText } from "../fit-input.ts";
import { LogMel, logNames, melScales } from "../log-mel.ts";
import { classesOption, commonOptions } from "../options.ts";
import { decodeWave, resample } from "../wave.ts";
import { type FileKind, filesDataset } from "./file-labels.ts";
import { filesBelow, readBytes } from "./files.ts";
import { defineFormat } from "./format.ts";

const recordings: FileKind = { pattern: /\.wave?$/i, many: "recordings", one: "recording", endings: ".wav" };

const positive = z.number().positive();
const layouts = ["frames-mels", "mels-frames"] as const;

const options = z.strictObject({
  ...commonOptions,
  sampleRate: z.int().positive().default(16_000).describe("Samples a second; other recordings are resampled to it."),
  window: positive.default(25).describe("Milliseconds of a window."),
  hop: positive.default(10).describe("Milliseconds from one window to the next."),
  fft: z.int().positive().optional().describe("Size of the transform; the next power of 2 when absent."),
  mels: z.int().positive().optional().describe("Bands; what the model's dims say when absent, else 40."),
  fmin: z.number().min(0).default(20).describe("Lower edge of the lowest band, Hz."),
  fmax: positive.optional().describe("Upper edge of the highest band, Hz; half the sample rate when absent."),
  scale: z.enum(melScales).default("htk").describe("The mel scale: 2595 log10(1 + f/700), or Slaney's."),
  area: z.boolean().default(false).describe("Bands of the same area, in place of the same height."),
  centre: z.boolean().default(true).describe("The first window is centred at the beginning, with the ends mirrored."),
  log: z.enum(logNames).default("ln").describe("The logarithm of the power."),
  floor: positive.default(1e-6).describe("The least power that is told from silence."),
  normalize: z
    .enum(["none", "recording", "band"])
    .default("none")
    .describe("Take each recording's features, or each of its bands', to mean 0 and deviation 1."),
  mean: z.number().default(0).describe("Subtracted from all features, after that."),
  std: positive.default(1).describe("Divided by."),
  frames: z
    .int()
    .positive()
    .optional()
    .describe("Cut to so many windows, or filled up with silence; what the model's dims say when absent."),
  layout: z.enum(layouts).optional().describe("Order of the last two dims; decided by them when absent."),
  labels: z.string().optional().describe("A .json, .csv or .txt file of labels; sub-folders are classes when absent."),
  classes: classesOption,
});
type AudioOptions = z.infer<typeof options>;

export const audioFormat = defineFormat({
  name: "audio",
  summary:
    "A folder of WAV files as log-mel features, or as samples for a model of [N, samples]; classes as for images.",
  options,
  async matches(path, isFolder) {
    const files = isFolder ? await filesBelow(path) : [path];
    return files.some((file) => recordings.pattern.test(file));
  },
  async open(options, context) {
    const root = context.resolve(options.path);
    const read = readerFor(onlyInput(context.inputs, root), options, root);
    return filesDataset(options, context, recordings, async (path) =>
      read(resample(decodeWave(await readBytes(path), path), options.sampleRate)),
    );
  },
});

type Reader = (samples: Float32Array) => HostTensor;

/** [N, samples] takes sound as it is; [N, …, frames, mels] and [N, …, mels, frames] take features. */
function readerFor(input: InputInfo, options: AudioOptions, subject: string): Reader {
  const { dims } = input;
  const isPlain = dims.length === 3 || (dims.length === 4 && (dims[1] === 1 || typeof dims[1] !== "number"));
  if (dims.length === 2) {
    const length = dims[1];
    return (samples) => {
      const data = typeof length === "number" ? fitted(samples, length, 0) : samples;
      return hostTensor("float32", [1, data.length], data);
    };
  }
  if (isPlain) return featureReader(input, options, subject);
  throw new TersorError(
    "bad-data",
    `${subject}: input "${input.name}" takes no sound: expected [N, samples], [N, frames, mels], [N, mels, frames] or one of these with 1 channel, got ${shapeText(input)}.`,
  );
}

function featureReader({ name, dims }: InputInfo, options: AudioOptions, subject: string): Reader {
  const [before, last] = dims.slice(-2);
  const layout =
    options.layout ?? (typeof before === "number" && typeof last !== "number" ? "mels-frames" : layouts[0]);
  const isTurned = layout === "mels-frames";
  const [declaredFrames, declaredMels] = isTurned ? [last, before] : [before, last];
  const wanted = (given: number | undefined, declared: unknown) =>
    given ?? (typeof declared === "number" ? declared : undefined);
  const mels = wanted(options.mels, declaredMels) ?? 40;
  const frames = wanted(options.frames, declaredFrames);
  const inSamples = (ms: number) => Math.max(1, Math.round((ms * options.sampleRate) / 1000));
  const window = inSamples(options.window);
  const about = {
    window,
    hop: inSamples(options.hop),
    fft: options.fft ?? 2 ** Math.ceil(Math.log2(window)),
    fmax: options.fmax ?? options.sampleRate / 2,
    mels,
  };
  const features = new LogMel({ ...options, ...about }, `${subject}: input "${name}"`);
  return (samples) => {
    const computed = features.compute(samples);
    const all = frames === undefined ? computed : fitted(computed, frames * mels, features.silence);
    standardize(all, mels, options.normalize, Math.min(computed.length, all.length));
    const count = all.length / mels;
    const values = all.map((x) => (x - options.mean) / options.std);
    const data = isTurned ? transposed(values, count, mels) : values;
    const lead = dims.slice(0, -2).map(() => 1);
    return hostTensor("float32", [...lead, ...(isTurned ? [mels, count] : [count, mels])], data);
  };
}

/** To mean 0 and deviation 1, in place, by the first `own` values: what was filled up does not count. */
function standardize(values: Float32Array, mels: number, over: AudioOptions["normalize"], own: number): void {
  const groups = { none: 0, recording: 1, band: mels }[over];
  for (let group = 0; group < groups; group++) {
    const count = own / groups;
    let [sum, squares] = [0, 0];
    for (let i = group; i < own; i += groups) sum += values[i] as number;
    const mean = sum / count;
    for (let i = group; i < own; i += groups) squares += ((values[i] as number) - mean) ** 2;
    const std = Math.sqrt(squares / count) + 1e-5;
    for (let i = group; i < values.length; i += groups) values[i] = ((values[i] as number) - mean) / std;
  }
}

function fitted(values: Float32Array, length: number, fill: number): Float32Array {
  if (values.length >= length) return values.slice(0, length);
  const out = new Float32Array(length).fill(fill);
  out.set(values);
  return out;
}

function transposed(values: Float32Array, rows: number, columns: number): Float32Array {
  return values.map((_, i) => values[(i % rows) * columns + Math.floor(i / rows)] as number);
}
