/** @file Statistics of a model's inputs, and how those of two data sets differ: preprocessing that is not the same shows here. */
import type { Dataset } from "../../data/dataset.ts";
import type { HostTensor } from "../../tensor/host-tensor.ts";
import { digits } from "./digits.ts";

/** Of one input over all samples. */
export interface InputStatistics {
  readonly samples: number;
  readonly mean: number;
  readonly std: number;
  readonly min: number;
  readonly max: number;
  /** Mean by channel; one where there are no channels. */
  readonly channels: readonly number[];
  /** First channel minus last, sample by sample: its mean, and the standard error of that. */
  readonly contrast: { readonly mean: number; readonly error: number };
  /** Mean squared difference of elements that are 3 apart, divided by that of neighbours: below 1 where channels alternate. */
  readonly interleaved: number;
}

/** Largest number of channels of an image. */
const CHANNELS = 4;

class InputMeter {
  #count = 0;
  #samples = 0;
  #sum = 0;
  #squares = 0;
  #min = Number.POSITIVE_INFINITY;
  #max = Number.NEGATIVE_INFINITY;
  #contrast = 0;
  #contrastSquares = 0;
  #near = 0;
  #far = 0;
  readonly #channels: number[] = [];

  add({ dims, data }: HostTensor): void {
    if (!(data instanceof Float32Array) && !(data instanceof Uint8Array)) return;
    const { count, inner } = channelsOf(dims);
    const sums = new Float64Array(count);
    for (let i = 0; i < data.length; i++) {
      const x = data[i] as number;
      const c = Math.floor(i / inner) % count;
      sums[c] = (sums[c] as number) + x;
      this.#squares += x * x;
      if (x < this.#min) this.#min = x;
      if (x > this.#max) this.#max = x;
    }
    for (let i = 0; i + 3 < data.length; i++) {
      const x = data[i] as number;
      this.#near += (x - (data[i + 1] as number)) ** 2;
      this.#far += (x - (data[i + 3] as number)) ** 2;
    }
    const each = data.length / count;
    for (let c = 0; c < count; c++) {
      this.#sum += sums[c] as number;
      this.#channels[c] = (this.#channels[c] ?? 0) + (sums[c] as number) / each;
    }
    const contrast = ((sums[0] as number) - (sums[count - 1] as number)) / each;
    this.#contrast += contrast;
    this.#contrastSquares += contrast ** 2;
    this.#count += data.length;
    this.#samples++;
  }

  result(): InputStatistics | undefined {
    const samples = this.#samples;
    if (this.#count === 0) return undefined;
    const mean = this.#sum / this.#count;
    const contrast = this.#contrast / samples;
    const spread = Math.max(0, this.#contrastSquares / samples - contrast ** 2);
    return {
      samples,
      mean,
      std: Math.sqrt(Math.max(0, this.#squares / this.#count - mean ** 2)),
      min: this.#min,
      max: this.#max,
      channels: this.#channels.map((sum) => sum / samples),
      contrast: { mean: contrast, error: Math.sqrt(spread / samples) },
      interleaved: this.#near > 0 ? this.#far / this.#near : 1,
    };
  }
}

/** How many channels an image has, and how far apart two of them lie: [N, C, H, W] or [N, H, W, C]. */
function channelsOf(dims: readonly number[]): { count: number; inner: number } {
  const [, second = 1] = dims;
  const last = dims.at(-1) ?? 1;
  if (dims.length === 4 && second <= CHANNELS) return { count: second, inner: (dims[2] as number) * last };
  return dims.length === 4 && last <= CHANNELS ? { count: last, inner: 1 } : { count: 1, inner: 1 };
}

/** Statistics of the float and byte inputs of a data set, by name. */
export async function inputStatistics(data: Dataset): Promise<ReadonlyMap<string, InputStatistics>> {
  const meters = new Map<string, InputMeter>();
  for await (const { inputs } of data)
    for (const [name, tensor] of Object.entries(inputs)) {
      const meter = meters.get(name) ?? new InputMeter();
      meters.set(name, meter);
      meter.add(tensor);
    }
  return new Map(
    [...meters].flatMap(([name, meter]) => {
      const result = meter.result();
      return result ? [[name, result] as const] : [];
    }),
  );
}

/** A difference of preprocessing, in words, with the share of the input's energy that it is. */
export interface Mismatch {
  readonly what: string;
  readonly noise: number;
}

/** Factors between spreads, and standard deviations between means, that no two splits of one data set have. */
const FACTOR = 3;
const SHIFT = 1;
/** Difference of the first and last channel, in standard deviations. */
const CONTRAST = 0.2;
/** Standard errors. */
const SURE = 3.5;

/** How data that the ranges came from and data that the model is judged on differ; undefined where they are alike. */
export function mismatch(calibrated: InputStatistics, judged: InputStatistics): Mismatch | undefined {
  const [a, b] = [calibrated, judged];
  if (!(a.std > 0) || !(b.std > 0)) return undefined;
  const words = (each: InputStatistics) => `mean ${digits(each.mean)}, deviation ${digits(each.std)}`;
  const both = `calibrated on ${words(a)}, judged on ${words(b)}`;
  const energy = b.mean ** 2 + b.std ** 2;
  const ratio = b.std / a.std;
  const moved = ((a.mean - b.mean) ** 2 + (a.std - b.std) ** 2) / energy;
  if (ratio > FACTOR || ratio < 1 / FACTOR) {
    const factor = digits(Math.max(ratio, 1 / ratio));
    return { what: `one is scaled ${factor} times the other: ${both}`, noise: moved };
  }
  if (Math.abs(a.mean - b.mean) > SHIFT * Math.max(a.std, b.std))
    return { what: `one is shifted against the other: ${both}`, noise: moved };
  const [x, y] = [a.interleaved, b.interleaved];
  if (a.channels.length >= 3 && Math.min(x, y) < 1 && Math.max(x, y) > 1.2)
    return {
      what: `channels alternate element by element in the ${x < y ? "calibration" : "judged"} data and lie in planes in the other (NHWC against NCHW)`,
      noise: 1,
    };
  const [p, q] = [a.contrast, b.contrast];
  const difference = Math.abs(p.mean - q.mean);
  if (a.channels.length >= 3 && difference > CONTRAST * b.std && difference > SURE * Math.hypot(p.error, q.error)) {
    const isMirrored = Math.abs(p.mean + q.mean) < difference / 2;
    const means = ({ channels }: InputStatistics) => channels.map(digits).join(", ");
    const what = isMirrored ? "the order of the channels is reversed" : "channels have other means";
    return {
      what: `${what} (RGB against BGR, or another mean): calibrated on channel means ${means(a)}, judged on ${means(b)}`,
      noise: a.channels.reduce((sum, x, c) => sum + (x - (b.channels[c] ?? 0)) ** 2, 0) / a.channels.length / energy,
    };
  }
  return undefined;
}
