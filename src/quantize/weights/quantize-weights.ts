/** @file Weight quantization of a model: decides per layer, rewrites the graph, reports every layer. */
import * as z from "zod";
import type { Model } from "../../ir/model.ts";
import type { Value } from "../../ir/value.ts";
import { convertOpset } from "../../passes/convert-opset/convert-opset.ts";
import { removeDeadCode } from "../../passes/dead-code.ts";
import { exposeWeights } from "../../passes/expose-weights.ts";
import { TersorError } from "../../util/errors.ts";
import { parseOptions } from "../../util/options.ts";
import { codebookWriter } from "../formats/codebook.ts";
import { keepProductsFused } from "../formats/decoded-products.ts";
import type { FormatWriter, LayerPlan, WrittenLayer } from "../formats/format.ts";
import { gatherBlockQuantizedWriter } from "../formats/gather-block-quantized.ts";
import { slicesOf } from "../grid/slices.ts";
import { describeSpec, isInteger, type OwnSpec, resolveSpec, specOptions, withOwn } from "../grid/spec.ts";
import { askedLayers, type LayerRule, layersOption } from "../layers/layer-rules.ts";
import {
  floatConstants,
  type LeftConstant,
  leftFloat,
  MIN_ELEMENTS,
  type RewrittenConstant,
  rewrittenConstants,
} from "../layers/left-float.ts";
import { type LayerReport, layerReport } from "../layers/report.ts";
import { findLayers, type SkippedNode, type WeightLayer } from "../layers/sites.ts";
import { computeInPool, type MethodPool, type PrecomputeOptions } from "../lazy/pool/method-pool.ts";
import { methods } from "../methods/index.ts";
import { isDepthwise } from "../static/rules.ts";
import { chooseFormat } from "./choose-format.ts";
import { fewRowsNotes, type MethodStats, methodRun } from "./method-stats.ts";
import { modelScale } from "./model-scale.ts";

/** Above this many weights their SQNR is measured only when asked for: it costs as much as quantizing them. */
const MEASURE_UP_TO = 40_000_000;

export const quantizeOptions = specOptions.extend({
  layers: layersOption,
  minElements: z
    .int()
    .min(0)
    .default(MIN_ELEMENTS)
    .describe("weights with fewer elements stay float: they would not get smaller"),
  fitCosts: z
    .boolean()
    .default(true)
    .describe(
      "leave depthwise convolutions float where they hold few of the weights: decoding those takes several times as long as the layer",
    ),
  seed: z.int().min(0).default(0).describe("seed of stochastic rounding"),
  accuracyLevel: z
    .int()
    .min(0)
    .max(4)
    .default(4)
    .describe("MatMulNBits: 4 lets activations be int8, 0 keeps them float"),
  measure: z.boolean().optional().describe("measure every weight's SQNR; default up to 40 million weights"),
});

export type QuantizeOptions = z.input<typeof quantizeOptions>;
export type QuantizeSettings = z.output<typeof quantizeOptions>;

export interface QuantizeResult {
  /** Its quantized weights are computed when they are read: writing the model is what does the work. */
  readonly model: Model;
  /** The layers; call it after the model was written to have their SQNR. */
  layers(): LayerReport[];
  /** Operators that could hold weights and don't. */
  readonly skipped: readonly SkippedNode[];
  /** Every constant of size that is float in the model as it is written, with who reads it and why. */
  left(): LeftConstant[];
  /** Constants besides the layers' weights that are not what they were. */
  rewritten(): RewrittenConstant[];
  /** What the user should know, such as a raised opset. */
  readonly notes: readonly string[];
}

/** A result whose weights may be computed before the model is written. */
export interface LazyQuantizeResult extends QuantizeResult {
  /**
   * Computes ahead, in a pool, what gptq, awq and hqq take long for; the bytes are the same. The codes are kept until they are read: in
   * memory at once are all codes, and the float weights of one layer more than the pool has workers. @throws as MethodPool.run
   */
  precompute(pool: MethodPool, options?: PrecomputeOptions): Promise<void>;
  /** About how many multiplications {@link precompute} would take off the writing of the model. */
  readonly work: number;
}

/**
 * Quantizes the weights of a model (activations stay float).
 * @param stats what gptq and awq need, from collectMethodStats on the same model
 * @param overrides options of single layers on top of `options.layers`: layers that they don't match stay as asked
 * @throws bad-recipe for options that contradict each other or fit no layer; bad-data for NaN in weights (when they are read)
 */
export function quantize(
  model: Model,
  options: QuantizeOptions | QuantizeSettings = {},
  stats?: MethodStats,
  overrides: readonly LayerRule[] = [],
): LazyQuantizeResult {
  const settings = parseOptions(quantizeOptions, options, "quantize");
  const notes: string[] = [];
  const prepared = exposeWeights(model);
  let copy = prepared.modified ? prepared.model : model.clone();
  let plans = makePlans(copy, settings, stats, overrides);
  const { skipped } = findLayers(copy);
  const need = Math.max(0, ...plans.flatMap(({ writer, plan }) => (writer && plan ? [writer.opset(plan)] : [])));
  if (copy.opset < need) {
    const before = copy.opset;
    copy = convertOpset(copy, need).model;
    plans = makePlans(copy, settings, stats, overrides);
    notes.push(`opset raised from ${before} to ${need}: what is written needs it`);
  }
  const informed = plans.flatMap(({ layer, plan }) => (plan?.run && plan.spec.method !== "hqq" ? [layer] : []));
  notes.push(...fewRowsNotes(informed, stats));
  const before = floatConstants(copy);
  shareModelScales(plans);
  const done = new Map<number, WrittenLayer>();
  for (const { layer, plan, writer } of plans) {
    if (!plan || !writer) continue;
    done.set(layer.index, writer.write(plan, copy));
    dropConstant(layer.value);
  }
  if (done.size > 0) {
    keepProductsFused(copy.graph);
    copy = removeDeadCode(copy).model;
  }
  const pending = [...done.values()].flatMap((written) => written.pending ?? []);
  const layers = () => plans.map((entry) => report(entry, done.get(entry.layer.index)));
  return {
    model: copy,
    left: () => leftFloat(copy, before, layers(), settings),
    rewritten: () => rewrittenConstants(copy, before, layers()),
    precompute: (pool, precompute) => computeInPool(pending, pool, precompute),
    work: pending.reduce((sum, weight) => sum + weight.work, 0),
    layers,
    skipped,
    notes,
  };
}

/** Share of all weights up to which those of depthwise convolutions are not worth their time. */
const FEW_DEPTHWISE = 0.125;

function isDepthwiseLayer({ sites }: WeightLayer): boolean {
  return sites.every(({ node }) => isDepthwise(node));
}

interface PlannedLayer {
  readonly layer: WeightLayer;
  readonly reason?: string;
  readonly misfit?: boolean;
  readonly own?: OwnSpec;
  plan?: LayerPlan;
  readonly writer?: FormatWriter;
}

function makePlans(
  model: Model,
  settings: QuantizeSettings,
  stats: MethodStats | undefined,
  overrides: readonly LayerRule[],
): PlannedLayer[] {
  const { layers: selection, minElements, seed, accuracyLevel, measure: wantsSqnr, fitCosts, ...defaults } = settings;
  const { layers } = findLayers(model);
  const total = layers.reduce((sum, layer) => sum + layer.weight.size, 0);
  const measure = wantsSqnr ?? total <= MEASURE_UP_TO;
  const asked = askedLayers(layers, selection, overrides);
  const depthwise = layers.filter(isDepthwiseLayer).reduce((sum, layer) => sum + layer.weight.size, 0);
  const decodingCosts = fitCosts && depthwise <= FEW_DEPTHWISE * total;
  const plans = asked.map(({ reason, named, options }, index): PlannedLayer => {
    const layer = layers[index] as WeightLayer;
    if (reason !== undefined) return { layer, reason };
    if (layer.weight.size < minElements && !named)
      return { layer, reason: `${layer.weight.size} weights: below ${minElements} nothing is gained` };
    if (decodingCosts && !named && isDepthwiseLayer(layer))
      return {
        layer,
        reason:
          'depthwise: few weights, and decoding them at every run would take several times as long as the layer ("NAME@int8" or --no-fit-costs quantizes it all the same)',
      };
    const subject = `weight "${layer.value.name}"`;
    const wanted = resolveSpec(withOwn(defaults, options), subject);
    const { spec, ...choice } = chooseFormat(layer, wanted, options, subject);
    const plan = { layer, spec, seed, measure, accuracyLevel };
    // Round to nearest needs no method, but where the inputs have changed it rounds weights that make up for that.
    const isCorrected = stats?.get(layer.value.name)?.sequential !== undefined && spec.rounding === "nearest";
    if ((spec.method === "rtn" && !isCorrected) || !isInteger(spec.dtype))
      return { layer, plan, own: options, ...choice };
    const run =
      choice.writer === gatherBlockQuantizedWriter
        ? "lookups are rounded to nearest"
        : methodRun(layer, spec.method, stats, spec.methodOptions);
    if (typeof run !== "string") return { layer, plan: { ...plan, run }, own: options, ...choice };
    return {
      layer,
      plan: { ...plan, spec: { ...spec, method: "rtn" } },
      own: options,
      ...choice,
      reason: choice.reason ?? run,
    };
  });
  const planned = plans.filter(({ plan }) => plan);
  const [first] = planned;
  const blind = planned.every(({ plan }) => plan?.spec.method === "rtn");
  if (first && blind && methods[defaults.method].needs !== "nothing" && !stats)
    throw new TersorError(
      "bad-recipe",
      `method ${defaults.method}: needs to see the inputs of the layers: expected calibration data. Name some with calibrate, or use hqq or rtn.`,
    );
  // A group size that fits no layer at all is a mistake, not a compromise.
  if (first && planned.every(({ misfit }) => misfit))
    slicesOf(first.layer.weight.dims, first.layer.axes, defaults.granularity, `weight "${first.layer.value.name}"`);
  return plans;
}

/** Gives all layers of one spec with granularity "model" one scale, as one shared initializer. */
function shareModelScales(plans: readonly PlannedLayer[]): void {
  const groups = new Map<string, PlannedLayer[]>();
  for (const entry of plans) {
    const { plan } = entry;
    if (plan?.spec.granularity.per !== "model" || !isInteger(plan.spec.dtype) || entry.writer === codebookWriter)
      continue;
    const key = `${describeSpec(plan.spec)} ${entry.layer.weight.dtype}`;
    groups.set(key, [...(groups.get(key) ?? []), entry]);
  }
  for (const entries of groups.values()) {
    const weights = entries.flatMap(({ plan, layer }) =>
      plan ? [{ name: layer.value.name, weight: layer.weight, spec: plan.spec }] : [],
    );
    const graph = rootOf(entries[0] as PlannedLayer);
    const { scale, zeroPoint, params } = modelScale(weights);
    const fixed = {
      ...params,
      scale: graph.addInitializer("model_scale", scale),
      zeroPoint: graph.addInitializer("model_zero_point", zeroPoint),
    };
    for (const entry of entries) if (entry.plan) entry.plan = { ...entry.plan, fixed };
  }
}

function rootOf({ layer }: PlannedLayer) {
  let { graph } = layer.value;
  while (graph.parent) graph = graph.parent;
  return graph;
}

/** Removes a weight that nothing uses any more, also from the inputs of an old-style model. */
function dropConstant(value: Value): void {
  if (!value.isUnused) return;
  value.tensor = undefined;
  value.graph.removeValue(value);
}

function report({ layer, plan, writer, reason, own }: PlannedLayer, written: WrittenLayer | undefined): LayerReport {
  return layerReport(layer, {
    reason,
    spec: plan && describeSpec(plan.spec),
    format: writer?.name,
    bytes: written?.bytes,
    sqnr: written?.sqnr(),
    own,
  });
}
