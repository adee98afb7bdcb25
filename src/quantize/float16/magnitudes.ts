/** @file How large the values of a model get on data: what decides whether float16 can hold them. */
import { type CalibrateOptions, calibrate, floatValues } from "../../calibrate/calibrate.ts";
import { minMax } from "../../calibrate/range/min-max.ts";
import type { Dataset } from "../../data/dataset.ts";
import type { Model } from "../../ir/model.ts";
import { exposeWeights } from "../../passes/expose-weights.ts";

/**
 * The largest |x| of every float32 value of the main graph, by name, in one pass over the data: the `ranges` of toFloat16.
 * @throws as {@link calibrate}
 */
export async function magnitudes(model: Model, data: Dataset, running: CalibrateOptions): Promise<Map<string, number>> {
  const { model: prepared } = exposeWeights(model);
  const collectors = new Map(floatValues(prepared).map((name) => [name, [minMax()]] as const));
  const { stats } = await calibrate(prepared, data, collectors, running);
  return new Map(
    [...stats].map(([name, ranges]) => [name, Math.max(...ranges.map(({ min, max }) => Math.max(-min, max)))]),
  );
}
