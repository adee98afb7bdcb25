/** @file Which layers get which options: `layers: "conv1,block*.conv@int4+group:32,0-3,head@keep"`. */
import * as z from "zod";
import { TersorError } from "../../util/errors.ts";
import { namePattern } from "../../util/name-pattern.ts";
import { nearestNames } from "../../util/nearest.ts";
import { granularityOf, type OwnSpec, ownSpecOptions, roundings, scaleOf, weightDTypes } from "../grid/spec.ts";
import type { WeightLayer } from "./sites.ts";

/** Layers that match, and what is special about them. */
export interface LayerRule {
  /** Node or weight name, glob, operator type, index or index range. */
  readonly match: string;
  readonly options: OwnSpec;
  /** Leave these layers as they are. */
  readonly keep: boolean;
  /** Static and dynamic quantization: integer weights that are read as floats; activations stay float. */
  readonly weightsOnly?: boolean | undefined;
  /** Why, where it was not asked for but decided: reports say it. */
  readonly reason?: string | undefined;
  /** False for layers that are decided like those that no rule names. */
  readonly named?: boolean | undefined;
  /** Decided in an earlier run: what the data says now does not change it. */
  readonly settled?: boolean | undefined;
}

const words: readonly { readonly test: RegExp; readonly option: keyof OwnSpec; value?(word: string): unknown }[] = [
  { test: new RegExp(`^(${weightDTypes.join("|")})$`), option: "dtype" },
  { test: /^\d+bit$/, option: "bits", value: (word) => Number.parseInt(word, 10) },
  { test: /^(symmetric|asymmetric)$/, option: "symmetric", value: (word) => word === "symmetric" },
  { test: /^(model|tensor|channel|group:\d+)$/, option: "granularity", value: granularityOf },
  { test: /^(absmax|mse|percentile(:[\d.]+)?)$/, option: "scale", value: scaleOf },
  { test: new RegExp(`^(${roundings.join("|")})$`), option: "rounding" },
  { test: /^rtn$/, option: "method" },
  { test: /^(matmul-nbits|dequantize|codebook)$/, option: "format" },
];

/** Reads the short form: patterns separated by commas, each with `@word+word` for its own options. @throws bad-recipe */
export function parseLayerRules(text: string): LayerRule[] {
  return text
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part)
    .map((part) => {
      const at = part.lastIndexOf("@");
      const match = at < 0 ? part : part.slice(0, at);
      const options: Record<string, unknown> = {};
      let keep = false;
      let weightsOnly = false;
      for (const word of at < 0 ? [] : part.slice(at + 1).split("+")) {
        const row = words.find(({ test }) => test.test(word));
        if (word === "keep") keep = true;
        else if (word === "weights-only") weightsOnly = true;
        else if (row) options[row.option] = row.value ? row.value(word) : word;
        else
          throw new TersorError(
            "bad-recipe",
            `layers "${part}": "${word}" is not an option: expected a dtype, granularity, scale, rounding, format, weights-only or keep, joined by +.`,
          );
      }
      return { match, options: options as OwnSpec, keep, ...(weightsOnly && { weightsOnly }) };
    });
}

const layerRule = z.strictObject({
  match: z.string(),
  keep: z.boolean().default(false),
  weightsOnly: z.boolean().optional(),
  reason: z.string().optional(),
  named: z.boolean().optional(),
  settled: z.boolean().optional(),
  options: ownSpecOptions.default({}),
});

/** Of every way of quantizing. */
export const layersOption = z
  .union([z.string().transform(parseLayerRules), z.array(layerRule)])
  .optional()
  .describe(
    'which layers, each with its own options: "conv1,block*.conv@int4+group:32,0-3,head@keep"; the rest is left alone',
  );

/** The rules that hold for each layer, in order; an empty list for a layer that none matches. @throws bad-recipe for a rule that matches nothing */
export function matchLayers(layers: readonly WeightLayer[], rules: readonly LayerRule[]): LayerRule[][] {
  const matches = layers.map((): LayerRule[] => []);
  for (const rule of rules) {
    const hits = layers.filter(layerMatcher(rule.match));
    if (hits.length === 0) throw unknownLayer(rule.match, layers);
    for (const layer of hits) matches[layer.index]?.push(rule);
  }
  return matches;
}

/** What was asked for one layer. */
export interface AskedLayer {
  /** Why it is to be left alone. */
  readonly reason?: string;
  /** Whether a rule names it. */
  readonly named: boolean;
  /** Why its activations stay float while its weight is quantized. */
  readonly weightsOnly?: string;
  /** What the data says does not change it. */
  readonly settled?: boolean;
  readonly options: OwnSpec;
}

/**
 * What rules ask for each layer; without one all are wanted.
 * @param overrides rules on top of these: they leave layers alone that they don't match
 * @throws bad-recipe as {@link matchLayers}
 */
export function askedLayers(
  layers: readonly WeightLayer[],
  rules: readonly LayerRule[] | undefined,
  overrides: readonly LayerRule[] = [],
): AskedLayer[] {
  const matches = rules && matchLayers(layers, rules);
  const laid = matchLayers(layers, overrides);
  return layers.map(({ index }) => {
    const own = matches?.[index];
    const over = laid[index] ?? [];
    const options: OwnSpec = Object.assign({}, ...[...(own ?? []), ...over].map((rule) => rule.options));
    const named = own?.some((rule) => rule.named !== false) ?? false;
    const last = own?.at(-1);
    if (own?.length === 0) return { reason: "not among the layers asked for", named, options };
    if (last?.keep) return { reason: last.reason ?? "kept as asked", named, options };
    if (over.at(-1)?.keep) return { reason: KEPT_FOR_BOUND, named, options };
    if (over.at(-1)?.weightsOnly) return { weightsOnly: WEIGHTS_FOR_BOUND, named, options };
    const settled = last?.settled === true;
    return {
      named,
      options,
      ...(settled && { settled }),
      ...(last?.weightsOnly && { weightsOnly: last.reason ?? "weights only, as asked" }),
    };
  });
}

/** Why a search for what keeps the outputs left a layer float, or its activations. */
const KEPT_FOR_BOUND = "kept float: the search for what keeps the outputs, or the time, left it so";
const WEIGHTS_FOR_BOUND =
  "weights only: the search for what keeps the outputs, or the time, left its activations float";

/** Whether a pattern picks a layer. */
export function layerMatcher(pattern: string): (layer: WeightLayer) => boolean {
  const test = namePattern(pattern);
  return (layer) => {
    const { index, value, opType, sites, name } = layer;
    return test({ index, names: [name, value.name, opType, ...sites.map(({ node }) => node.name)] });
  };
}

function unknownLayer(pattern: string, layers: readonly WeightLayer[]): TersorError {
  if (layers.length === 0)
    return new TersorError("bad-recipe", `layer "${pattern}": the model has no layer that can be quantized.`);
  const near = nearestNames(
    pattern,
    layers.map((layer) => layer.name),
  ).map((name) => `"${name}"`);
  return new TersorError(
    "bad-recipe",
    `layer "${pattern}": no such layer: expected a name, glob, operator type or index from 0 to ${layers.length - 1}. ${near.length > 0 ? `Nearest: ${near.join(", ")}. ` : ""}\`tersor inspect --layers\` lists them.`,
  );
}
