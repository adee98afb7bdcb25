/** @file Decisions of quantization by layer: kept, weights alone, or options of its own. The one place that turns them into options again. */
import type { Model } from "../../ir/model.ts";
import { type OwnSpec, ownSpecOptions } from "../../quantize/grid/spec.ts";
import { type LayerRule, layerMatcher } from "../../quantize/layers/layer-rules.ts";
import type { LayerReport } from "../../quantize/layers/report.ts";
import { findLayers } from "../../quantize/layers/sites.ts";
import { OPERAND } from "../../quantize/static/plan.ts";
import { namePattern } from "../../util/name-pattern.ts";
import type { StepReport } from "../step.ts";
import type { Carried, Choice, DecisionRow, Setting } from "./decisions.ts";
import type { LayerPlace } from "./layer-graph.ts";

/** Kept for a reason, or quantized; absent fields are as for all layers. */
interface QuantizeChoice extends Choice {
  readonly keep?: string;
  readonly weightsOnly?: string;
  readonly own?: Readonly<Record<string, unknown>>;
}

function choicesOf(report: StepReport, places: readonly LayerPlace[]): (Choice | undefined)[] | undefined {
  if (!report.layers) return undefined;
  const reports = new Map((report.layers as readonly LayerReport[]).map((layer) => [layer.weight, layer]));
  return places.map(({ weight }) => {
    const layer = reports.get(weight);
    return layer && choiceOf(layer);
  });
}

/** Undefined for what is not decided but follows from the model. */
function choiceOf({ status, reason, own, weightsOnly }: LayerReport): QuantizeChoice | undefined {
  if (status === "kept") return reason === OPERAND ? undefined : { keep: reason ?? "" };
  return { ...(weightsOnly && { weightsOnly: reason ?? "" }), ...(own && { own }) };
}

const ofOptions = { choicesOf, isSame: (one: Choice, other: Choice) => keyOf(one) === keyOf(other), differs };

/** Reasons may be other words. */
function keyOf({ keep, weightsOnly, own = {} }: QuantizeChoice): string {
  if (keep !== undefined) return "keep";
  return JSON.stringify([weightsOnly !== undefined, Object.entries(own).sort(([a], [b]) => (a < b ? -1 : 1))]);
}

function differs(_: Choice, now: QuantizeChoice | undefined): string {
  if (!now) return "it is no layer of its own here";
  if (now.keep !== undefined) return `left as it was: ${now.keep}`;
  if (now.weightsOnly !== undefined) return `its weights alone: ${now.weightsOnly}`;
  return `other options now: ${JSON.stringify(now.own ?? {})}`;
}

/** Of the ways that have rules for layers. */
export const byRules: DecisionRow = {
  ...ofOptions,
  reapply(carried, setting) {
    const fitting = carried.map((each) => ({ each, reason: misfitOf(each, setting.model) }));
    const rules = fitting.flatMap(({ each, reason }) => (reason ? asRecipe(each.to, setting) : [ruleOf(each)]));
    const fresh = setting.fresh.flatMap((at) => asRecipe(at, setting));
    return {
      options: { ...setting.options, layers: [...rules, ...fresh] },
      misfits: fitting.flatMap(({ each: { from }, reason }) => (reason ? [{ from, reason }] : [])),
    };
  },
};

function ruleOf({ to, choice }: Carried): LayerRule {
  const { keep, weightsOnly, own } = choice as QuantizeChoice;
  const match = String(to);
  if (keep !== undefined) return { match, keep: true, options: {}, settled: true, reason: asBefore(keep) };
  return {
    match,
    keep: false,
    options: ownOf(own),
    settled: true,
    ...(weightsOnly !== undefined && { weightsOnly: true, reason: asBefore(weightsOnly) }),
  };
}

const BEFORE = "as before: ";

/** However often it is applied, it is said once. */
function asBefore(reason: string): string {
  return reason.startsWith(BEFORE) ? reason : `${BEFORE}${reason || "kept"}`;
}

function ownOf(own: QuantizeChoice["own"] = {}): OwnSpec {
  return ownSpecOptions.parse(Object.fromEntries(Object.entries(own).map(([key, value]) => [key, value ?? undefined])));
}

/** Why a decision for a layer is impossible now that this has another size. */
function misfitOf({ to, choice, resized }: Carried, model: Model): string | undefined {
  if (!resized) return undefined;
  const { granularity } = ownOf((choice as QuantizeChoice).own);
  const layer = findLayers(model).layers[to];
  if (!layer || granularity?.per !== "group") return undefined;
  const length = layer.weight.dims[layer.axes.group] as number;
  return length % granularity.size === 0
    ? undefined
    : `groups of ${granularity.size} do not divide its ${length} inputs now`;
}

/** What the recipe says of a layer that it did not know. */
function asRecipe(at: number, { model, options }: Setting): LayerRule[] {
  const asked = options.layers as readonly LayerRule[] | undefined;
  const match = String(at);
  if (!asked) return [{ match, keep: false, options: {}, named: false }];
  const layer = findLayers(model).layers[at];
  // Numbers named layers of the old model.
  const named = asked.filter((rule) => layer && !isNumber(rule.match) && layerMatcher(rule.match)(layer));
  return named.map((rule) => ({ ...rule, match }));
}

const isNumber = (pattern: string) => /^\d+(-\d+)?$/.test(pattern);

/** Of float16: what stays float32 is named in a list. */
export const byBlocklist: DecisionRow = {
  ...ofOptions,
  reapply(carried, { model, options }) {
    const { layers } = findLayers(model);
    const kept = carried.filter(({ choice: { keep } }) => keep !== undefined && keep !== "float16 already");
    const outputs = kept.flatMap(({ to }) => (layers[to]?.sites ?? []).map(({ node }) => node.output().name));
    // Names of the old model that are not there any more stand in its layers' decisions.
    const nodes = model.graphs().flatMap((graph) => graph.nodes);
    const known = nodes.map((node, index) => ({
      index,
      names: [node.name, node.opType, ...node.outputs.flatMap((output) => (output ? [output.name] : []))],
    }));
    const asked = (options.blocklist ?? []) as readonly string[];
    const still = asked.filter((pattern) => known.some(namePattern(pattern)));
    return { options: { ...options, blocklist: [...new Set([...still, ...outputs])] }, misfits: [] };
  },
};
