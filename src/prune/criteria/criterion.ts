/** @file What a criterion is: how much the channels of a layer matter. */

/** The channels that one layer makes, with what is known of each. */
export interface ChannelSlice {
  /** Name of the weight. */
  readonly name: string;
  readonly channels: number;
  /** The weight as [channels, elements]. */
  weight(): { readonly values: Float32Array; readonly elements: number };
  /** Factors of the batch norm behind the layer, [channels]; undefined where there is none. */
  gamma(): ArrayLike<number> | undefined;
  /** Mean magnitude of what the next layers read of every channel, [channels]; undefined where no layer was seen. */
  activation(): ArrayLike<number> | undefined;
  readonly seed: number;
}

export interface Criterion {
  readonly name: string;
  readonly paper: string;
  /** What it looks at; "activations" come from calibration data. */
  readonly needs: "weights" | "gamma" | "activations";
  /** A score for each channel, larger for what should stay; undefined where the slice lacks what the criterion looks at. */
  score(slice: ChannelSlice): ArrayLike<number> | undefined;
}

/** Reduces every row of a weight to a number. */
export function perRow(slice: ChannelSlice, reduce: (sum: number, x: number) => number): Float64Array {
  const { values, elements } = slice.weight();
  return Float64Array.from({ length: slice.channels }, (_, channel) => {
    let sum = 0;
    for (let i = channel * elements; i < (channel + 1) * elements; i++) sum = reduce(sum, values[i] as number);
    return sum;
  });
}
