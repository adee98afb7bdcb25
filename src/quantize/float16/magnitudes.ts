/** @file How large the values of a model get on data: what decides whether float16 can hold them. */
import { type CalibrateOptions, calibrate, floatValues } from "../../calibrate/calibrate.ts";
import { type Collector, scalar } from "../../calibrate/collector.ts";
import { finiteMagnitudeProbe } from "../../calibrate/probes.ts";
import type { Dataset } from "../../data/dataset.ts";
import type { Model } from "../../ir/model.ts";
import { convertOpset } from "../../passes/convert-opset/convert-opset.ts";
import { exposeWeights } from "../../passes/expose-weights.ts";

/** Lowest opset of the probes. */
const OPSET = 13;

/** The largest finite |x| of a value. Infinity is none of float16's making where float32 has it already: float16 has it too. */
function finiteMagnitude(): Collector<number> {
  let largest = 0;
  return {
    name: "finite magnitude",
    needs: [finiteMagnitudeProbe],
    add([seen]) {
      largest = Math.max(largest, scalar(seen));
    },
    result: () => largest,
  };
}

/**
 * The largest finite |x| of every float32 value of the main graph, by name, in one pass over the data: the `magnitudes` of toFloat16.
 * @throws as {@link calibrate}; bad-data for NaN only, where it reaches an output
 */
export async function magnitudes(model: Model, data: Dataset, running: CalibrateOptions): Promise<Map<string, number>> {
  const { model: visible } = exposeWeights(model);
  const prepared = visible.opset < OPSET ? convertOpset(visible, OPSET).model : visible;
  const collectors = new Map(floatValues(prepared).map((name) => [name, [finiteMagnitude()]] as const));
  const { stats } = await calibrate(prepared, data, collectors, { ...running, infinite: true });
  return new Map([...stats].map(([name, [largest = 0]]) => [name, largest]));
}
