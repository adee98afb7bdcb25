/** @file The table of quantization methods: integer codes from one weight matrix. Adding a method is adding a row. */

import type { MethodName } from "../grid/spec.ts";
import { awq } from "./awq.ts";
import { gptq } from "./gptq.ts";
import { hqq } from "./hqq.ts";
import { nearest } from "./nearest.ts";

export { type MethodRun, quantizeByMethod, quantizeNBitsByMethod } from "../lazy/by-method.ts";
export type { LayerStats, QuantizedMatrix, QuantMethod, StatsNeed, WeightMatrix } from "./method.ts";

/** Weights as indices into a table of values. */
export const codeTables = {
  codebook: {
    paper: "Han et al. 2015, https://arxiv.org/abs/1510.00149",
    summary: "the best 16 or 256 values of each weight: k-means, solved exactly",
  },
  nf4: {
    paper: "Dettmers et al. 2023, https://arxiv.org/abs/2305.14314",
    summary: "sixteen quantiles of a normal distribution, scaled to each block's largest weight; in MatMulBnb4",
  },
} as const;

export const methods = { rtn: nearest, gptq, awq, hqq } as const satisfies Record<MethodName, unknown>;
