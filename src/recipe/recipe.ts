/** @file Recipes: what is to be done to a model, as data. Checked here; a wrong key is an error that names the near ones. */
import * as z from "zod";
import { TersorError } from "../util/errors.ts";
import { nearestNames } from "../util/nearest.ts";
import { byPath, type OptionNaming, parseOptions, writtenOptions } from "../util/options.ts";
import { type BoundOptions, type BoundSettings, boundOptions } from "./bound/bound.ts";
import type { BoundStep, JudgeOptions } from "./bound-step.ts";
import { refuseIdle } from "./effects.ts";
import { dataOption } from "./run-options.ts";
import type { DataSpec, Step } from "./step.ts";
import type { compareStep } from "./steps/compare.ts";
import type { distillStep } from "./steps/distill.ts";
import type { dynamicStep } from "./steps/dynamic.ts";
import type { equalizeStep } from "./steps/equalize.ts";
import type { finetuneStep } from "./steps/finetune.ts";
import type { float16Step } from "./steps/float16.ts";
import type { pruneStep } from "./steps/prune.ts";
import type { quantizeStep } from "./steps/quantize.ts";
import type { shrinkStep } from "./steps/shrink.ts";
import type { simplifyStep } from "./steps/simplify.ts";
import type { sparseStep } from "./steps/sparse.ts";
import type { staticStep } from "./steps/static.ts";
import { steps } from "./steps.ts";

type OptionsOf<S extends { readonly options: z.ZodType }> = z.input<S["options"]>;

/** A method by name, or with options of its own: `{ name: "gptq", actOrder: true }`. */
type WithMethod<Options extends { readonly method?: unknown }> = Omit<Options, "method"> & {
  readonly method?: Options["method"] | { readonly name: Options["method"]; readonly [option: string]: unknown };
};

/** Of the step `quantize`: what else there is follows from the mode. */
export type QuantizeStepOptions =
  | ({ readonly mode?: "weights" } & WithMethod<OptionsOf<typeof quantizeStep>>)
  | ({ readonly mode: "static" } & WithMethod<OptionsOf<typeof staticStep>>)
  | ({ readonly mode: "dynamic" } & OptionsOf<typeof dynamicStep>)
  | ({ readonly mode: "float16" } & OptionsOf<typeof float16Step>);

/** One step: its name and its options. */
export type RecipeStep =
  | { readonly simplify: OptionsOf<typeof simplifyStep> }
  | { readonly equalize: OptionsOf<typeof equalizeStep> }
  | { readonly prune: OptionsOf<typeof pruneStep> }
  | { readonly shrink: OptionsOf<typeof shrinkStep> }
  | { readonly finetune: OptionsOf<typeof finetuneStep> }
  | { readonly distill: OptionsOf<typeof distillStep> }
  | { readonly quantize: QuantizeStepOptions }
  | { readonly sparse: OptionsOf<typeof sparseStep> }
  | { readonly compare: OptionsOf<typeof compareStep> };

export interface Recipe {
  /** The model to read. Paths are relative to the recipe's folder. */
  readonly model: string;
  /** The model to write; its manifest is written beside it, with `.json` appended. */
  readonly output: string;
  /** Data for every step that needs some. */
  readonly data?: DataSpec;
  /** Seed of everything random; 0 when absent. */
  readonly seed?: number;
  /** Whether weights go into a file beside the model; "auto" when absent: above 2 GB. */
  readonly externalData?: "auto" | "always" | "never";
  /** How far the result may be from the original: the quantization step treats layers better until it holds. */
  readonly bound?: BoundOptions;
  /** Leave every layer as it is asked for, even where the outputs become useless: it is said, but not repaired. False when absent. */
  readonly asAsked?: boolean;
  /** Let the clock of this machine decide which layers of the quantization stay float. Then the bytes are not the same in every run: the report has the decisions. */
  readonly fitLatency?: boolean;
  readonly steps: readonly RecipeStep[];
}

/** The recipe itself: gives a tersor.config.ts its types. */
export function defineConfig(recipe: Recipe): Recipe {
  return recipe;
}

const recipeSchema = z.strictObject({
  model: z.string().min(1).describe("the model to read, relative to this file"),
  output: z.string().min(1).describe("the model to write"),
  data: dataOption.optional().describe("data for every step that needs some"),
  seed: z.int().min(0).default(0).describe("seed of everything random"),
  externalData: z
    .enum(["auto", "always", "never"])
    .default("auto")
    .describe("weights in a file beside the model; auto: above 2 GB"),
  bound: boundOptions
    .optional()
    .describe("how far the result may be from the original: layers are treated better until it holds"),
  fitLatency: z
    .boolean()
    .default(false)
    .describe("let the clock of this machine decide which layers stay float; the report has the decisions as layers"),
  asAsked: z
    .boolean()
    .default(false)
    .describe("leave every layer as asked for: useless outputs are said, but not repaired"),
  steps: z.array(z.record(z.string(), z.unknown())).min(1).describe("what to do, in order"),
});

export interface ParsedRecipe extends Omit<z.output<typeof recipeSchema>, "steps"> {
  readonly steps: readonly BoundStep[];
}

/** Checks a recipe from outside. @throws bad-recipe; `subject` opens the message */
export function parseRecipe(recipe: unknown, subject = "recipe"): ParsedRecipe {
  const parsed = parseOptions(recipeSchema, recipe, subject);
  const bound = parsed.steps.map((each, at) => bindStep(each, `${subject}: step ${at + 1}`, parsed));
  return { ...parsed, steps: looked(bound, parsed, subject) };
}

const stepsSchema = recipeSchema.omit({ model: true, output: true, externalData: true });

/** Checks the part of a recipe that is no file: steps, and how their result is held. @throws bad-recipe; `subject` opens the message */
export function parseSteps(given: unknown, subject: string): readonly BoundStep[] {
  const parsed = parseOptions(stepsSchema, given, subject);
  const isOne = parsed.steps.length === 1;
  const bound = parsed.steps.map((each, at) => bindStep(each, isOne ? "" : `${subject}: step ${at + 1}`, parsed));
  return looked(bound, parsed, subject);
}

type Held = Pick<ParsedRecipe, "bound" | "asAsked" | "fitLatency">;

/** With the step that is held to the bound, or judged, marked as such. */
function looked(bound: BoundStep[], { bound: settings, ...held }: Held, subject: string): BoundStep[] {
  return settings ? underBound(bound, settings, subject) : judged(bound, held);
}

/** Has the last quantization judged, unless its result is trained further: that is what repairs it then. */
function judged(bound: BoundStep[], { asAsked, fitLatency }: JudgeOptions): BoundStep[] {
  const last = bound.findLastIndex(({ step }) => step.variants);
  if (bound.slice(last + 1).some(({ step }) => step.needs.includes("training"))) return bound;
  return bound.map((each, at) => (at === last ? { ...each, judge: { asAsked, fitLatency } } : each));
}

/** Puts the one step that can keep a bound under it. @throws bad-recipe where it is not one */
function underBound(bound: readonly BoundStep[], settings: BoundSettings, subject: string): BoundStep[] {
  const able = bound.filter(({ step }) => step.variants);
  if (able.length !== 1) {
    const names = new Set(steps.filter(({ variants }) => variants).map(({ name }) => name));
    throw new TersorError(
      "bad-recipe",
      `${subject}: bound: expected exactly one step of ${[...names].join(", ")}, got ${able.length === 0 ? "none" : able.map(({ step }) => titleOf(step)).join(" and ")}. Only one step can be held to it.`,
    );
  }
  return bound.map((each) => (each === able[0] ? { ...each, bound: settings } : each));
}

interface StepsAround {
  readonly seed?: number;
  readonly data?: unknown;
  readonly naming?: OptionNaming;
}

/**
 * A step by name with its options. The seed holds for options that name none.
 * @throws bad-recipe for wrong options, and for those that have no effect
 */
export function bindStep(
  entry: Readonly<Record<string, unknown>>,
  subject: string,
  { seed = 0, data, naming = byPath }: StepsAround,
): BoundStep {
  const [name, ...more] = Object.keys(entry);
  const names = [...new Set(steps.map((each) => each.name))];
  if (name === undefined || !names.includes(name) || more.length > 0) {
    const near = name === undefined || names.includes(name) ? [] : nearestNames(name, names, 1);
    const got = name === undefined ? "no key" : [name, ...more].map((key) => `"${key}"`).join(", ");
    throw new TersorError(
      "bad-recipe",
      `${subject}: expected one of ${names.join(", ")} as the only key, got ${got}${near.length > 0 ? ` (did you mean ${near[0]}?)` : ""}.`,
    );
  }
  const { step, given: asked } = stepOf(name, entry[name], within(subject, name));
  const given = withMethod(asked);
  const seeded = "seed" in step.options.shape && isRecord(given) ? { seed, ...given } : given;
  const title = titleOf(step);
  const options = parseOptions(step.options, seeded, within(subject, title), { naming });
  const named = isRecord(given) ? Object.keys(given).filter((key) => given[key] !== undefined) : [];
  refuseIdle({ title, given: named, options }, { hasData: data !== undefined }, within(subject, title), naming);
  const written = writtenOptions(step.options, seeded);
  return { step, options, written: step.mode === undefined ? written : { mode: step.mode, ...written } };
}

/** A method with options of its own, `{ name: "gptq", actOrder: true }`, as the two options that it stands for. */
function withMethod(given: unknown): unknown {
  if (!isRecord(given) || !isRecord(given.method)) return given;
  const { name, ...methodOptions } = given.method;
  return {
    ...given,
    method: name,
    methodOptions: { ...methodOptions, ...(given.methodOptions as object | undefined) },
  };
}

/** A step by itself is its own subject. */
const within = (subject: string, title: string) => (subject === "" ? title : `${subject} (${title})`);

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** What messages call a step: `quantize`, `quantize static`. */
export function titleOf({ name, mode }: Step): string {
  return mode === undefined || mode === "weights" ? name : `${name} ${mode}`;
}

/**
 * The row of a name, by its mode where there are several: the first one without. Its options come without the mode.
 * @throws bad-recipe for another mode
 */
export function stepOf(
  name: string,
  value: unknown,
  subject: string,
): { readonly step: Step; readonly given: unknown } {
  const rows = steps.filter((each) => each.name === name);
  const [first] = rows as [Step];
  if (rows.length === 1 || !isRecord(value)) return { step: first, given: value };
  const { mode = first.mode, ...given } = value;
  const step = rows.find((each) => each.mode === mode);
  if (step) return { step, given };
  const modes = rows.flatMap((each) => each.mode ?? []);
  const [near] = typeof mode === "string" ? nearestNames(mode, modes, 1) : [];
  throw new TersorError(
    "bad-recipe",
    `${subject}: "mode": expected one of ${modes.join(", ")}, got ${JSON.stringify(mode)}${near ? ` (did you mean ${near}?)` : ""}.`,
  );
}

/** The JSON Schema of recipes, for editors. */
export function recipeJsonSchema(): unknown {
  const step = z.union(
    steps.map((each) => {
      const mode = each.mode === "weights" ? z.literal(each.mode).default("weights") : z.literal(each.mode ?? "");
      const options = each.mode === undefined ? each.options : each.options.extend({ mode });
      return z.strictObject({ [each.name]: options }).describe(each.summary);
    }) as unknown as readonly [z.ZodType, z.ZodType],
  );
  // What can be given in code alone, such as samples, is nothing in JSON.
  return z.toJSONSchema(recipeSchema.extend({ steps: z.array(step).min(1) }), {
    io: "input",
    unrepresentable: "any",
    override: ({ zodSchema, jsonSchema }) => {
      if (zodSchema._zod.def.type === "custom") jsonSchema.not = {};
    },
  });
}
