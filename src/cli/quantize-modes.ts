/** @file The ways of quantizing that `tersor quantize` knows, and which flags belong to which. */
import type { z } from "zod";
import type { RecipeStep } from "../recipe/recipe.ts";
import { TersorError } from "../util/errors.ts";
import { type OptionNaming, parseOptions } from "../util/options.ts";
import type { Options } from "./args.ts";
import { stepFrom } from "./step-options.ts";
import { withTarget } from "./target-file.ts";

interface Mode {
  readonly mode: "weights" | "static" | "dynamic" | "float16";
  /** What messages call it. */
  readonly title: string;
  readonly schema: z.ZodObject;
  /** Options of the step that the command line uses for something else. */
  readonly hidden: readonly string[];
}

/** Loads the schemas: not before one is needed. */
async function modes(): Promise<readonly Mode[]> {
  const [{ quantizeStepOptions }, { staticStepOptions }, { dynamicStepOptions }, { float16StepOptions }] =
    await Promise.all([
      import("../recipe/steps/quantize.ts"),
      import("../recipe/steps/static.ts"),
      import("../recipe/steps/dynamic.ts"),
      import("../recipe/steps/float16.ts"),
    ]);
  return [
    { mode: "weights", title: "quantizing weights alone", schema: quantizeStepOptions, hidden: ["data"] },
    {
      mode: "static",
      title: "static quantization (--calibrate without --method, or with --activations)",
      schema: staticStepOptions,
      hidden: [],
    },
    { mode: "float16", title: "a float16 model (--float16)", schema: float16StepOptions, hidden: [] },
    { mode: "dynamic", title: "dynamic quantization (--dynamic)", schema: dynamicStepOptions, hidden: [] },
  ];
}

/** The flags of measuring share names with options of steps; they are no sign of a mode. */
const shared = new Set(["samples", "shapes", "runtime", "threads", "optimization", "seed"]);

/** Flags of calibration, which equalization takes as well. */
const calibrationFlags = ["calibrate", "calibrationSamples", "batchSize"] as const;
/** Flags that equalization shares with the quantization behind it. */
const ofQuantizing = [...calibrationFlags, "dtype", "granularity", "threads"];

/**
 * The step that equalizes before the model is quantized, where the flags ask for it.
 * @throws bad-recipe for wrong values, and where it has no use
 */
export async function equalizeStepFor(options: Options, naming: OptionNaming): Promise<RecipeStep | undefined> {
  const { equalizeStepOptions } = await import("../recipe/steps/equalize.ts");
  const details = (["alpha", "insertMul"] as const).find((name) => options[name] !== undefined);
  if (options.equalize === undefined) {
    if (details === undefined) return undefined;
    throw new TersorError("bad-recipe", `${naming([details])}: goes with ${naming(["equalize"])}. Give both.`);
  }
  if (options.float16)
    throw new TersorError("bad-recipe", `${naming(["equalize"])}: float16 gains nothing by it. Leave one of them out.`);
  const known = Object.keys(equalizeStepOptions.shape);
  const own = Object.fromEntries(Object.entries(options).filter(([name]) => known.includes(name)));
  const { equalize } = parseOptions(equalizeStepOptions, own, "quantize", { naming });
  const blind = equalize.find((name) => name !== "cross-layer");
  if (blind && options.calibrate === undefined)
    throw new TersorError(
      "bad-recipe",
      `${naming(["equalize"])} ${blind}: needs to see activations: expected ${naming(["calibrate"])}. Name some samples, or use cross-layer.`,
    );
  return stepFrom("equalize", own, "quantize", { naming, shared: ofQuantizing });
}

/**
 * The step that the flags ask for: the one that is named; static with calibration data and no method, or a type for activations; else
 * weights alone.
 * @throws bad-recipe for wrong values, and for a flag that belongs to another way of quantizing
 */
export async function quantizeStepFor(options: Options, naming: OptionNaming): Promise<RecipeStep> {
  const all = await modes();
  const isStatic =
    options.calibrate !== undefined && (options.method === undefined || options.activations !== undefined);
  const asked = (["dynamic", "float16"] as const).find((name) => options[name] === true);
  const name = asked ?? (isStatic ? "static" : "weights");
  const mode = all.find((each) => each.mode === name) as Mode;
  const known = namesOf(mode);
  for (const other of all)
    for (const option of namesOf(other))
      if (
        options[option] !== undefined &&
        !known.includes(option) &&
        !shared.has(option) &&
        !isForEqualizing(option, options)
      )
        throw new TersorError(
          "bad-recipe",
          `${naming([option])}: does not go with ${mode.title}: it is for ${other.title}. Leave one of them out.`,
        );
  const given = known.filter((option) => options[option] !== undefined);
  const own = await withTarget(Object.fromEntries(given.map((option) => [option, options[option]])));
  const settings = { ...(name !== "weights" && { mode: name }), ...own };
  return stepFrom("quantize", settings, "quantize", { data: options.data, naming, shared: [...shared] });
}

function isForEqualizing(name: string, { equalize }: Options): boolean {
  return equalize !== undefined && (calibrationFlags as readonly string[]).includes(name);
}

/** Options of the command line that a mode takes. */
function namesOf({ schema, hidden }: Mode): string[] {
  return Object.keys(schema.shape).filter((key) => !hidden.includes(key));
}
