/** @file A step of a recipe with its options, and how its result is looked at. */

import type { BoundSettings } from "./bound/bound.ts";
import type { Step } from "./step.ts";

/** A step with its options, checked and complete. */
export interface BoundStep {
  readonly step: Step;
  /** Parsed: what the step is run with. */
  readonly options: Readonly<Record<string, unknown>>;
  /** As in the recipe, with every default filled in: what the manifest records. */
  readonly written: Readonly<Record<string, unknown>>;
  /** The step treats layers better until it holds. */
  readonly bound?: BoundSettings;
  /** The step's outputs are looked at. */
  readonly judge?: JudgeOptions;
}

/** How a recipe wants its quantization judged. */
export interface JudgeOptions {
  /** Measure, but repair nothing. */
  readonly asAsked: boolean;
  /** Let the clock decide which layers stay float. */
  readonly fitLatency: boolean;
}
