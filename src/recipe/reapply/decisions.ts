/** @file What a step decided for single layers, as its manifest has it, and the rows that know how a step is told to decide so again. */
import * as z from "zod";
import type { Model } from "../../ir/model.ts";
import { calibrationOptions } from "../data/calibration.ts";
import { inputOptions, runtimeOptions } from "../run-options.ts";
import type { Step, StepReport } from "../step.ts";
import type { LayerPlace } from "./layer-graph.ts";
import type { LayerMatch } from "./match-layers.ts";

/** Of one layer: what a row's own `choiceOf` says. */
export type Choice = Readonly<Record<string, unknown>>;

/** A layer with its decision; without one where the step has nothing to say of it. */
export interface DecidedLayer extends LayerPlace {
  readonly choice?: Choice;
}

/** Decisions that are not of single layers, such as the widths of groups. */
export interface Decisions {
  readonly layers: readonly DecidedLayer[];
  /** What else the step chose for the whole, such as its criterion. */
  readonly whole?: Choice;
}

const place = z.object({
  name: z.string(),
  weight: z.string(),
  op: z.string(),
  shape: z.string(),
  after: z.array(z.int()),
  numbers: z.string().optional(),
  choice: z.record(z.string(), z.unknown()).optional(),
});

export const decisionsSchema = z.object({
  layers: z.array(place),
  whole: z.record(z.string(), z.unknown()).optional(),
});

/** A layer of the new model that one of the old is, with what was decided for that. */
export interface Carried extends LayerMatch {
  readonly layer: DecidedLayer;
  readonly choice: Choice;
}

/** What a row makes of decisions. */
export interface Reapplied {
  /** The options that make the step decide so. */
  readonly options: Readonly<Record<string, unknown>>;
  /** Decisions that do not fit the layer that they are for, by index of the old model. */
  readonly misfits: readonly { readonly from: number; readonly reason: string }[];
}

export interface Setting {
  /** The new model as the step sees it. */
  readonly model: Model;
  readonly options: Readonly<Record<string, unknown>>;
  /** Indices of layers that the old model did not have. */
  readonly fresh: readonly number[];
  readonly whole: Choice;
}

/** How one kind of step decides by layers. */
export interface DecisionRow {
  /** What a report says was decided, by layer; undefined where it says nothing of it. */
  choicesOf(report: StepReport, places: readonly LayerPlace[]): readonly (Choice | undefined)[] | undefined;
  wholeOf?(report: StepReport): Choice;
  /** Whether two layers are treated alike. */
  isSame(one: Choice, other: Choice): boolean;
  /** How a layer that was to be treated like `before` was treated instead. */
  differs(before: Choice, now: Choice | undefined): string;
  reapply(carried: readonly Carried[], setting: Setting): Reapplied;
}

/** Options that say what is looked at and what runs it: with others, the same decisions hold. */
const around: ReadonlySet<string> = new Set([
  ...Object.keys(calibrationOptions),
  ...Object.keys(inputOptions),
  ...Object.keys(runtimeOptions),
  ...["seed", "compressed", "measure", "finetune", "latencyTable"],
]);

/** The first option that is not what it was when decisions were made, in words; undefined where they still hold. */
export function changedOption(before: Choice, now: Choice): string | undefined {
  const keys = [...new Set([...Object.keys(before), ...Object.keys(now)])].filter((key) => !around.has(key));
  const said = (value: unknown) => (value === undefined || value === null ? "nothing" : JSON.stringify(value));
  const changed = keys.find((key) => said(before[key]) !== said(now[key]));
  return changed && `${changed} was ${said(before[changed])} and is ${said(now[changed])}`;
}

/** As tables name a step. */
export function rowName({ name, mode }: Step): string {
  return mode === undefined ? name : `${name} ${mode}`;
}
