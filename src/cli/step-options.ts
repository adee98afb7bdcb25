/** @file Options of the command line as a step takes them: checked with the names of flags, shared ones where they have an effect. */
import { idleOptions } from "../recipe/effects.ts";
import { bindStep, type RecipeStep, stepOf, titleOf } from "../recipe/recipe.ts";
import { TersorError } from "../util/errors.ts";
import type { OptionNaming } from "../util/options.ts";
import type { Options } from "./args.ts";

export interface StepAround {
  /** Whether --data names samples for all steps. */
  readonly data?: unknown;
  readonly naming: OptionNaming;
  /** Flags that another step of the command takes as well: left out where this one has no use for them. */
  readonly shared?: readonly string[];
}

/**
 * A step of a recipe from the options of the command line.
 * @throws bad-recipe for wrong values, and for flags that have no effect; `command` opens the message
 */
export function stepFrom(
  name: string,
  options: Options,
  command: string,
  { data, naming, shared = [] }: StepAround,
): RecipeStep {
  const { step, given } = stepOf(name, options, command);
  const parsed = step.options.safeParse(given).data ?? {};
  const idle = idleOptions(
    { title: titleOf(step), given: Object.keys(options), options: parsed },
    { hasData: data !== undefined },
  );
  const own = Object.fromEntries(Object.entries(options).filter(([key]) => !(idle.has(key) && shared.includes(key))));
  bindStep({ [name]: own }, "", { data, naming });
  return { [name]: own } as unknown as RecipeStep;
}

/** Flags of measuring: the step `compare`, and a bound. */
export const measuring = [
  "metric",
  "samples",
  "shapes",
  "runtime",
  "threads",
  "optimization",
  "runs",
  "perLayer",
] as const;

/**
 * @param steps that the command takes, the one that measures among them where anything is measured
 * @throws bad-recipe for a flag of measuring that none of them takes
 */
export function checkMeasuring(
  options: Options,
  steps: readonly object[],
  command: string,
  naming: OptionNaming,
): void {
  const taken = new Set(steps.flatMap((step) => Object.values(step).flatMap((own) => Object.keys(own as object))));
  const idle = measuring.filter((name) => name !== "threads" && options[name] !== undefined && !taken.has(name));
  if (idle.length === 0) return;
  const flags = idle.map((name) => naming([name])).join(", ");
  throw new TersorError(
    "bad-recipe",
    `${command}: ${flags}: nothing is measured: expected ${naming(["data"])} or ${naming(["check"])} with it. Give one, or leave it out.`,
  );
}
