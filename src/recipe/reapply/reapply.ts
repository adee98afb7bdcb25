/** @file Takes a step as an earlier run took it: finds its layers in the model of now, has the step decide as before, and looks at what it did. */
import type { Model } from "../../ir/model.ts";
import { exposeWeights } from "../../passes/expose-weights.ts";
import { TersorError } from "../../util/errors.ts";
import type { BoundStep } from "../bound-step.ts";
import type { StepReport } from "../step.ts";
import { type Carried, type Choice, changedOption, type DecisionRow, type Decisions, rowName } from "./decisions.ts";
import { layerPlaces, placeName } from "./layer-graph.ts";
import { matchPlaces } from "./match-layers.ts";
import { decisionRows } from "./rows.ts";

/** A step of an earlier run, as its manifest has it. */
export interface EarlierStep {
  readonly step: string;
  readonly options: Choice;
  readonly decisions?: Decisions | undefined;
}

/** What a manifest says of decisions that were made before. */
export interface ReapplyReport {
  /** Layers that something was decided for. */
  readonly decisions: number;
  /** Of them, those that were found by their name, and by where they stand, and were treated alike. */
  readonly byName: number;
  readonly byStructure: number;
  /** Those that were not, and why. */
  readonly lost: readonly { readonly layer: string; readonly reason: string }[];
  /** Layers that were not there before: quantized and given zeros as the recipe says; their channels stay. */
  readonly fresh: readonly string[];
}

/** A step as it is to be run. */
export interface PreparedStep {
  readonly entry: BoundStep;
  readonly model: Model;
  /** What the manifest says of it besides, once the step's report is complete. */
  finish(report: StepReport): { readonly decisions?: Decisions; readonly reapplied?: ReapplyReport };
}

/**
 * @param earlier the step that stood in its place, where there is one
 * @throws bad-model where none of its layers is found
 */
export function prepareStep(entry: BoundStep, model: Model, earlier?: EarlierStep): PreparedStep {
  const row = decisionRows[rowName(entry.step)];
  if (!row) return { entry, model, finish: () => ({}) };
  const exposed = exposeWeights(model).model;
  const places = layerPlaces(exposed);
  const decided = (report: StepReport) => {
    const choices = row.choicesOf(report, places);
    return (
      choices && { layers: places.map((place, at) => ({ ...place, ...(choices[at] && { choice: choices[at] }) })) }
    );
  };
  const recorded = (report: StepReport) => {
    const own = decided(report);
    const whole = row.wholeOf?.(report);
    return own && { decisions: { ...own, ...(whole && { whole }) } };
  };
  const before = earlier?.decisions;
  if (!earlier || !before) return { entry, model, finish: (report) => ({ ...recorded(report) }) };
  const changed =
    earlier.step === entry.step.name ? changedOption(earlier.options, entry.written) : "it is another step";
  if (changed) {
    const lost = deciding(before).map(({ layer }) => ({ layer, reason: `decided anew: ${changed}` }));
    return {
      entry,
      model,
      finish: (report) => ({ ...recorded(report), reapplied: { ...none, decisions: lost.length, lost } }),
    };
  }
  const isAlike = (one: number, other: number) => isSame(row, before.layers[one]?.choice, before.layers[other]?.choice);
  const { found, lost, fresh } = matchPlaces(before.layers, places, isAlike);
  if (found.length === 0 && before.layers.length > 0)
    throw new TersorError(
      "bad-model",
      `model: nothing in common with the one that was decided for: expected at least one of its ${before.layers.length} layers, such as ${before.layers
        .slice(0, 3)
        .map((each) => `"${placeName(each)}"`)
        .join(", ")}, got none. Run the recipe without earlier decisions: move the manifest away.`,
    );
  const carried = found.flatMap((match): Carried[] => {
    const layer = before.layers[match.from];
    return layer?.choice ? [{ ...match, layer, choice: layer.choice }] : [];
  });
  const free = found.filter(({ from }) => !before.layers[from]?.choice).map(({ to }) => to);
  const { options, misfits } = row.reapply(carried, {
    model: exposed,
    options: entry.options,
    fresh: [...fresh, ...free],
    whole: before.whole ?? {},
  });
  // What the clock decided is among the decisions.
  const judge = entry.judge && { judge: { ...entry.judge, fitLatency: false } };
  return {
    entry: { ...entry, options, ...judge },
    model: exposed,
    finish: (report) => {
      const now = recorded(report);
      const reasons = new Map([...lost, ...misfits].map(({ from, reason }) => [from, reason]));
      for (const { from, to, choice } of now ? carried : []) {
        const became = now?.decisions.layers[to]?.choice;
        if (!reasons.has(from) && !isSame(row, choice, became)) reasons.set(from, row.differs(choice, became));
      }
      const all = deciding(before);
      const kept = carried.filter(({ from }) => !reasons.has(from));
      return {
        ...now,
        reapplied: {
          decisions: all.length,
          byName: kept.filter(({ by }) => by === "name").length,
          byStructure: kept.filter(({ by }) => by === "structure").length,
          lost: all.flatMap(({ at, layer }) => (reasons.has(at) ? [{ layer, reason: reasons.get(at) ?? "" }] : [])),
          fresh: fresh.map((at) => placeName(places[at] as (typeof places)[number])),
        },
      };
    },
  };
}

const none: ReapplyReport = { decisions: 0, byName: 0, byStructure: 0, lost: [], fresh: [] };

function deciding({ layers }: Decisions): { readonly at: number; readonly layer: string }[] {
  return layers.flatMap((layer, at) => (layer.choice ? [{ at, layer: placeName(layer) }] : []));
}

function isSame(row: DecisionRow, one: Choice | undefined, other: Choice | undefined): boolean {
  return one === other || (one !== undefined && other !== undefined && row.isSame(one, other));
}

/** Of all steps of a run; undefined where nothing was to be decided as before. */
export function reappliedInAll(reports: readonly (ReapplyReport | undefined)[]): ReapplyReport | undefined {
  const known = reports.filter((report) => report !== undefined);
  if (known.length === 0) return undefined;
  const sum = (key: "decisions" | "byName" | "byStructure") => known.reduce((total, report) => total + report[key], 0);
  return {
    decisions: sum("decisions"),
    byName: sum("byName"),
    byStructure: sum("byStructure"),
    lost: known.flatMap(({ lost }) => lost),
    fresh: [...new Set(known.flatMap(({ fresh }) => fresh))],
  };
}
