/** @file Options of every step that runs models: inputs, and the runtime. */
import * as z from "zod";
import { isSamples, type Samples } from "../data/samples.ts";
import { runtimeNames } from "../runtime/names.ts";
import { isModel, type ModelLike } from "./model-like.ts";

/** Samples: a path, an object of data options, or samples in code. */
export const dataOption = z.union([z.custom<Samples>(isSamples), z.string().min(1), z.record(z.string(), z.unknown())]);

/** Another model: a path, or in code a model or its bytes. */
export const modelOption = z.union([z.custom<Exclude<ModelLike, string>>(isModel), z.string().min(1)]);

/** Where inputs come from, for every step that runs models. */
export const inputOptions = {
  data: dataOption.optional().describe("samples: a path, or an object of data options; without, made-up inputs"),
  samples: z.int().min(1).optional().describe("use the first samples only; default all, or 8 made-up ones"),
  shapes: z
    .record(z.string(), z.array(z.int().min(0)))
    .optional()
    .describe("shapes of made-up inputs by name, where the model leaves them open"),
};

/** How models are run. */
export const runtimeOptions = {
  runtime: z.enum(runtimeNames).default("ort-node").describe("what runs the models"),
  threads: z
    .int()
    .min(1)
    .max(1024)
    .optional()
    .describe("threads within an operator; default: the runtime's own choice"),
  optimization: z
    .enum(["disabled", "basic", "extended", "all"])
    .default("all")
    .describe("graph optimizations that the runtime makes at load"),
};
