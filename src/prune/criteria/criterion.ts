/** @file What a criterion is: how much the channels of a layer matter. */

import type { ChannelData } from "../evidence/channel-data.ts";
import type { Objective } from "../evidence/gradients/objective.ts";
import type { Analysis, PortRow } from "../graph/analysis.ts";

/** The channels that one layer makes, with what is known of each. */
export interface ChannelSlice {
  /** Name of the weight. */
  readonly name: string;
  readonly channels: number;
  /** The weight as [channels, elements]. */
  weight(): { readonly values: Float32Array; readonly elements: number };
  /** Factors of the batch norm behind the layer, [channels]; undefined where there is none. */
  gamma(): ArrayLike<number> | undefined;
  /** What {@link Criterion.measure} found of every channel, [channels]; undefined where it found nothing. */
  measured(): ArrayLike<number> | undefined;
  readonly seed: number;
}

/** What a criterion that looks at data is given. */
export interface MeasureContext {
  readonly analysis: Analysis;
  /** The same analysis of a copy of the model, which may be changed. */
  fresh(): Analysis;
  readonly data: ChannelData;
  /** What gradients are of. */
  readonly objective: "auto" | Objective;
  readonly seed: number;
}

export interface Measured {
  /** A number for each channel of a layer, larger for what should stay; undefined where nothing is known. */
  of(port: PortRow): ArrayLike<number> | undefined;
  /** What was looked at, for the report. */
  readonly note?: string;
}

export interface Criterion {
  readonly name: string;
  readonly paper: string;
  /** In a phrase. */
  readonly summary: string;
  /** What it looks at; "activations" and "gradients" come from calibration data. */
  readonly needs: "weights" | "gamma" | "activations" | "gradients";
  /** Looks at calibration data, once for all layers. */
  measure?(context: MeasureContext): Promise<Measured>;
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
