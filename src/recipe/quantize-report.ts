/** @file What every way of quantizing reports of its result. */
import type { QuantizeResult } from "../quantize/weights/quantize-weights.ts";

/** What became of the layers; what stayed float, as it is in the written model; what else was rewritten. */
export function quantizeReport(result: Omit<QuantizeResult, "model">) {
  const { layers, left, rewritten, skipped, notes } = result;
  return { layers: layers(), left: left(), rewritten: rewritten(), skipped, notes };
}
