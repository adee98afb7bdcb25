/** @file Options of the conversion to float16. */
import * as z from "zod";

export const float16Options = z.strictObject({
  keepIo: z.boolean().default(true).describe("inputs and outputs stay float32, with a Cast"),
  blocklist: z
    .union([z.string().transform((text) => text.split(",").map((part) => part.trim())), z.array(z.string())])
    .default([])
    .describe('operators and nodes that stay float32: "Softmax,head/*"'),
  ranges: z
    .instanceof(Map)
    .default(new Map())
    .describe("largest magnitude of values by name, from calibration: what goes beyond 65,504 stays float32"),
  measure: z.boolean().default(true).describe("measure every weight's SQNR"),
});

export interface Float16Options {
  /** Inputs and outputs stay float32, with a Cast. Default true. */
  readonly keepIo?: boolean;
  /** Operator types, node names or globs, in a list or separated by commas. */
  readonly blocklist?: string | readonly string[];
  /** Largest |x| of values by name, from calibration. */
  readonly ranges?: ReadonlyMap<string, number>;
  readonly measure?: boolean;
}

export interface Float16Settings {
  readonly keepIo: boolean;
  readonly blocklist: readonly string[];
  readonly ranges: ReadonlyMap<string, number>;
  readonly measure: boolean;
}
