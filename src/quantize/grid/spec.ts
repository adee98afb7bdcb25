/** @file How a weight is quantized: the options, their defaults, and the grid of integer codes they stand for. */
import * as z from "zod";
import type { CodeRange } from "../../kernels/index.ts";
import { type DType, dtypeInfo } from "../../tensor/dtype.ts";
import { TersorError } from "../../util/errors.ts";

export const weightDTypes = ["int8", "uint8", "int4", "uint4", "int2", "uint2", "float16", "bfloat16"] as const;
export type WeightDType = (typeof weightDTypes)[number];

/** Which weights share one scale. */
export type Granularity =
  | { readonly per: "model" }
  | { readonly per: "tensor" }
  | { readonly per: "channel" }
  | { readonly per: "group"; readonly size: number };

/** How the scale of a slice is chosen from its weights. */
export type ScaleChoice =
  | { readonly by: "absmax" }
  | { readonly by: "mse" }
  | { readonly by: "percentile"; readonly percent: number };

export const roundings = ["nearest", "half-up", "stochastic"] as const;
export type RoundingName = (typeof roundings)[number];

export const methodNames = ["rtn", "hqq", "gptq", "awq"] as const;
export type MethodName = (typeof methodNames)[number];

export const formats = ["auto", "dequantize", "matmul-nbits", "codebook"] as const;
export type Format = (typeof formats)[number];

/** As it is written: `channel`, `tensor`, `model`, or `group:N` for N weights in a row. */
export type GranularityText = "channel" | "tensor" | "model" | `group:${number}`;

const granularityText = z
  .string()
  .regex(/^(model|tensor|channel|group:[1-9]\d{0,8})$/, "expected model, tensor, channel or group:N");

const granularity = z.union([
  (granularityText as unknown as z.ZodType<GranularityText, GranularityText>).transform(granularityOf),
  z.strictObject({ per: z.enum(["model", "tensor", "channel"]) }),
  z.strictObject({ per: z.literal("group"), size: z.int().min(1).max(999_999_999) }),
]);

/** Of a text that is one. */
export function granularityOf(text: string): Granularity {
  const [per, size] = text.split(":");
  return per === "group" ? { per, size: Number(size) } : { per: per as "model" | "tensor" | "channel" };
}

/** As it is written: the largest magnitude, the least squared error, or a percentile of the magnitudes. */
export type ScaleText = "absmax" | "mse" | "percentile" | `percentile:${number}`;

const scaleText = z.string().regex(/^(absmax|mse|percentile(:\d+(\.\d+)?)?)$/, "expected absmax, mse or percentile:P");
const percent = z.number().gt(50).lte(100);

const scale = z.union([
  (scaleText as unknown as z.ZodType<ScaleText, ScaleText>).transform(scaleOf),
  z.strictObject({ by: z.enum(["absmax", "mse"]) }),
  z.strictObject({ by: z.literal("percentile"), percent }),
]);

/** Of a text that is one. @throws bad-recipe for a percentile of 50 or less, or above 100 */
export function scaleOf(text: string): ScaleChoice {
  const [by, share = "99.9"] = text.split(":");
  if (by !== "percentile") return { by: by as "absmax" | "mse" };
  if (percent.safeParse(Number(share)).success) return { by, percent: Number(share) };
  throw new TersorError("bad-recipe", `scale "${text}": expected a percentile above 50, up to 100.`);
}

/** Of every way of quantizing that has methods. */
export const methodOptions = z
  .record(z.string(), z.unknown())
  .optional()
  .describe("options of the method, such as { actOrder: true } for gptq; docs/methods.md has them");

/** Options of one layer; what is left out is taken from the options of the whole model. */
export const specOptions = z.strictObject({
  dtype: z.enum(weightDTypes).default("int8").describe("stored type; float16 and bfloat16 are computed in float32"),
  bits: z.int().min(2).max(8).optional().describe("narrower grid in an 8-bit container, for study"),
  symmetric: z.boolean().optional().describe("zero point in the middle; default for signed types"),
  granularity: granularity
    .prefault("channel")
    .describe("which weights share a scale: model, tensor, channel or group:N"),
  scale: scale.prefault("absmax").describe("how a scale is chosen: absmax, mse or percentile:P"),
  rounding: z.enum(roundings).default("nearest").describe("nearest (to even), half-up or stochastic"),
  method: z
    .enum(methodNames)
    .default("rtn")
    .describe(
      "rtn: each weight to the nearest code; hqq: robust to outliers; gptq, awq: least error on calibration data",
    ),
  methodOptions,
  format: z
    .enum(formats)
    .default("auto")
    .describe(
      "what is written: for MatMul MatMulNBits or DequantizeLinear; codebook: indices into a table of the weight's best 16 or 256 values, small to download",
    ),
});

export type SpecOptions = z.input<typeof specOptions>;
/** Parsed. */
export type SpecSettings = z.output<typeof specOptions>;

/** Options of single layers, over those of the model: what is left out is not filled in. */
export const ownSpecOptions = z
  .strictObject({
    dtype: z.enum(weightDTypes),
    bits: z.int().min(2).max(8),
    symmetric: z.boolean(),
    granularity,
    scale,
    rounding: z.enum(roundings),
    method: z.enum(methodNames),
    methodOptions: z.record(z.string(), z.unknown()),
    format: z.enum(formats),
  } satisfies Record<keyof SpecOptions, z.ZodType>)
  .partial();

/** Parsed options of single layers. */
export type OwnSpec = z.output<typeof ownSpecOptions>;

/** A layer's own options over those of all; undefined `bits` and `symmetric` are again what follows from the dtype. */
export function withOwn(settings: SpecSettings, own: OwnSpec): SpecSettings {
  const given = Object.entries(own).filter(
    ([key, value]) => value !== undefined || key === "bits" || key === "symmetric",
  );
  return { ...settings, ...Object.fromEntries(given) };
}

/** With nothing asked for: int8 per channel, rounded to nearest. */
export const plainSpec: SpecSettings = specOptions.parse({});

export interface QuantSpec {
  readonly dtype: WeightDType;
  readonly bits: number;
  readonly symmetric: boolean;
  readonly granularity: Granularity;
  readonly scale: ScaleChoice;
  readonly rounding: RoundingName;
  readonly method: MethodName;
  /** Of the method; checked by its own schema. */
  readonly methodOptions?: Readonly<Record<string, unknown>> | undefined;
  readonly format: Format;
}

/** Fills in what follows from other options. @throws bad-recipe when options contradict each other; `subject` opens the message. */
export function resolveSpec(options: z.output<typeof specOptions>, subject: string): QuantSpec {
  const { bits: storage, kind } = dtypeInfo(options.dtype);
  const { bits = storage, symmetric = kind !== "uint", ...rest } = options;
  if (bits !== storage && storage !== 8)
    throw new TersorError(
      "bad-recipe",
      `${subject}: bits ${bits} with dtype ${options.dtype}: expected dtype int8 or uint8. Bit widths without a type of their own are kept in 8-bit containers.`,
    );
  if (rest.method !== "rtn" && rest.rounding !== "nearest")
    throw new TersorError(
      "bad-recipe",
      `${subject}: rounding ${rest.rounding} with method ${rest.method}: expected nearest. Other roundings are for rtn.`,
    );
  if (rest.format === "codebook") {
    if (kind === "float" || bits !== storage || bits < 4)
      throw new TersorError(
        "bad-recipe",
        `${subject}: format codebook with ${bits}-bit ${options.dtype}: expected 4 or 8 bits, for 16 or 256 values. Use dtype uint4 or uint8.`,
      );
    if (rest.method !== "rtn" || rest.rounding !== "nearest")
      throw new TersorError(
        "bad-recipe",
        `${subject}: format codebook with ${rest.method === "rtn" ? `rounding ${rest.rounding}` : `method ${rest.method}`}: expected neither. Its values are chosen for the least error already.`,
      );
  }
  return { ...rest, bits, symmetric };
}

/** Whether the dtype stores integer codes rather than shorter floats. */
export function isInteger(dtype: WeightDType): boolean {
  return dtypeInfo(dtype as DType).kind !== "float";
}

/**
 * The codes a spec may use. 8-bit symmetric signed codes leave −128 out, as runtimes prefer; narrower ones use the whole
 * range, where one code more matters.
 */
export function codeRange(spec: QuantSpec): CodeRange {
  const half = 2 ** (spec.bits - 1);
  const unsigned = dtypeInfo(spec.dtype).kind === "uint";
  // Narrow signed grids in an int8 container keep their codes around zero; unsigned ones start at zero.
  const [qmin, qmax] = unsigned ? [0, 2 * half - 1] : [-half, half - 1];
  return spec.symmetric && spec.bits === 8 ? { qmin: qmin + 1, qmax } : { qmin, qmax };
}

/** The zero point of a symmetric spec. */
export function middle(spec: QuantSpec): number {
  return dtypeInfo(spec.dtype).kind === "uint" ? 2 ** (spec.bits - 1) : 0;
}

/** As it is written. */
export function granularityName(granularity: Granularity): GranularityText {
  return granularity.per === "group" ? `group:${granularity.size}` : granularity.per;
}

/** The spec in a few words, for tables: `int4 group:32 mse`. */
export function describeSpec(spec: QuantSpec): string {
  const { granularity: g, scale: s } = spec;
  if (spec.format === "codebook") return `codebook of ${2 ** spec.bits}`;
  const words = [
    spec.bits === dtypeInfo(spec.dtype).bits ? spec.dtype : `${spec.dtype} (${spec.bits} bits)`,
    ...(isInteger(spec.dtype) ? [granularityName(g)] : []),
    ...(isInteger(spec.dtype) && spec.symmetric !== (dtypeInfo(spec.dtype).kind !== "uint")
      ? [spec.symmetric ? "symmetric" : "asymmetric"]
      : []),
    ...(s.by === "absmax" ? [] : [s.by === "percentile" ? `percentile:${s.percent}` : s.by]),
    ...(spec.rounding === "nearest" ? [] : [spec.rounding]),
    ...(spec.method === "rtn" ? [] : [spec.method]),
  ];
  return words.join(" ");
}
