/** @file The steps that decide by layers, each with how it is told to decide so again: a step without a row is simply run again. */
import type { DecisionRow } from "./decisions.ts";
import { byWidthsOrShares } from "./prune-decisions.ts";
import { byBlocklist, byRules } from "./quantize-decisions.ts";

export const decisionRows: Readonly<Record<string, DecisionRow>> = {
  prune: byWidthsOrShares,
  "quantize weights": byRules,
  "quantize static": byRules,
  "quantize dynamic": byRules,
  "quantize float16": byBlocklist,
};
