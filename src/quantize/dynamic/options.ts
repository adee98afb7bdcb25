/** @file Options of dynamic quantization, and the settings that transformers.js' q8 files are made with. */
import * as z from "zod";
import type { Model } from "../../ir/model.ts";
import { targetSchema } from "../../targets/target.ts";
import { targetNamed } from "../../targets/targets.ts";
import { layersOption } from "../layers/layer-rules.ts";
import { MIN_ELEMENTS } from "../layers/left-float.ts";
import { opKey } from "../layers/sites.ts";

export const dynamicDTypes = ["int8", "uint8"] as const;
export type DynamicDType = (typeof dynamicDTypes)[number];

export const dynamicOptions = z.strictObject({
  target: z
    .union([z.string().transform(targetNamed), targetSchema])
    .prefault("any")
    .describe("what the model is made for: decides the weights' codes"),
  dtype: z
    .enum(dynamicDTypes)
    .optional()
    .describe(
      "codes of weights; uint8 for Conv, whose int8 kernel is slow, and where int8 would saturate, else the target's",
    ),
  granularity: z.enum(["tensor", "channel"]).default("channel").describe("which weights share a scale"),
  reduceRange: z
    .boolean()
    .optional()
    .describe("7 bits, whose products with uint8 can't saturate; by default for int8 where the target needs it"),
  scale: z.enum(["absmax", "mse"]).default("absmax").describe("how a weight's scale is chosen"),
  activationProducts: z
    .boolean()
    .default(false)
    .describe("MatMul of two activations too, and with the weight as its first operand; otherwise of weights alone"),
  depthwise: z.boolean().default(false).describe("depthwise convolutions too: smaller, but slower than float"),
  fitCosts: z
    .boolean()
    .default(true)
    .describe("leave layers float that the target's counted costs say are slower quantized as they come"),
  layers: layersOption,
  minElements: z
    .int()
    .min(1)
    .default(MIN_ELEMENTS)
    .describe("weights with fewer elements stay float: nothing would get smaller or faster"),
  measure: z.boolean().default(true).describe("measure every weight's SQNR"),
});

export type DynamicOptions = z.input<typeof dynamicOptions>;
export type DynamicSettings = z.output<typeof dynamicOptions>;

/** Operators whose models transformers.js gives uint8 weights: ConvInteger had no int8 kernel, these attentions the same. */
const unsignedOps = new Set(["Conv", "com.microsoft.GroupQueryAttention", "com.microsoft.MultiHeadAttention"]);

/**
 * The options that transformers.js' conversion script gives its q8 files (scripts/quantize.py, 3.8.1): uint8 weights
 * where the model has Conv, GroupQueryAttention or MultiHeadAttention, else int8; every size and depthwise layers too.
 * @param perChannel scales per channel and 7 bits; the script turns both off for language models, Whisper, wav2vec2 and a
 * few more
 */
export function q8Preset(model: Model, perChannel = true): DynamicOptions {
  const unsigned = model.graphs().some((graph) => graph.nodes.some((node) => unsignedOps.has(opKey(node))));
  return {
    dtype: unsigned ? "uint8" : "int8",
    granularity: perChannel ? "channel" : "tensor",
    reduceRange: perChannel,
    depthwise: true,
    fitCosts: false,
    minElements: 1,
  };
}
