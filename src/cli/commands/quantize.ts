/** @file `tersor quantize`. */
import { basename, dirname, extname, join } from "node:path";
import { type BoundOptions, boundOptions } from "../../recipe/bound/bound.ts";
import { kindOf } from "../../recipe/node/files.ts";
import { runRecipe } from "../../recipe/node/run-recipe.ts";
import type { Recipe, RecipeStep } from "../../recipe/recipe.ts";
import { boundsMet } from "../../recipe/run-steps.ts";
import { type OptionNaming, parseOptions } from "../../util/options.ts";
import { type CommandInput, flagNaming, type Options } from "../args.ts";
import { dataOptionsOf, filesOfOptions } from "../options-file.ts";
import { withProgress } from "../progress.ts";
import { equalizeStepFor, quantizeStepFor } from "../quantize-modes.ts";
import { checkMeasuring, measuring, stepFrom } from "../step-options.ts";
import { withTarget } from "../target-file.ts";
import { headline } from "../text/quantize-text.ts";
import { palette } from "../text/render.ts";
import { skippedText } from "../text/skipped-text.ts";
import { speedText } from "../text/speed-text.ts";
import { stepText } from "../text/step-text.ts";

export async function run(input: CommandInput): Promise<number> {
  const { command, args, options, io } = input;
  if (options.layout !== undefined || options.dtypes !== undefined)
    return (await import("./quantize-folder.ts")).run(input);
  const [model = ""] = args;
  const naming = flagNaming(command);
  const equalize = await equalizeStepFor(options, naming);
  const step = await quantizeStepFor(options, naming);
  const output = outputFor(
    model,
    options.output as string | undefined,
    String(options.dtype ?? (options.float16 ? "float16" : "int8")),
  );
  const isMeasured = options.data !== undefined || options.check === true || options.metric !== undefined;
  const bound = boundFor(options, naming);
  const compare = isMeasured ? [await compareStep(options, naming)] : [];
  checkMeasuring(options, [step, bound, ...compare], "quantize", naming);
  const recipe: Recipe = {
    model,
    output,
    ...(options.data !== undefined && { data: options.data as string }),
    ...(options.seed !== undefined && { seed: options.seed as number }),
    ...bound,
    ...(options.fitLatency !== undefined && { fitLatency: options.fitLatency as boolean }),
    ...(options.asAsked !== undefined && { asAsked: options.asAsked as boolean }),
    ...(options.externalData !== undefined && { externalData: "always" }),
    steps: [
      { simplify: { level: options.simplify === false ? "constants" : "all" } },
      ...(equalize ? [equalize] : []),
      step,
      ...compare,
    ],
  };
  const result = await withProgress(io, (progress) =>
    runRecipe(recipe, {
      signal: io.signal,
      progress,
      dryRun: options.dryRun === true,
      workers: (options.workers as number | undefined) ?? "auto",
      dataOptions: dataOptionsOf(options),
      reads: filesOfOptions(options),
    }),
  );
  const { manifest, speed } = result;
  io.json({ ...manifest, ...(speed && { speed }), files: result.files });
  const colors = palette(io.isTty, process.env);
  const parts = [
    headline(manifest, colors, output),
    ...manifest.steps.map((record) => stepText(record, io.width, colors)),
    speedText(speed, colors),
    skippedText(manifest.skipped ?? [], colors),
  ];
  if (options.dryRun) parts.push("Dry run: nothing was written.");
  io.print(parts.filter((part) => part !== "").join("\n\n"));
  return boundsMet(manifest.steps) ? 0 : 1;
}

/** The bound that the flags ask for, if any. @throws bad-recipe */
function boundFor(options: Options, naming: OptionNaming): Pick<Recipe, "bound"> {
  const { maxDrop, minSqnr } = options;
  if (maxDrop === undefined && minSqnr === undefined) return {};
  const measuring = pick(options, ["samples", "shapes", "runtime", "threads", "optimization"]);
  const bound = {
    ...pick(options, ["maxDrop", "minSqnr"]),
    ...measuring,
    ...(maxDrop !== undefined && pick(options, ["metric"])),
  };
  parseOptions(boundOptions, bound, "quantize", { naming });
  return { bound: bound as BoundOptions };
}

async function compareStep(options: Options, naming: OptionNaming): Promise<RecipeStep> {
  const given = pick(options, measuring);
  const diagnosing = options.perLayer === true ? pick(options, ["target", "calibrate"]) : {};
  const compare = { ...given, ...(await withTarget(diagnosing)), compressed: false };
  return stepFrom("compare", compare, "quantize", { data: options.data, naming });
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
