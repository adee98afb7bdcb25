/** @file The table of methods that learn how weights are rounded, to give what a part of the float model gives. */
import type { UnitKind } from "./units.ts";

export interface RoundingMethod {
  readonly paper: string;
  /** One line for help and documents. */
  readonly summary: string;
  /** What is reconstructed at once. */
  readonly kind: UnitKind;
}

export const roundingMethods = {
  adaround: {
    paper: "Nagel et al. 2020, https://arxiv.org/abs/2004.10568",
    summary: "learns for every weight whether to round down or up, so that each layer gives what it gave before",
    kind: "layer",
  },
  brecq: {
    paper: "Li et al. 2021, https://arxiv.org/abs/2102.05426",
    summary:
      "the same for whole blocks (a residual block, an attention with its projections), whose layers make up for each other",
    kind: "block",
  },
} as const satisfies Readonly<Record<string, RoundingMethod>>;

export type RoundingMethodName = keyof typeof roundingMethods;
export const roundingMethodNames = Object.keys(roundingMethods) as [RoundingMethodName, ...RoundingMethodName[]];
