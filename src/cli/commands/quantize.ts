/** @file `tersor quantize`. */
import { readFileSync } from "node:fs";
import { basename, dirname, extname, join } from "node:path";
import { reason } from "../../node/file-source.ts";
import { kindOf } from "../../recipe/node/files.ts";
import { runRecipe } from "../../recipe/node/run-recipe.ts";
import { type OptionNaming, parseOptions } from "../../recipe/parse-options.ts";
import type { Recipe, RecipeStep } from "../../recipe/recipe.ts";
import { type CompareOptions, compareOptions } from "../../recipe/steps/compare.ts";
import { quantizeStepOptions } from "../../recipe/steps/quantize.ts";
import { TersorError } from "../../util/errors.ts";
import { type CommandInput, flagNaming, type Options } from "../args.ts";
import { dataOptionsOf } from "../options-file.ts";
import { withProgress } from "../progress.ts";
import { headline } from "../quantize-text.ts";
import { palette } from "../render.ts";
import { stepText } from "../step-text.ts";

export async function run({ command, args, options, io }: CommandInput): Promise<number> {
  const [model = ""] = args;
  const naming = flagNaming(command);
  const isStatic = options.calibrate !== undefined && options.method === undefined;
  const step = isStatic ? await staticStepOf(options, naming) : weightStep(options, naming);
  const output = outputFor(model, options.output as string | undefined, String(options.dtype ?? "int8"));
  const isMeasured = options.data !== undefined || options.check === true || options.metric !== undefined;
  const recipe: Recipe = {
    model,
    output,
    ...(options.data !== undefined && { data: options.data as string }),
    ...(options.seed !== undefined && { seed: options.seed as number }),
    ...(options.externalData !== undefined && { externalData: "always" }),
    steps: [
      { simplify: { level: options.simplify === false ? "constants" : "all" } },
      step,
      ...(isMeasured ? [compareStep(options, naming)] : []),
    ],
  };
  const result = await withProgress(io, (progress) =>
    runRecipe(recipe, {
      signal: io.signal,
      progress,
      dryRun: options.dryRun === true,
      dataOptions: dataOptionsOf(options.dataOptions),
    }),
  );
  const { manifest } = result;
  io.json({ ...manifest, files: result.files });
  const colors = palette(io.isTty, process.env);
  const parts = [
    headline(manifest, colors, output),
    ...manifest.steps.map((record) => stepText(record, io.width, colors)),
  ];
  if (options.dryRun) parts.push("Dry run: nothing was written.");
  io.print(parts.filter((part) => part !== "").join("\n\n"));
  return 0;
}

function weightStep(options: Options, naming: OptionNaming): RecipeStep {
  const own = pick(
    options,
    Object.keys(quantizeStepOptions.shape).filter((key) => key !== "data"),
  );
  parseOptions(quantizeStepOptions, own, "quantize", naming);
  const stray = staticOnly.find((key) => options[key] !== undefined);
  if (stray === undefined) return { quantize: own };
  throw new TersorError(
    "bad-recipe",
    `${naming([stray])}: is for static quantization: expected --calibrate as well, and no --method.`,
  );
}

/** Options that only static quantization has. */
const staticOnly = ["target", "activations", "calibration", "percent", "batchSize"] as const;

/** Flags of weight quantization that have no meaning, or another one, where activations are quantized too. */
const weightOnly = ["bits", "rounding", "method", "format", "minElements", "accuracyLevel", "seeds"] as const;

async function staticStepOf(options: Options, naming: OptionNaming): Promise<RecipeStep> {
  const { staticStepOptions } = await import("../../recipe/steps/static.ts");
  const stray = weightOnly.find((key) => options[key] !== undefined);
  if (stray !== undefined)
    throw new TersorError(
      "bad-recipe",
      `${naming([stray])}: is for weights alone: expected options of static quantization with --calibrate. Leave one of them out.`,
    );
  const same = pick(options, ["symmetric", "granularity", "scale", "layers", "measure", "threads"]);
  const { dtype, target, activations, calibration, percent, calibrationSamples, batchSize } = options;
  const renamed = {
    weights: dtype,
    activations,
    calibration,
    percent,
    batchSize,
    samples: calibrationSamples,
    data: options.calibrate,
    target: typeof target === "string" && target.endsWith(".json") ? targetOf(target) : target,
  };
  const given = Object.entries(renamed).filter(([, value]) => value !== undefined);
  const own = { ...same, ...Object.fromEntries(given) };
  const flags: Readonly<Record<string, string>> = {
    weights: "dtype",
    samples: "calibrationSamples",
    data: "calibrate",
  };
  const named: OptionNaming = ([first = "", ...rest]) => naming([flags[String(first)] ?? first, ...rest]);
  parseOptions(staticStepOptions, own, "quantize", named);
  return { static: own } as RecipeStep;
}

/** A target as `--target FILE.json` describes it. @throws bad-recipe */
function targetOf(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, "utf8"));
  } catch (cause) {
    throw new TersorError("bad-recipe", `target "${path}": can't be read as JSON: ${reason(cause)}`, { cause });
  }
}

function compareStep(options: Options, naming: OptionNaming): RecipeStep {
  const given = pick(options, ["metric", "samples", "shapes", "runtime", "threads", "optimization", "runs"]);
  const compare: CompareOptions = { ...given, compressed: false };
  parseOptions(compareOptions, compare, "quantize", naming);
  return { compare };
}

function pick(options: Options, keys: readonly string[]): Options {
  return Object.fromEntries(Object.entries(options).filter(([key]) => keys.includes(key)));
}

/** The file that is asked for; in a folder, or without one, it is named after model and dtype. */
function outputFor(model: string, asked: string | undefined, dtype: string): string {
  const extension = extname(model);
  const name = `${basename(model, extension)}.${dtype}${extension || ".onnx"}`;
  if (asked === undefined) return join(dirname(model), name);
  return kindOf(asked) === "folder" ? join(asked, name) : asked;
}
