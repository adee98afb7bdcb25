/** @file What an accuracy bound asks for, and how far a measured model is beyond it. */
import * as z from "zod";
import { leastOf } from "../../util/append.ts";
import type { Agreement } from "../compare.ts";
import { inputOptions, runtimeOptions } from "../run-options.ts";
import { compareOptions } from "../steps/compare.ts";

export const boundOptions = z
  .strictObject({
    maxDrop: z
      .union([
        z.number().min(0),
        z.string().regex(/^\d+(\.\d+)?%?$/, 'expected a number of 0 or more, alone or with %, such as "0.5%"'),
      ])
      .optional()
      .describe(
        "how much worse the metric may get: 0.5 in the metric's own unit; 0.5% points of an accuracy, else a share of the original's value",
      ),
    minSqnr: z.number().min(0).optional().describe("SQNR in dB that every output must keep against the original"),
    metric: compareOptions.shape.metric,
    samples: inputOptions.samples,
    shapes: inputOptions.shapes,
    ...runtimeOptions,
    rounds: z.int().min(1).max(1000).default(24).describe("models tried at most"),
  })
  .refine((bound) => (bound.maxDrop === undefined) !== (bound.minSqnr === undefined), {
    message: "a bound is either maxDrop or minSqnr",
  });

export type BoundOptions = z.input<typeof boundOptions>;
export type BoundSettings = z.output<typeof boundOptions>;

/** A model's agreement with the original, held against the bound. */
export interface BoundMeasure {
  /** The metric, or SQNR of the output that has least of it. */
  readonly name: string;
  readonly unit: string;
  /** Of the original; absent for SQNR. */
  readonly before?: number;
  readonly after: number;
  /** The worst value of `after` with which the bound holds. */
  readonly limit: number;
  /** How far `after` is beyond the limit, 0 or less where the bound holds; Infinity where it is not a number. */
  readonly excess: number;
}

/** What a search asks for beyond the bound in dB, where samples that it does not see judge the result. */
const ROOM_DB = 0.5;

/**
 * @param careful asks for more, as room for what other samples show: a standard error of the drop, or half a dB
 */
export function measureBound(bound: BoundSettings, { fidelity, metric }: Agreement, careful: boolean): BoundMeasure {
  if (bound.minSqnr !== undefined) {
    const limit = bound.minSqnr + (careful ? ROOM_DB : 0);
    const after = leastOf(Object.values(fidelity).map(({ sqnr }) => sqnr));
    return { name: "SQNR", unit: "dB", after, limit, excess: finite(limit - after) };
  }
  const { name, unit, higherIsBetter, before, after, standardError = 0 } = metric as NonNullable<typeof metric>;
  const text = String(bound.maxDrop);
  const amount = Number.parseFloat(text);
  const isShare = text.endsWith("%") && !(unit === "%" && higherIsBetter);
  const allowed = (isShare ? (amount / 100) * Math.abs(before) : amount) - (careful ? standardError : 0);
  const limit = higherIsBetter ? before - allowed : before + allowed;
  // Rounding of the limit must not decide.
  const beyond = (higherIsBetter ? limit - after : after - limit) - Math.abs(limit) * 1e-12;
  return { name, unit, before, after, limit, excess: finite(beyond) };
}

/** What is no number is beyond any bound. */
function finite(excess: number): number {
  return Number.isNaN(excess) ? Number.POSITIVE_INFINITY : excess;
}
