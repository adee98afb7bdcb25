/** @file Options of static quantization, and how the codes of an activation are chosen from a range. */
import * as z from "zod";
import type { Collector, Range } from "../../calibrate/collector.ts";
import { rangeMethods, rangeNames } from "../../calibrate/range/index.ts";
import { targetSchema } from "../../targets/target.ts";
import { targetNamed } from "../../targets/targets.ts";
import { methodOptions } from "../grid/spec.ts";
import { layersOption } from "../layers/layer-rules.ts";

export const activationDTypes = ["uint8", "int8"] as const;
export type ActivationDType = (typeof activationDTypes)[number];

/** Methods that choose codes for scales that are given, as integer kernels need them. */
export const staticMethods = ["rtn", "gptq"] as const;

export const staticOptions = z.strictObject({
  target: z
    .union([z.string().transform(targetNamed), targetSchema])
    .prefault("any")
    .describe("what the model is made for: decides weights, what runs in integers and what stays float"),
  activations: z.enum(activationDTypes).optional().describe("codes of activations; the target's by default"),
  symmetric: z
    .boolean()
    .default(false)
    .describe("zero point of activations in the middle, except of those that are never negative"),
  dtype: z
    .enum(["int8", "uint8", "int4", "int2"])
    .optional()
    .describe("codes of weights; the target's by default. int4 and int2 are stored in 4 and 2 bits and computed in 8"),
  granularity: z.enum(["tensor", "channel"]).default("channel").describe("which weights share a scale"),
  method: z
    .enum(staticMethods)
    .default("rtn")
    .describe("rtn: each weight to the nearest code; gptq: least error of the outputs on the calibration data"),
  methodOptions,
  scale: z
    .enum(["absmax", "mse"])
    .optional()
    .describe("how a weight's scale is chosen; mse for int4 and int2, else absmax"),
  ranges: z.enum(rangeNames).default("mse").describe("how an activation's range is chosen"),
  percentile: z
    .number()
    .gt(50)
    .lte(100)
    .default(99.99)
    .describe("ranges percentile: the share of values inside, in percent"),
  correctBias: z.boolean().default(true).describe("let the biases make up for the mean error of the weights' rounding"),
  fitCosts: z
    .boolean()
    .default(true)
    .describe("leave layers float where the target's counted costs say that integers are slower"),
  layers: layersOption,
  measure: z.boolean().default(true).describe("measure every weight's SQNR"),
});

export type StaticOptions = z.input<typeof staticOptions>;
export type StaticSettings = z.output<typeof staticOptions>;

/** A new collector of the method asked for. */
export function rangeCollector(settings: StaticSettings): Collector<Range> {
  return rangeMethods[settings.ranges].create(settings);
}
