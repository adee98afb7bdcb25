/** @file The table of quantization methods: integer codes from one weight matrix. Adding a method is adding a row. */

import type { MethodName } from "../spec.ts";
import { awq } from "./awq.ts";
import { gptq } from "./gptq.ts";
import { hqq } from "./hqq.ts";
import { nearest } from "./nearest.ts";

export { type MethodRun, quantizeByMethod, quantizeNBitsByMethod } from "./by-method.ts";
export type { LayerStats, QuantizedMatrix, QuantMethod, StatsNeed, WeightMatrix } from "./method.ts";

export const methods = { rtn: nearest, gptq, awq, hqq } as const satisfies Record<MethodName, unknown>;
