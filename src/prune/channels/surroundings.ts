/** @file What the pruning of channels needs of the world around, for some options only. */
import type { Clock } from "./latency/latency-table.ts";
import type { Widths } from "./select-widths.ts";
import type { SensitivityOptions } from "./sensitivity.ts";

/** What only some options need. */
export interface PruneSurroundings {
  /** What sensitivity judges by besides, from a sample's label. */
  readonly judgeFor?: SensitivityOptions["judgeFor"];
  /** Channels that kernels work on at once: what stays is a multiple of it in networks with grouped convolutions, unless something else is asked for. */
  readonly multiple?: number | undefined;
  /** Widths that were decided before, in place of a ratio. */
  readonly widths?: Widths | undefined;
  /** What times models, for `by: "latency"`. */
  readonly clock?: Clock | undefined;
}
