/** @file What dynamic quantization will do to a model: which nodes become integer ones, which weights get codes, and why not. */
import { type Model, nestedGraphs } from "../../ir/model.ts";
import type { Node } from "../../ir/node.ts";
import type { Value } from "../../ir/value.ts";
import type { InputShapes } from "../../ops/infer-inputs.ts";
import { inferTypes } from "../../passes/infer-shapes.ts";
import { TersorError } from "../../util/errors.ts";
import { own } from "../../util/own.ts";
import { granularityName, plainSpec, resolveSpec, withOwn } from "../grid/spec.ts";
import { type AskedLayer, askedLayers, type LayerRule } from "../layers/layer-rules.ts";
import { findLayers, nodeName, opKey, type SkippedNode, type WeightLayer } from "../layers/sites.ts";
import { type DynamicDType, type DynamicSettings, dynamicDTypes } from "./options.ts";
import type { DynamicUnit, PlannedLayer } from "./rule.ts";
import { dynamicRules, noInteger } from "./rules.ts";
import { slowNodes } from "./worth.ts";

export interface DynamicPlan {
  readonly layers: readonly PlannedLayer[];
  /** In graph order. */
  readonly units: readonly DynamicUnit[];
  readonly skipped: readonly SkippedNode[];
}

/** Whether anything of a layer is quantized. */
export function isQuantized({ units, floatUses }: PlannedLayer): boolean {
  return units.length > 0 || floatUses.length > 0;
}

/** Why the activations of layers stay float, by the name of their weight. */
export type WeightsOnly = ReadonlyMap<string, string>;

/**
 * @param overrides options of single layers on top of `settings.layers`
 * @throws bad-recipe for options that fit no layer
 */
export function planDynamic(
  model: Model,
  settings: DynamicSettings,
  overrides: readonly LayerRule[] = [],
  weightsOnly: WeightsOnly = new Map(),
  inputShapes?: InputShapes,
): DynamicPlan {
  const { layers, skipped } = findLayers(model);
  const asked = askedLayers(layers, settings.layers, overrides);
  // Whoever names a layer has decided.
  const free = layers.filter(({ index }) => !asked[index]?.named).flatMap(({ sites }) => sites.map(({ node }) => node));
  const types = inferTypes(model, inputShapes ? { inputShapes } : {});
  const slow = settings.fitCosts ? slowNodes(free, types, settings.target) : new Map<Node, string>();
  const drafts = layers.map((layer) => draftOf(layer, asked[layer.index] as AskedLayer, settings, weightsOnly));
  const inputsOf = new Map<Node, Map<number, Draft>>();
  for (const draft of drafts)
    for (const { node, input } of draft.reason ? [] : draft.layer.sites) {
      if (draft.floatUses.includes(node)) continue;
      const inputs = inputsOf.get(node) ?? new Map<number, Draft>();
      inputsOf.set(node, inputs.set(input, draft));
    }
  const products =
    !settings.activationProducts || settings.layers !== undefined ? new Set<Node>() : floatProducts(model);
  const units: DynamicUnit[] = [];
  const coded = new Set<Node>();
  for (const node of nestedGraphs(model.graph).flatMap((graph) => graph.nodes)) {
    const inputs = inputsOf.get(node) ?? new Map<number, Draft>();
    const rule = own(dynamicRules, opKey(node));
    if (inputs.size === 0 && !products.has(node)) continue;
    const none = own(noInteger, opKey(node)) ?? `${opKey(node)} has no integer form`;
    const obstacle = rule ? (rule.obstacle?.(node, new Set(inputs.keys()), settings) ?? slow.get(node)) : none;
    if (obstacle || !rule) {
      for (const draft of inputs.values())
        draft.obstacles.push({ node, reason: obstacle ?? none, advice: rule ? "" : ": quantize its weights only" });
      continue;
    }
    const unit = { node, rule, weights: inputs };
    units.push(unit);
    coded.add(node);
    for (const draft of new Set(inputs.values())) draft.units.push(unit);
  }
  for (const draft of drafts) {
    draft.reason ??= reasonOf(draft) ?? draft.warning;
  }
  return {
    layers: drafts,
    units,
    skipped: skipped.filter(({ name }) => !units.some((u) => nodeName(u.node) === name)),
  };
}

/** Why a layer stays as it is, or which of its readers decode codes that others take as they are. */
function reasonOf(draft: Draft): string | undefined {
  const [obstacle] = draft.obstacles;
  if (!obstacle || !isQuantized(draft)) return obstacle && obstacle.reason + obstacle.advice;
  const { node, reason } = obstacle;
  return `${opKey(node)} "${nodeName(node)}" decodes the codes: ${reason}`;
}

interface Draft extends PlannedLayer {
  readonly units: DynamicUnit[];
  readonly obstacles: { readonly node: Node; readonly reason: string; readonly advice: string }[];
  readonly warning?: string;
  reason?: string | undefined;
}

function draftOf(
  layer: WeightLayer,
  { options, named, settled, reason, weightsOnly: asked }: AskedLayer,
  settings: DynamicSettings,
  weightsOnly: WeightsOnly,
): Draft {
  const { weight, value } = layer;
  const subject = `weight "${value.name}"`;
  const { target } = settings;
  // Unsigned codes keep all 8 bits where signed ones would saturate, and ConvInteger is fast with them alone.
  const isUnsigned = target.saturates || layer.sites.some(({ node }) => opKey(node) === "Conv");
  const dtype = options.dtype ?? settings.dtype ?? (isUnsigned ? "uint8" : target.weights.dtype);
  if (!isDynamicDType(dtype))
    throw new TersorError(
      "bad-recipe",
      `${subject}: dtype ${dtype}: expected ${dynamicDTypes.join(" or ")}. Others have no dynamic integer kernel.`,
    );
  const granularity = options.granularity ?? { per: settings.granularity };
  if (granularity.per !== "tensor" && granularity.per !== "channel")
    throw new TersorError(
      "bad-recipe",
      `${subject}: granularity ${granularityName(granularity)}: expected tensor or channel. Integer kernels have no groups.`,
    );
  const reduced = settings.reduceRange ?? (dtype === "int8" && target.saturates);
  const scale = options.scale ?? { by: settings.scale };
  const bits = options.bits ?? (reduced ? 7 : 8);
  const spec = resolveSpec(withOwn(plainSpec, { ...options, dtype, granularity, scale, bits }), subject);
  const few = weight.size < settings.minElements && !named;
  const why =
    reason ??
    (weight.dtype !== "float32"
      ? `${weight.dtype}: activations can be quantized as they come from float32 only`
      : undefined) ??
    (few ? `${weight.size} weights: below ${settings.minElements} nothing is gained` : undefined);
  const floatReason = asked ?? (settled ? undefined : weightsOnly.get(value.name));
  const isFloatUse = (node: Node) => floatReason !== undefined || opKey(node) === "Gather";
  const floatUses = why ? [] : layer.sites.map(({ node }) => node).filter(isFloatUse);
  const overrides = dtype === "int8" && !reduced && target.saturates;
  const warning = overrides ? `8 bits as asked: sums may saturate on ${target.name}` : undefined;
  const said = why ?? floatReason;
  return {
    layer,
    spec,
    units: [],
    obstacles: [],
    floatUses,
    own: options,
    weightsOnly: floatReason !== undefined,
    ...(said && { reason: said }),
    ...(warning && { warning }),
  };
}

function isDynamicDType(dtype: string): dtype is DynamicDType {
  return (dynamicDTypes as readonly string[]).includes(dtype);
}

/** MatMul nodes that multiply two float32 activations. */
function floatProducts(model: Model): Set<Node> {
  const types = inferTypes(model);
  const isFloat = (value: Value | undefined) => {
    const type = value && !value.isConstant ? types.get(value) : undefined;
    return type?.kind === "tensor" && type.dtype === "float32";
  };
  const nodes = nestedGraphs(model.graph).flatMap((graph) => graph.nodes);
  return new Set(nodes.filter((node) => opKey(node) === "MatMul" && node.inputs.every(isFloat)));
}
