/**
 * @file The noise that 8-bit activations and weights are expected to put into the outputs of layers, from statistics of their input alone.
 * Rounding to steps Δ counts as noise of variance Δ² / 12 that is independent of everything (Widrow & Kollár 2008, ISBN 978-0521886710).
 */
import type { InputLayer } from "./input-layers.ts";

/** What is known of an input, per channel. */
export interface InputStats {
  /** Largest |x|. */
  readonly absMax: Float32Array;
  /** Mean of x². */
  readonly meanSquare: Float32Array;
}

/** A layer in the form that {@link outputNoise} sums over. */
export interface LayerSquares {
  /** Σ w² of each input channel's weights. */
  readonly energy: Float64Array;
  /** Largest |w| of each output channel's weights on each input channel: [outputs, channels]. */
  readonly largest: Float64Array;
}

/** Steps in the range of an 8-bit type. */
const STEPS = 255;

export function layerSquares({ tensor, channels, channelOf, outputs, outputOf }: InputLayer): LayerSquares {
  const energy = new Float64Array(channels);
  const largest = new Float64Array(outputs * channels);
  tensor.toFloat32().forEach((w, i) => {
    const channel = channelOf(i);
    const at = outputOf(i) * channels + channel;
    energy[channel] = (energy[channel] as number) + w * w;
    largest[at] = Math.max(largest[at] as number, Math.abs(w));
  });
  return { energy, largest };
}

/** Variance of rounding to 8 bits in a range of ± `largest`. */
const variance = (largest: number) => ((2 * largest) / STEPS) ** 2 / 12;

/** Expected noise of a layer's outputs over their energy, when its input is rounded with one step. */
export function activationNoise({ energy }: LayerSquares, { absMax, meanSquare }: InputStats): number {
  const reach = absMax.reduce((a, b) => Math.max(a, b), 0);
  let [signal, noise] = [0, 0];
  energy.forEach((w, i) => {
    signal += w * (meanSquare[i] as number);
    noise += w * variance(reach);
  });
  return signal > 0 ? noise / signal : 0;
}

/** The same when weights are rounded with a step for each output channel. */
function weightNoise({ energy, largest }: LayerSquares, { meanSquare }: InputStats): number {
  const channels = energy.length;
  const power = meanSquare.reduce((a, b) => a + b, 0);
  const signal = energy.reduce((sum, w, i) => sum + w * (meanSquare[i] as number), 0);
  let noise = 0;
  for (let row = 0; row < largest.length; row += channels)
    noise += power * variance(largest.subarray(row, row + channels).reduce((a, b) => Math.max(a, b), 0));
  return signal > 0 ? noise / signal : 0;
}

/**
 * Expected noise of all outputs of layers over their energy, when their input is divided by `scale` per channel and the weights are
 * multiplied by it; then the input is rounded with one step, and the weights with one for each output channel. Channels of the input
 * count as uncorrelated.
 */
export function outputNoise(layers: readonly LayerSquares[], stats: InputStats, scale: ArrayLike<number>): number {
  const factor = (i: number) => scale[i] as number;
  const input = {
    absMax: stats.absMax.map((x, i) => x / factor(i)),
    meanSquare: stats.meanSquare.map((x, i) => x / factor(i) ** 2),
  };
  return layers.reduce((sum, { energy, largest }) => {
    const scaled = {
      energy: energy.map((w, i) => w * factor(i) ** 2),
      largest: largest.map((w, i) => w * factor(i % energy.length)),
    };
    return sum + activationNoise(scaled, input) + weightNoise(scaled, input);
  }, 0);
}
