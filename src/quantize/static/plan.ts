/** @file What static quantization will do to a model: decided before any data is seen. */
import { perChannel } from "../../calibrate/channels.ts";
import type { Collector, Range } from "../../calibrate/collector.ts";
import type { Model } from "../../ir/model.ts";
import type { Node } from "../../ir/node.ts";
import type { Value } from "../../ir/value.ts";
import type { InputShapes } from "../../ops/infer-inputs.ts";
import { convertOpset } from "../../passes/convert-opset/convert-opset.ts";
import { inferTypes } from "../../passes/infer-shapes.ts";
import { TersorError } from "../../util/errors.ts";
import { parseOptions } from "../../util/options.ts";
import { type OwnSpec, plainSpec, type QuantSpec, resolveSpec } from "../grid/spec.ts";
import { type AskedLayer, askedLayers, type LayerRule } from "../layers/layer-rules.ts";
import { findLayers, opKey, type SkippedNode, type WeightLayer } from "../layers/sites.ts";
import { type Observation, observations } from "../weights/method-stats.ts";
import { type CodedValue, codeClasses } from "./classes.ts";
import { type Flow, findFlow, hasWeight, isFixed, type Unit } from "./flow.ts";
import { rangeCollector, type StaticOptions, type StaticSettings, staticOptions } from "./options.ts";
import { isDepthwise } from "./rules.ts";
import { spreadBiases } from "./spread-bias.ts";
import type { WeightChoice } from "./weights.ts";
import { noWorth, type Worth, worthOf } from "./worth.ts";

/** A weight and what becomes of it. */
export interface PlannedWeight {
  readonly layer: WeightLayer;
  /** Absent where it stays as it is. */
  readonly choice?: WeightChoice;
  /** Codes that are read as floats, where its activations stay float. */
  readonly floatSpec?: QuantSpec;
  readonly reason?: string;
  /** Options of its own, over those of all. */
  readonly own?: OwnSpec;
}

export interface StaticPlan {
  /** The model that is calibrated and then rewritten: a copy, raised to the opset that the result needs. */
  readonly model: Model;
  readonly settings: StaticSettings;
  readonly flow: Flow;
  readonly coded: ReadonlyMap<Value, CodedValue>;
  readonly weights: readonly PlannedWeight[];
  readonly skipped: readonly SkippedNode[];
  readonly notes: readonly string[];
  /** A new collector for every value whose range must be known. */
  rangeCollectors(): Map<string, Collector<Range>>;
  /** Where inputs must be seen by the method, by the name of the weight. */
  observations(): Map<string, Observation>;
  /** New collectors of the means that correct the layers' biases; none where that is not wanted. */
  meanCollectors(): Map<string, Collector<Float32Array>>;
}

/** Lowest opset of what is written: QuantizeLinear per channel; Cast from the packed types. */
const OPSET = 13;
const PACKED_OPSETS: Readonly<Record<string, number>> = { int4: 21, int2: 25 };

/**
 * Decides what computes with integers. The model should be simplified first: a batch norm that is not folded keeps the
 * convolution before it from being fused.
 * @param overrides options of single layers on top of `options.layers`: layers that they don't match stay as asked
 * @throws bad-recipe for options that contradict each other, and for layers that are not there
 */
export function planStatic(
  model: Model,
  options: StaticOptions = {},
  overrides: readonly LayerRule[] = [],
  inputShapes?: InputShapes,
): StaticPlan {
  const settings = parseOptions(staticOptions, options, "static");
  const notes: string[] = [];
  const need = Math.max(...codeTypes(settings).map((dtype) => PACKED_OPSETS[dtype] ?? OPSET));
  const copy = model.opset < need ? convertOpset(model, need).model.clone() : model.clone();
  if (model.opset < need) notes.push(`opset raised from ${model.opset} to ${need}: what is written needs it`);
  spreadBiases(copy.graph);
  const { layers } = findLayers(copy);
  const asked = askedLayers(layers, settings.layers, overrides);
  const excluded = new Map<Node, string>();
  for (const [index, layer] of layers.entries()) {
    const { reason: kept, weightsOnly } = asked[index] as AskedLayer;
    const reason = kept ?? weightsOnly;
    if (reason) for (const { node } of layer.sites) excluded.set(node, reason);
  }
  const flowOf = () => findFlow(copy.graph, { target: settings.target, types, excluded: (node) => excluded.get(node) });
  const types = inferTypes(copy);
  let flow = flowOf();
  // Whoever names a layer has decided.
  const named = new Set(
    layers.filter(({ index }) => asked[index]?.named).flatMap(({ sites }) => sites.map(({ node }) => node)),
  );
  const sized = inputShapes ? inferTypes(copy, { inputShapes }) : types;
  // Packed weights are asked for their size.
  const isPacked = settings.dtype !== undefined && settings.dtype in PACKED_OPSETS;
  const worth =
    settings.fitCosts && !isPacked ? worthOf(flow, sized, settings.target, (node) => named.has(node)) : noWorth;
  for (const [node, reason] of worth.reasons) excluded.set(node, reason);
  if (worth.reasons.size > 0) flow = flowOf();
  const coded = codeClasses(flow);
  notes.push(...settingNotes(settings), ...worthNotes(worth, flow));
  const planned = plannedWeights(layers, asked, flow, { settings, worth });
  return {
    model: copy,
    settings,
    flow,
    coded,
    weights: planned,
    skipped: flow.islands
      .filter(({ node }) => !layers.some((layer) => layer.sites.some((site) => site.node === node)))
      .map(({ node, reason }) => ({ name: node.name || node.output().name, opType: opKey(node), reason })),
    notes,
    rangeCollectors: () => {
      const observed = new Set([...coded.values()].flatMap((each) => each.class.observed));
      return new Map([...observed].map((value) => [value.name, rangeCollector(settings)]));
    },
    observations: () => {
      const chosen = new Set(
        planned.flatMap(({ layer, choice }) => (choice && choice.method !== "rtn" ? [layer.value.name] : [])),
      );
      return new Map([...observations(copy)].filter(([name]) => chosen.has(name)));
    },
    meanCollectors: () => {
      const inputs = settings.correctBias ? flow.units.filter(hasBias).map(({ node }) => node) : [];
      return new Map(inputs.map((node) => [node.input(0).name, perChannel("mean", 1)]));
    },
  };
}

/** Whether a bias can make up for errors of the weight. */
function hasBias(unit: Unit): boolean {
  const { node, rule } = unit;
  return hasWeight(unit) && rule.bias !== undefined && isFixed(node.inputs[rule.bias]);
}

/** Types that codes of weights may have. */
function codeTypes({ dtype = "int8", layers = [] }: StaticSettings): string[] {
  return [dtype, ...layers.flatMap(({ options }) => options.dtype ?? [])];
}

/** Of a constant that is an operand of integer arithmetic: it needs no decision. */
export const OPERAND = "coded as an operand, like an activation";

function plannedWeights(
  layers: readonly WeightLayer[],
  asked: readonly AskedLayer[],
  flow: Flow,
  { settings, worth }: { readonly settings: StaticSettings; readonly worth: Worth },
): PlannedWeight[] {
  const units = new Map(flow.units.map((unit) => [unit.node, unit]));
  const islands = new Map(flow.islands.map(({ node, reason }) => [node, reason]));
  const isUsed = (layer: WeightLayer) => layer.sites.some(({ node, input }) => units.get(node)?.rule.weight === input);
  const used = layers.filter(isUsed);
  return layers.map((layer) => {
    const { options, weightsOnly, reason: kept } = asked[layer.index] as AskedLayer;
    if (weightsOnly && !kept)
      return {
        layer,
        reason: weightsOnly,
        floatSpec: floatSpecOf(layer),
      };
    if (isUsed(layer)) {
      const isEdge = layer === used[0] || layer === used.at(-1);
      if (isEdge && PACKED_OPSETS[settings.dtype ?? ""] && !options.dtype)
        return {
          layer,
          choice: choiceOf(layer, { ...options, dtype: "int8" }, settings),
          reason: "first or last layer: 8 bits, which cost little there and count most",
        };
      const choice = choiceOf(layer, options, settings);
      const overrides = options.bits === 8 && choice.dtype === "int8" && settings.target.saturates;
      if (overrides)
        return { layer, choice, own: options, reason: `8 bits as asked: sums may saturate on ${settings.target.name}` };
      return { layer, choice, own: options };
    }
    const known = layer.sites.map(({ node }) => islands.get(node)).find((reason) => reason);
    if (layer.sites.every(({ node }) => worth.decoded.has(node)))
      return { layer, floatSpec: floatSpecOf(layer), ...(known && { reason: `weights only: ${known}` }) };
    if (layer.sites.some(({ node }) => units.has(node))) return { layer, reason: OPERAND };
    const inside = layer.sites.every(({ node }) => node.graph.parent);
    const none = `${layer.opType} has no integer kernel: quantize its weights only`;
    return { layer, reason: known ?? (inside ? "inside a subgraph" : none) };
  });
}

/** Codes that are read as floats: int8 per channel. */
function floatSpecOf({ value }: WeightLayer): QuantSpec {
  return resolveSpec(plainSpec, `weight "${value.name}"`);
}

/** What a layer may have of its own. */
const layerOptions: ReadonlySet<string> = new Set(["dtype", "bits", "granularity", "scale"]);

/** Whether a weight can have scales per channel. Readers that count channels along different axes have codes of their own then. */
function hasChannels({ weight, opType }: WeightLayer): boolean {
  return opType === "Conv" || weight.dims.length === 2;
}

/** The weight's codes: what was asked for the layer, else for all, else what suits the target. @throws bad-recipe */
function choiceOf(layer: WeightLayer, own: OwnSpec, settings: StaticSettings): WeightChoice {
  const { target, granularity, scale } = settings;
  const subject = `weight "${layer.value.name}"`;
  const dtype = own.dtype ?? settings.dtype ?? target.weights.dtype;
  if (dtype !== "int8" && dtype !== "uint8" && dtype !== "int4" && dtype !== "int2")
    throw new TersorError(
      "bad-recipe",
      `${subject}: dtype ${dtype}: expected int8, uint8, int4 or int2. Others have no integer kernel.`,
    );
  const activations = settings.activations ?? target.activations;
  if (activations === "int8" && dtype === "uint8")
    throw new TersorError(
      "bad-recipe",
      `${subject}: uint8 weights with int8 activations: there is no such kernel. Use int8 weights or uint8 activations.`,
    );
  const per = own.granularity?.per ?? granularity;
  if (per !== "tensor" && per !== "channel")
    throw new TersorError(
      "bad-recipe",
      `${subject}: granularity ${per}: expected tensor or channel. Integer kernels have no groups.`,
    );
  const foreign = Object.keys(own).find((key) => !layerOptions.has(key));
  if (foreign !== undefined)
    throw new TersorError(
      "bad-recipe",
      `${subject}: option ${foreign}: integer layers do not have it: expected ${[...layerOptions].join(", ")}.`,
    );
  if (own.bits !== undefined && ![4, 7, 8].includes(own.bits))
    throw new TersorError("bad-recipe", `${subject}: bits ${own.bits}: expected 4, 7 or 8.`);
  const sumsInPairs = target.saturates && !layer.sites.every(({ node }) => isDepthwise(node));
  const wide = dtype === "uint8" || !sumsInPairs ? 8 : 7;
  const packed = { int4: 4, int2: 2 } as const;
  const bits = dtype === "int4" || dtype === "int2" ? packed[dtype] : ((own.bits as 4 | 7 | 8 | undefined) ?? wide);
  const by = own.scale?.by ?? scale ?? (bits <= 4 ? "mse" : "absmax");
  if (by !== "absmax" && by !== "mse")
    throw new TersorError("bad-recipe", `${subject}: scale ${by}: expected absmax or mse.`);
  return {
    dtype,
    bits,
    perChannel: per === "channel" && hasChannels(layer) && (target.weights.perChannel || bits <= 4),
    scale: by,
    method: settings.method,
  };
}

/** What the division by costs comes to, where it left layers float. */
function worthNotes({ reasons, ratio, machine }: Worth, { units }: Flow): string[] {
  if (reasons.size === 0 || ratio === undefined) return [];
  const integer = units.filter(({ rule }) => rule.role === "anchor").length;
  return [
    `${integer} of ${integer + reasons.size} layers are worth their integers: by counted costs the layers take ${ratio.toFixed(2)} of float32's time (${machine}); \`--layers "*"\` quantizes all of them`,
  ];
}

function settingNotes({ target, dtype, granularity }: StaticSettings): string[] {
  if (!target.saturates || dtype !== "int8") return [];
  return [
    `target ${target.name} sums 8-bit products in 16 bits: int8 weights${granularity === "channel" ? " per channel" : ""} are scaled so that no such sum overflows`,
  ];
}
