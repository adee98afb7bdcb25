/** @file The files that transformers.js looks for: a dtype's suffix, and the model that its conversion scripts would write (3.8.1). */
import * as z from "zod";
import type { Model } from "../ir/model.ts";
import { removeDeadCode } from "../passes/dead-code.ts";
import { quantizeDynamic } from "../quantize/dynamic/dynamic.ts";
import { type DynamicDType, q8Preset } from "../quantize/dynamic/options.ts";
import { toFloat16 } from "../quantize/float16/float16.ts";
import { bnb4Obstacle, matMulBnb4Writer } from "../quantize/formats/matmul-bnb4.ts";
import { nBitsObstacle } from "../quantize/formats/matmul-nbits.ts";
import { type QuantSpec, resolveSpec, type SpecOptions, specOptions } from "../quantize/grid/spec.ts";
import { findLayers, type WeightLayer } from "../quantize/layers/sites.ts";
import { type QuantizeResult, quantize } from "../quantize/weights/quantize-weights.ts";
import { TersorError } from "../util/errors.ts";
import { nearestNames } from "../util/nearest.ts";

export const folderOptions = z.strictObject({
  layout: z.literal("transformers.js").default("transformers.js").describe("what looks for the files"),
  dtypes: z.string().optional().describe("such as fp16,q8; all when absent"),
  seed: z.int().min(0).default(0).describe("seed of made-up inputs"),
  samples: z.int().min(1).optional().describe("made-up inputs that every file is run on; default 8"),
  shapes: z
    .record(z.string(), z.array(z.int().min(0)))
    .default({})
    .describe("shapes of made-up inputs by name, each for the sessions that have the input"),
  runs: z.int().min(0).default(25).describe("timed runs of each file; 0 times nothing"),
  threads: z
    .int()
    .min(1)
    .max(1024)
    .optional()
    .describe("threads within an operator; default: the runtime's own choice"),
});

export type FolderOptions = z.input<typeof folderOptions>;

/** What of a folder's config.json decides how its models are quantized. */
export interface ModelTraits {
  /** Scales per channel and 7-bit weights for q8, int8 and uint8. */
  readonly perChannel: boolean;
}

/** The model of a dtype, or the reason why there is none. */
export type Made = { readonly model: Model; readonly settings: Readonly<Record<string, unknown>> } | string;

export interface TransformersDType {
  readonly name: string;
  /** Between the session's name and `.onnx`. */
  readonly suffix: string;
  /** @param model simplified; left as it is */
  make(model: Model, traits: ModelTraits): Made;
}

const Q4: SpecOptions = { dtype: "int4", granularity: "group:32" };
const BNB4: SpecOptions = { dtype: "int4", granularity: "group:64" };

/** In the order in which tables show them. */
const transformersDTypes: readonly TransformersDType[] = [
  { name: "fp16", suffix: "_fp16", make: (model) => float16(model, {}) },
  { name: "q8", suffix: "_quantized", make: (model, traits) => dynamic(model, traits) },
  { name: "int8", suffix: "_int8", make: (model, traits) => dynamic(model, traits, "int8") },
  { name: "uint8", suffix: "_uint8", make: (model, traits) => dynamic(model, traits, "uint8") },
  { name: "q4", suffix: "_q4", make: (model) => blocks4(model) },
  {
    name: "q4f16",
    suffix: "_q4f16",
    make: (model) => {
      const small = blocks4(model);
      return typeof small === "string" ? small : float16(small.model, small.settings);
    },
  },
  { name: "bnb4", suffix: "_bnb4", make: (model) => normalFloat4(model) },
];

/** Suffixes of files that are quantized already; the last four are names that transformers.js knows and nothing here writes. */
const knownSuffixes = [...transformersDTypes.map(({ suffix }) => suffix), "_q2", "_q2f16", "_q1", "_q1f16"];

/** The session of an original `.onnx` file; undefined for any other file. */
export function sessionOf(file: string): string | undefined {
  const name = /^([^.].*)\.onnx$/.exec(file)?.[1];
  return knownSuffixes.some((suffix) => name?.endsWith(suffix)) ? undefined : name;
}

/** Reads `fp16,q8`; all when absent. In the order of the table, each once. @throws bad-recipe for an unknown name */
export function parseDTypes(text: string | undefined): readonly TransformersDType[] {
  const names = transformersDTypes.map(({ name }) => name);
  const asked = text === undefined ? names : text.split(",").map((part) => part.trim());
  for (const name of asked) {
    if (names.includes(name)) continue;
    const [near] = nearestNames(name, names, 1);
    const hint = near === undefined ? "" : ` (did you mean ${near}?)`;
    throw new TersorError("bad-recipe", `dtypes: expected ${names.join(", ")}, got "${name}"${hint}.`);
  }
  return transformersDTypes.filter(({ name }) => asked.includes(name));
}

/**
 * Model types whose q8 files have one scale per tensor (NO_PER_CHANNEL_REDUCE_RANGE_MODELS of scripts/convert.py, 3.8.1, the
 * last version that has it), with hyphens: the script misses some of its own, which config.json spells with underscores.
 */
const perTensorTypes = new Set(
  `codegen gpt2 gpt-bigcode gptj gpt-neo gpt-neox mpt bloom llama gemma opt mistral falcon phi phi3 qwen2 stablelm starcoder2
  openelm mobilellm olmo whisper vision-encoder-decoder owlv2 wavlm wav2vec2 unispeech unispeech-sat`.split(/\s+/),
);

/** The scripts' list, and every other decoder of text: the list is of the decoders that there were. */
export function traitsOf(config: Readonly<Record<string, unknown>>): ModelTraits {
  const type = String(config.model_type ?? "").replaceAll("_", "-");
  const architectures = Array.isArray(config.architectures) ? config.architectures.map(String) : [];
  const isDecoder = architectures.some((name) => name.endsWith("ForCausalLM"));
  return { perChannel: !isDecoder && !perTensorTypes.has(type) };
}

/** What the conversion script's quantize_config.json says: the settings of all its files, null where it leaves a default. */
export function scriptSettings(modes: readonly string[], { perChannel }: ModelTraits): Record<string, unknown> {
  return {
    modes,
    per_channel: perChannel,
    reduce_range: perChannel,
    block_size: null,
    is_symmetric: true,
    accuracy_level: null,
    quant_type: 1,
    op_block_list: null,
  };
}

function float16(model: Model, settings: Readonly<Record<string, unknown>>): Made {
  const result = toFloat16(model, { keepIo: true, measure: false });
  const before = countDType(model, "float32");
  if (before > 0 && countDType(result.model, "float32") === before)
    return `nothing can be float16: ${result.kept[0]?.reason ?? "no operator takes it"}`;
  return before === 0
    ? "there are no float32 weights"
    : { model: result.model, settings: { ...settings, keep_io_types: true } };
}

function countDType(model: Model, dtype: string): number {
  return model.graphs().reduce((sum, { values }) => {
    let count = sum;
    for (const { tensor } of values) if (tensor?.dtype === dtype) count++;
    return count;
  }, 0);
}

function dynamic(model: Model, { perChannel }: ModelTraits, forced?: DynamicDType): Made {
  const preset = q8Preset(model, perChannel);
  const dtype = forced ?? preset.dtype;
  const result = quantizeDynamic(model, { ...preset, ...(forced && { dtype: forced }), measure: false });
  const types = quantizedTypes(result);
  if (types.length === 0) return reasonOf(result);
  return {
    model: result.model,
    settings: {
      op_types: types,
      weight_type: dtype === "uint8" ? "QUInt8" : "QInt8",
      per_channel: perChannel,
      reduce_range: perChannel,
    },
  };
}

function quantizedTypes(result: QuantizeResult): string[] {
  const done = result.layers().filter(({ status }) => status === "quantized");
  return [...new Set(done.map(({ opType }) => opType))].sort();
}

function reasonOf(result: QuantizeResult): string {
  const [first] = [...result.layers(), ...result.skipped].filter(({ reason }) => reason);
  return first ? `nothing fits: ${first.opType} "${first.name}": ${first.reason}` : "the model holds no weights";
}

/** Layers that a block format takes, or why the first MatMul does not fit. */
function blockLayers(
  model: Model,
  options: SpecOptions,
  obstacle: (layer: WeightLayer, spec: QuantSpec) => string | undefined,
) {
  const spec = resolveSpec(specOptions.parse(options), "transformers.js");
  const products = findLayers(model).layers.filter(({ opType }) => opType === "MatMul");
  const layers = products.filter((layer) => obstacle(layer, spec) === undefined);
  const [first] = products;
  const why = first ? `MatMul "${first.name}": ${obstacle(first, spec)}` : "no MatMul has constant weights";
  return { spec, layers, why: `nothing fits: ${why}` };
}

function blocks4(model: Model): Made {
  const { layers, why } = blockLayers(model, Q4, nBitsObstacle);
  if (layers.length === 0) return why;
  const rules = layers.map(({ index }) => ({ match: String(index) }));
  const result = quantize(model, { ...Q4, layers: rules, accuracyLevel: 0, measure: false });
  return { model: result.model, settings: { op_types: ["MatMul"], block_size: 32, is_symmetric: true } };
}

function normalFloat4(model: Model): Made {
  const copy = model.clone();
  const { spec, layers, why } = blockLayers(copy, BNB4, bnb4Obstacle);
  if (layers.length === 0) return why;
  for (const layer of layers) matMulBnb4Writer.write({ layer, spec, seed: 0, measure: false, accuracyLevel: 0 }, copy);
  return { model: removeDeadCode(copy).model, settings: { op_types: ["MatMul"], block_size: 64, quant_type: "NF4" } };
}
