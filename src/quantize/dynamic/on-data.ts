/** @file Dynamic quantization with samples at hand: outliers move into weights, and where too many are left activations stay float. */
import type { CalibrateOptions } from "../../calibrate/calibrate.ts";
import type { Dataset } from "../../data/dataset.ts";
import type { Model } from "../../ir/model.ts";
import { activationNoise, type InputStats, layerSquares } from "../equalize/noise.ts";
import { inputStats, sharedInputs, smoothQuantOnData } from "../equalize/on-data.ts";
import { observable } from "../weights/method-stats.ts";
import type { WeightsOnly } from "./plan.ts";

export interface PreparedDynamic {
  /** Computes the same as the model that was given. */
  readonly model: Model;
  /** Inputs of layers whose channels were scaled. */
  readonly scaled: number;
  /** What quantizeDynamic is told. */
  readonly weightsOnly: WeightsOnly;
}

export interface DynamicBound {
  /** dB; layers from which less is expected get integer weights and float activations. */
  readonly minSqnr: number;
  /**
   * Share of all products that may go on in floats: then `minSqnr` holds on the whole, and the layers that do most harm for their size come
   * first. Absent: every layer below `minSqnr` does.
   */
  readonly mostFloat?: number;
}

/** dB of a layer that stays float whatever it costs. */
const USELESS = 20;

/**
 * Two passes over the data: SmoothQuant, then the noise that one step for all elements of an input puts into each MatMul and Gemm.
 * @throws as {@link smoothQuantOnData}
 */
export async function prepareDynamic(
  model: Model,
  data: Dataset,
  { minSqnr, mostFloat }: DynamicBound,
  running: CalibrateOptions,
): Promise<PreparedDynamic> {
  const smooth = await smoothQuantOnData(model, data, { alpha: "auto", insertMul: false }, running);
  const typed = observable(smooth.model);
  const inputs = sharedInputs(typed);
  const stats = await inputStats(typed, inputs, data, running);
  const noisy: { readonly weight: string; readonly noise: number; readonly size: number }[] = [];
  let [noise, size] = [0, 0];
  for (const { value, layers } of inputs) {
    const own = stats.get(value.name);
    for (const layer of own ? layers : []) {
      const each = {
        weight: layer.weight.name,
        noise: activationNoise(layerSquares(layer), own as InputStats),
        size: layer.weight.tensor?.size ?? 0,
      };
      noisy.push(each);
      noise += each.noise;
      size += each.size;
    }
  }
  // The most harm for the fewest products first, until what is left is as if every layer had just enough, or the speed would be gone.
  const allowed = noisy.length * 10 ** (-minSqnr / 10);
  const weightsOnly = new Map<string, string>();
  let floats = 0;
  for (const each of noisy.toSorted((a, b) => b.noise / b.size - a.noise / a.size)) {
    if (mostFloat !== undefined && noise <= allowed) break;
    const sqnr = -10 * Math.log10(each.noise);
    if (sqnr >= minSqnr || (mostFloat !== undefined && floats + each.size > mostFloat * size && sqnr >= USELESS))
      continue;
    weightsOnly.set(
      each.weight,
      `weights only: outliers of its input would leave ${sqnr.toFixed(0)} dB, below ${minSqnr}`,
    );
    noise -= each.noise;
    floats += each.size;
  }
  const scaled = smooth.values.filter(({ place }) => place !== undefined).length;
  return { model: smooth.model, scaled, weightsOnly };
}
