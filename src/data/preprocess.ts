/** @file From stored numbers to what a model was trained on: zero point, scale, mean, standard deviation and layout. */
import { TersorError } from "../util/errors.ts";

export type Layout = "nchw" | "nhwc";

/** y = ((x − zeroPoint) · scale − mean[c]) / std[c]; mean and std have one value, or one per channel. */
export interface Normalization {
  readonly zeroPoint?: number;
  readonly scale?: number;
  readonly mean?: readonly number[];
  readonly std?: readonly number[];
}

/**
 * Normalizes one sample of `channels` channels and moves it from one layout to the other.
 * @param data row-major, [channels, pixels] when `from` is "nchw", else [pixels, channels]
 * @throws bad-data when mean or std has neither one value nor one per channel; `subject` opens the message.
 */
export function normalize(
  data: ArrayLike<number>,
  channels: number,
  from: Layout,
  to: Layout,
  options: Normalization,
  subject: string,
): Float32Array {
  const { zeroPoint = 0, scale = 1 } = options;
  const mean = perChannel(options.mean ?? [0], channels, "mean", subject);
  const std = perChannel(options.std ?? [1], channels, "std", subject);
  const pixels = data.length / channels;
  const out = new Float32Array(data.length);
  for (let c = 0; c < channels; c++) {
    const [readAt, readStep] = from === "nchw" ? [c * pixels, 1] : [c, channels];
    const [writeAt, writeStep] = to === "nchw" ? [c * pixels, 1] : [c, channels];
    const [m, s] = [mean[c] as number, std[c] as number];
    for (let i = 0; i < pixels; i++) {
      const x = data[readAt + i * readStep] as number;
      out[writeAt + i * writeStep] = ((x - zeroPoint) * scale - m) / s;
    }
  }
  return out;
}

/** Dims of one sample (no batch axis) in the other layout. */
export function relayout(dims: readonly number[], from: Layout, to: Layout): number[] {
  if (from === to) return [...dims];
  return from === "nhwc" ? [dims.at(-1) as number, ...dims.slice(0, -1)] : [...dims.slice(1), dims[0] as number];
}

function perChannel(values: readonly number[], channels: number, name: string, subject: string): readonly number[] {
  if (values.length === channels) return values;
  if (values.length === 1) return Array<number>(channels).fill(values[0] as number);
  throw new TersorError(
    "bad-data",
    `${subject}: option "${name}" does not fit the channels: expected 1 or ${channels} values, got ${values.length}.`,
  );
}
