/** @file Dynamic quantization with samples at hand: outliers move into weights, and where too many are left activations stay float. */
import type { CalibrateOptions } from "../../calibrate/calibrate.ts";
import type { Dataset } from "../../data/dataset.ts";
import type { Model } from "../../ir/model.ts";
import { activationNoise, type InputStats, layerSquares } from "../equalize/noise.ts";
import { inputStats, sharedInputs, smoothQuantOnData } from "../equalize/on-data.ts";
import { observable } from "../method-stats.ts";
import type { WeightsOnly } from "./plan.ts";

export interface PreparedDynamic {
  /** Computes the same as the model that was given. */
  readonly model: Model;
  /** Inputs of layers whose channels were scaled. */
  readonly scaled: number;
  /** What quantizeDynamic is told. */
  readonly weightsOnly: WeightsOnly;
}

/**
 * Two passes over the data: SmoothQuant, then the noise that one step for all elements of an input puts into each MatMul and Gemm.
 * @param minSqnr dB; layers from which less is expected get integer weights and float activations
 * @throws as {@link smoothQuantOnData}
 */
export async function prepareDynamic(
  model: Model,
  data: Dataset,
  { minSqnr }: { readonly minSqnr: number },
  running: CalibrateOptions,
): Promise<PreparedDynamic> {
  const smooth = await smoothQuantOnData(model, data, { alpha: "auto", insert: false }, running);
  const typed = observable(smooth.model);
  const inputs = sharedInputs(typed);
  const stats = await inputStats(typed, inputs, data, running);
  const weightsOnly = new Map<string, string>();
  for (const { value, layers } of inputs) {
    const own = stats.get(value.name);
    for (const layer of own ? layers : []) {
      const sqnr = -10 * Math.log10(activationNoise(layerSquares(layer), own as InputStats));
      if (sqnr < minSqnr)
        weightsOnly.set(
          layer.weight.name,
          `weights only: outliers of its input would leave ${sqnr.toFixed(0)} dB, below ${minSqnr}`,
        );
    }
  }
  const scaled = smooth.values.filter(({ place }) => place !== undefined).length;
  return { model: smooth.model, scaled, weightsOnly };
}
