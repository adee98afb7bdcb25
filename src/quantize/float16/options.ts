/** @file Options of the conversion to float16. */
import * as z from "zod";

export const float16Options = z.strictObject({
  keepIo: z.boolean().default(true).describe("inputs and outputs stay float32, with a Cast"),
  blocklist: z
    .union([z.string().transform((text) => text.split(",").map((part) => part.trim())), z.array(z.string())])
    .default([])
    .describe('operators and nodes that stay float32: "Softmax,head/*"'),
  magnitudes: z
    .map(z.string(), z.number())
    .default(new Map())
    .describe("largest magnitude of values by name, from calibration: what goes beyond 65,504 stays float32"),
  measure: z.boolean().default(true).describe("measure every weight's SQNR"),
});

export interface Float16Options extends Omit<z.input<typeof float16Options>, "magnitudes"> {
  readonly magnitudes?: ReadonlyMap<string, number>;
}
export type Float16Settings = z.output<typeof float16Options>;
