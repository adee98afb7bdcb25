/** @file What is reported of a layer, however it was quantized. */

import type { OwnSpec } from "../grid/spec.ts";
import type { WeightLayer } from "./sites.ts";

export interface LayerReport {
  readonly index: number;
  readonly name: string;
  readonly opType: string;
  readonly weight: string;
  readonly dims: readonly number[];
  readonly status: "quantized" | "kept";
  /** Why it was kept, or what was decided differently than asked. */
  readonly reason?: string;
  /** Such as `int8 channel`. */
  readonly spec?: string;
  /** The operator that reads the result. */
  readonly format?: string;
  readonly bytesBefore: number;
  readonly bytesAfter: number;
  /** What was decided for this layer alone, by rules or by a search, over the options of all; null for what follows from the others again. */
  readonly own?: Readonly<Record<string, unknown>>;
  /** Its activations stay float by decision, though there are integer kernels. */
  readonly weightsOnly?: true;
  /** Weight SQNR in dB, measured while the codes are computed; absent before. Infinity is null in JSON. */
  readonly sqnr?: number;
}

/** What became of a layer; it was kept where `bytes` is absent. */
export interface LayerOutcome {
  readonly reason?: string | undefined;
  readonly spec?: string | undefined;
  readonly format?: string | undefined;
  /** Bytes that replace the weight's. */
  readonly bytes?: number | undefined;
  readonly sqnr?: number | undefined;
  readonly own?: OwnSpec | undefined;
  readonly weightsOnly?: boolean | undefined;
}

export function layerReport(layer: WeightLayer, outcome: LayerOutcome): LayerReport {
  const { index, name, opType, value, weight } = layer;
  const { reason, spec, format, bytes, sqnr, own, weightsOnly } = outcome;
  return {
    index,
    name,
    opType,
    weight: value.name,
    dims: weight.dims,
    status: bytes === undefined ? "kept" : "quantized",
    ...(reason && { reason }),
    ...(spec && { spec }),
    ...(format && { format }),
    bytesBefore: weight.byteLength,
    bytesAfter: bytes ?? weight.byteLength,
    ...(own && Object.keys(own).length > 0 && { own: withNulls(own) }),
    ...(weightsOnly && { weightsOnly }),
    ...(sqnr !== undefined && { sqnr }),
  };
}

/** JSON has no undefined. */
function withNulls(own: OwnSpec): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(own).map(([key, value]) => [key, value ?? null]));
}
