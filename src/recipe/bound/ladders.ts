/** @file How a layer can be treated better, step by step: for weights alone, static, dynamic and float16 quantization. */
import { type DynamicPlan, isQuantized } from "../../quantize/dynamic/plan.ts";
import {
  describeSpec,
  isInteger,
  type OwnSpec,
  type QuantSpec,
  resolveSpec,
  type SpecSettings,
  type WeightDType,
  withOwn,
} from "../../quantize/grid/spec.ts";
import type { LayerRule } from "../../quantize/layers/layer-rules.ts";
import type { LayerReport } from "../../quantize/layers/report.ts";
import type { WeightLayer } from "../../quantize/layers/sites.ts";
import type { StaticSettings } from "../../quantize/static/options.ts";
import type { StaticPlan } from "../../quantize/static/plan.ts";
import type { WeightChoice } from "../../quantize/static/weights.ts";
import { dtypeInfo } from "../../tensor/dtype.ts";
import type { LayerLadder, Rung } from "../step.ts";

/** A rung that says how it is done: options over those of the layer. */
export interface RuleRung extends Rung {
  readonly rule: Pick<LayerRule, "options" | "keep" | "weightsOnly">;
}

export interface RuleLadder extends LayerLadder {
  readonly index: number;
  readonly rungs: readonly RuleRung[];
}

/** The rules that put each layer on its level. */
export function rulesAt(ladders: readonly RuleLadder[], levels: readonly number[]): LayerRule[] {
  return ladders.flatMap(({ index, rungs }, at) => {
    const level = levels[at] as number;
    return level === 0 ? [] : [{ match: String(index), ...(rungs[level] as RuleRung).rule }];
  });
}

/** A ladder for every layer that `reports` has as quantized. */
export function laddersOf(
  layers: readonly WeightLayer[],
  reports: readonly LayerReport[],
  rungsOf: (layer: WeightLayer) => readonly RuleRung[],
): RuleLadder[] {
  const quantized = new Set(reports.filter(({ status }) => status === "quantized").map(({ index }) => index));
  return layers.filter(({ index }) => quantized.has(index)).map((layer) => ladderOf(layer, rungsOf(layer)));
}

/** Ladders of the integer layers of static quantization. */
export function staticLadders({ weights, settings }: StaticPlan): RuleLadder[] {
  return weights.flatMap(({ layer, choice }) => (choice ? [ladderOf(layer, staticRungs(choice, settings))] : []));
}

/** Ladders of the layers of dynamic quantization. */
export function dynamicLadders({ layers }: DynamicPlan): RuleLadder[] {
  return layers.filter(isQuantized).map(({ layer, spec }) => ladderOf(layer, dynamicRungs(spec)));
}

function ladderOf(layer: WeightLayer, rungs: readonly RuleRung[]): RuleLadder {
  const outputs = layer.sites.flatMap(({ node }) => node.outputs.flatMap((output) => (output ? [output.name] : [])));
  const { index, name, value } = layer;
  return { index, name, weight: value.name, outputs, rungs: [...rungs, keptRung(layer)] };
}

function keptRung({ weight }: WeightLayer): RuleRung {
  return { label: weight.dtype, bits: dtypeInfo(weight.dtype).bits, rule: { options: {}, keep: true } };
}

/** Integer weights with float activations: no larger, but slower than integer products. */
function weightsOnlyRung(): RuleRung {
  return { label: "int8 channel, weights only", bits: 9, rule: { options: {}, keep: false, weightsOnly: true } };
}

/** Groups that the 4-bit kernels of runtimes are made for. */
const GROUP = 32;

/** The next wider type of codes. */
const wider: Partial<Record<WeightDType, WeightDType>> = {
  int2: "int4",
  uint2: "uint4",
  int4: "int8",
  uint4: "uint8",
};

interface Change {
  readonly options: OwnSpec;
  applies(spec: QuantSpec, layer: WeightLayer): boolean;
}

/** What improves codes of the same width, in this order. */
function improvements(hasData: boolean): readonly Change[] {
  return [
    { options: { scale: { by: "mse" } }, applies: ({ scale }) => scale.by === "absmax" },
    {
      options: { granularity: { per: "channel" } },
      applies: ({ granularity: { per } }) => per === "tensor" || per === "model",
    },
    {
      options: { method: hasData ? "gptq" : "hqq", rounding: "nearest" },
      applies: ({ method }) => method === "rtn",
    },
    {
      options: { granularity: { per: "group", size: GROUP } },
      applies: ({ dtype, granularity }, { weight, axes }) =>
        dtypeInfo(dtype).bits <= 4 &&
        granularity.per === "channel" &&
        (weight.dims[axes.group] as number) % GROUP === 0,
    },
  ];
}

/**
 * Rungs of weight quantization: scales by mse, per channel, a better method, groups; wider codes; float16.
 * @param asked the layer's options
 * @param hasData whether methods that look at data may be used
 */
export function weightRungs(layer: WeightLayer, asked: SpecSettings, hasData: boolean): RuleRung[] {
  const subject = `weight "${layer.value.name}"`;
  let own: OwnSpec = {};
  let spec = resolveSpec(asked, subject);
  const rungs: RuleRung[] = [];
  const add = (options: OwnSpec) => {
    own = { ...own, ...options };
    spec = resolveSpec(withOwn(asked, own), subject);
    rungs.push({ label: describeSpec(spec), bits: costOf(spec), rule: { options: own, keep: false } });
  };
  add({});
  if (!isInteger(spec.dtype)) return rungs;
  for (const { options, applies } of improvements(hasData)) if (applies(spec, layer)) add(options);
  for (let next = nextWider(spec); next; next = nextWider(spec)) add(next);
  if (layer.weight.dtype === "float32") add({ dtype: "float16", bits: undefined, method: "rtn" });
  return rungs;
}

function nextWider({ dtype, bits, granularity }: QuantSpec): OwnSpec | undefined {
  // Eight bits per channel lose so little that groups would only cost.
  const coarse =
    granularity.per === "group" && granularity.size === GROUP ? ({ granularity: { per: "channel" } } as const) : {};
  const next = wider[dtype];
  if (next) return { dtype: next, bits: undefined, ...(dtypeInfo(next).bits === 8 && { method: "rtn", ...coarse }) };
  return isInteger(dtype) && bits < 8 ? { bits: 8, method: "rtn", ...coarse } : undefined;
}

/** Bits per weight, with those of the scales of groups. */
function costOf({ dtype, bits, granularity }: QuantSpec): number {
  const stored = dtypeInfo(dtype).bits;
  return Math.max(bits, stored) + (granularity.per === "group" ? 32 / granularity.size : 0);
}

function staticRungs(choice: WeightChoice, settings: StaticSettings): RuleRung[] {
  const { dtype, bits, perChannel, scale } = choice;
  let own: OwnSpec = {};
  const rungs: RuleRung[] = [];
  const add = (label: string, cost: number, options: OwnSpec) => {
    own = { ...own, ...options };
    rungs.push({ label, bits: cost, rule: { options: own, keep: false } });
  };
  const stored = dtypeInfo(dtype).bits;
  const per = perChannel ? "channel" : "tensor";
  add(`${dtype} ${per}`, stored, {});
  // Scales of 7 bits are chosen by what can't overflow.
  if (scale === "absmax" && bits !== 7) add(`${dtype} ${per} mse`, stored, { scale: { by: "mse" } });
  const canSplit =
    !perChannel && settings.granularity === "tensor" && (settings.target.weights.perChannel || bits === 4);
  if (canSplit) add(`${dtype} channel`, stored, { granularity: { per: "channel" } });
  if (bits === 4)
    add(`int8 ${canSplit ? "channel" : per}`, 8, {
      dtype: "int8",
      scale: { by: "absmax" },
      ...(dtype !== "int4" && { bits: settings.target.saturates ? 7 : 8 }),
    });
  rungs.push(weightsOnlyRung());
  return rungs;
}

function dynamicRungs(spec: QuantSpec): RuleRung[] {
  let own: OwnSpec = {};
  let current = spec;
  const rungs: RuleRung[] = [];
  const add = (options: OwnSpec, changed: Partial<QuantSpec>) => {
    own = { ...own, ...options };
    current = { ...current, ...changed };
    rungs.push({ label: describeSpec(current), bits: 8, rule: { options: own, keep: false } });
  };
  add({}, {});
  if (spec.scale.by === "absmax") add({ scale: { by: "mse" } }, { scale: { by: "mse" } });
  if (spec.granularity.per !== "channel") add({ granularity: { per: "channel" } }, { granularity: { per: "channel" } });
  if (spec.bits < 8) add({ dtype: "uint8", bits: 8 }, { dtype: "uint8", bits: 8, symmetric: false });
  rungs.push(weightsOnlyRung());
  return rungs;
}

/** The one rung of a layer in a float16 model below the one that keeps it. */
export function float16Rungs(): RuleRung[] {
  return [{ label: "float16", bits: 16, rule: { options: {}, keep: false } }];
}
