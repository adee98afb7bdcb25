/** @file What a target is: a row of facts about the runtime and machine that a model is made for, as a schema that a JSON file must meet. */
import * as z from "zod";
import { own } from "../util/own.ts";
import { machineCosts } from "./costs.ts";

/** Integer kernels that quantization asks a target about. "Conv depthwise" has a group for every input channel. */
export const kernelNames = [
  "Conv",
  "Conv depthwise",
  "MatMul",
  "Gemm",
  "Add",
  "Mul",
  "Concat",
  "Sigmoid",
  "LeakyRelu",
  "AveragePool",
  "GlobalAveragePool",
  "MatMulInteger",
  "ConvInteger",
  "DynamicQuantizeLSTM",
  "MatMulNBits",
  "GatherBlockQuantized",
  "float16",
] as const;
export type KernelName = (typeof kernelNames)[number];

const kernel = z.strictObject({
  runs: z
    .enum(["integer", "float", "fallback", "wrong", "missing"])
    .describe(
      "integer: a kernel of its own; float: dequantized first; fallback: on another processor, with copies; wrong: gives wrong results; missing: refuses the model",
    ),
  speed: z
    .number()
    .positive()
    .optional()
    .describe("time of float32 divided by time of this kernel: above 1 it is faster; absent where not measured"),
  note: z.string().optional().describe("evidence"),
});

export const targetSchema = z.strictObject({
  name: z.string().min(1),
  summary: z.string().default(""),
  runtime: z.enum(["ort-node", "ort-web"]).describe("where models for it are tried out"),
  executionProvider: z.string().default("cpu"),
  saturates: z
    .boolean()
    .describe(
      "8-bit by 8-bit products are summed in pairs in 16 bits (x86 without VNNI): int8 weights beyond ±64 overflow",
    ),
  weights: z
    .strictObject({
      dtype: z.enum(["int8", "uint8"]),
      bits: z
        .union([z.literal(7), z.literal(8)])
        .describe("7: no two products with uint8 codes add up to more than 16 bits hold"),
      perChannel: z.boolean().describe("one scale per output channel is exact with these weights"),
    })
    .describe("of integer layers"),
  activations: z.enum(["uint8", "int8"]).default("uint8"),
  accuracyLevel: z.union([z.literal(0), z.literal(4)]).describe("of MatMulNBits: 4 lets activations be int8"),
  widths: z
    .strictObject({
      depthwise: z.int().min(1).describe("of networks with grouped convolutions"),
      note: z.string().optional().describe("evidence"),
    })
    .optional()
    .describe(
      "channels that float kernels work on at once: a convolution of another number is slower than one of more",
    ),
  sparseInitializers: z.boolean().default(false).describe("loads constants that are stored sparsely"),
  kernels: z.partialRecord(z.enum(kernelNames), kernel).describe("what is not listed is taken to run in float"),
  costs: z
    .array(machineCosts)
    .default([])
    .describe(
      "what layers cost, of every kind of machine that it stands for; without, every layer that has a kernel is quantized",
    ),
  limits: z
    .strictObject({
      modelBytes: z.int().positive().optional().describe("largest single file"),
      tensorBytes: z.int().positive().optional().describe("largest tensor"),
      memoryBytes: z.int().positive().optional(),
    })
    .prefault({}),
  evidence: z.array(z.string()).default([]).describe("where the facts come from, and what else to know"),
});

export type Target = z.output<typeof targetSchema>;
export type TargetOptions = z.input<typeof targetSchema>;
export type KernelFact = z.output<typeof kernel>;

/** What the target does with a kernel; one that its row does not list runs in float. */
export function kernelFact(target: Target, name: KernelName): KernelFact {
  return own(target.kernels, name) ?? { runs: "float", note: "not listed" };
}

/** Why a kernel should not be used on the target; undefined where it is exact and not slower than float32. */
export function kernelObstacle(target: Target, name: KernelName): string | undefined {
  const { runs, speed, note } = kernelFact(target, name);
  const because = note ? ` (${note})` : "";
  if (runs !== "integer") return `${name}: ${obstacles[runs]} on ${target.name}${because}`;
  if (speed === undefined || speed >= 1) return undefined;
  return `${name}: ${Number((1 / speed).toFixed(1))} times the time of float32 on ${target.name}${because}`;
}

const obstacles: Readonly<Record<Exclude<KernelFact["runs"], "integer">, string>> = {
  float: "runs in float",
  fallback: "is moved to another processor",
  wrong: "gives wrong results",
  missing: "is refused",
};
