/** @file `tersor prune`. */
import { basename, dirname, extname, join } from "node:path";
import type * as z from "zod";
import { kindOf } from "../../recipe/node/files.ts";
import { type Manifest, runRecipe } from "../../recipe/node/run-recipe.ts";
import type { Recipe } from "../../recipe/recipe.ts";
import { boundsMet } from "../../recipe/run-steps.ts";
import { needsTraining } from "../../recipe/steps/prune-advice.ts";
import { pruneStepOptions } from "../../recipe/steps/prune-options.ts";
import type { PruneStepReport } from "../../recipe/steps/prune-report.ts";
import { TersorError } from "../../util/errors.ts";
import { type CommandInput, flagNaming, type Options } from "../args.ts";
import { dataOptionsOf, filesOfOptions } from "../options-file.ts";
import { withProgress } from "../progress.ts";
import { checkMeasuring, measuring, stepFrom } from "../step-options.ts";
import { withTarget } from "../target-file.ts";
import { headline } from "../text/quantize-text.ts";
import { palette } from "../text/render.ts";
import { skippedText } from "../text/skipped-text.ts";
import { speedText } from "../text/speed-text.ts";
import { stepText } from "../text/step-text.ts";

export async function run({ command, args, options, io }: CommandInput): Promise<number> {
  const [model = ""] = args;
  const naming = flagNaming(command);
  const output = outputFor(model, options.output as string | undefined);
  const { target } = await withTarget(pick(options, ["target"]));
  // The data of the recipe is for measuring; what calibrates is named apart.
  const prune: PruneOptions = {
    ...pick(
      options,
      Object.keys(pruneStepOptions.shape).filter((key) => key !== "data" && key !== "finetune"),
    ),
    ...(target !== undefined && { target: target as string }),
    ...finetuneOf(options),
    ...(options.structure === "vocabulary" && {
      vocabularyFiles: (options.vocabularyFiles as string | undefined) ?? stem(output),
    }),
  };
  const step = stepFrom("prune", prune, "prune", { data: options.data, naming, shared: measuring });
  const isMeasured = options.data !== undefined || options.check === true || options.metric !== undefined;
  if (isMeasured && options.structure === "vocabulary")
    throw new TersorError(
      "bad-recipe",
      "--structure vocabulary: the models take different ids: expected no --data, --check or --metric. The result is proved on --corpus.",
    );
  const compare = isMeasured
    ? [stepFrom("compare", { ...pick(options, measuring), compressed: false }, "prune", { data: options.data, naming })]
    : [];
  checkMeasuring(options, [step, ...compare], "prune", naming);
  const isSimplified = options.simplify !== false;
  // Batch norms that are folded into weights have no factors any more, and training does better with them: they are folded at the end.
  const keepsNorms = options.criterion === "bn-gamma" || prune.finetune !== undefined;
  const recipe: Recipe = {
    model,
    output,
    ...(options.data !== undefined && { data: options.data as string }),
    ...(options.seed !== undefined && { seed: options.seed as number }),
    ...(options.externalData !== undefined && { externalData: "always" }),
    steps: [
      { simplify: { level: isSimplified && !keepsNorms ? "all" : "constants" } },
      step,
      ...(isSimplified && keepsNorms ? [{ simplify: { level: "all" } } as const] : []),
      ...(options.sparse === undefined ? [] : [{ sparse: { target: options.sparse as string } }]),
      ...compare,
    ],
  };
  const isMeasureOnly = options.sensitivity === true && options.ratio === undefined;
  const { manifest, files, speed } = await withProgress(io, (progress) =>
    runRecipe(recipe, {
      signal: io.signal,
      progress,
      dryRun: options.dryRun === true,
      measureOnly: isMeasureOnly,
      dataOptions: dataOptionsOf(options),
      reads: filesOfOptions(options),
    }),
  );
  io.json({ ...manifest, ...(speed && { speed }), files });
  const colors = palette(io.isTty, process.env);
  const parts = [
    isMeasureOnly ? "" : headline(manifest, colors, output),
    ...manifest.steps.map((record) => stepText(record, io.width, colors)),
    speedText(speed, colors),
    skippedText(manifest.skipped ?? [], colors),
    options.dryRun ? "" : nextCommand(manifest, { model, output, calibrate: options.calibrate }),
    options.dryRun ? "Dry run: nothing was written." : "",
  ];
  io.print(parts.filter((part) => part !== "").join("\n\n"));
  return boundsMet(manifest.steps) ? 0 : 1;
}

/** What a result that is far from its original needs, as a line to copy. */
function nextCommand(
  { steps }: Pick<Manifest, "steps">,
  { model, output, calibrate }: { readonly model: string; readonly output: string; readonly calibrate: unknown },
): string {
  const last = steps.find(({ step }) => step === "prune")?.report as PruneStepReport | undefined;
  if (!last || last.schedule?.some(({ training }) => training) || !needsTraining(last)) return "";
  const data = typeof calibrate === "string" ? calibrate : `'${JSON.stringify(calibrate)}'`;
  const trained = `${stem(output)}.trained${extname(output)}`;
  return `Next: tersor distill ${output} --teacher ${model} --data ${data} -o ${trained}`;
}

type PruneOptions = z.input<typeof pruneStepOptions>;

/** Flags that are options of the training. */
const finetuneFlags = {
  finetuneEpochs: "epochs",
  finetuneRate: "rate",
  finetuneBatch: "batchSize",
  finetuneSamples: "samples",
} as const;

/** @throws bad-recipe for options of a training without samples to train on */
function finetuneOf(options: Options): Pick<PruneOptions, "finetune"> {
  const given = Object.entries(finetuneFlags).flatMap(([flag, name]) =>
    options[flag] === undefined ? [] : [[name, options[flag]] as const],
  );
  const more = options.finetuneOptions as object | undefined;
  if (options.finetune !== undefined)
    return { finetune: { data: options.finetune as string, ...more, ...Object.fromEntries(given) } };
  if (given.length === 0 && more === undefined) return {};
  throw new TersorError(
    "bad-recipe",
    "prune: options of a training without samples: expected --finetune PATH. Name samples to train on, others than those of --data.",
  );
}

function pick(options: Options, keys: readonly string[]): Options {
  return Object.fromEntries(Object.entries(options).filter(([key]) => keys.includes(key)));
}

/** A path without its extension. */
function stem(path: string): string {
  return join(dirname(path), basename(path, extname(path)));
}

/** The file that is asked for; in a folder, or without one, it is named after the model. */
function outputFor(model: string, asked: string | undefined): string {
  const extension = extname(model);
  const name = `${basename(model, extension)}.pruned${extension || ".onnx"}`;
  if (asked === undefined) return join(dirname(model), name);
  return kindOf(asked) === "folder" ? join(asked, name) : asked;
}
