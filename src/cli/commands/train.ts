/** @file `tersor finetune` and `tersor distill`. */
import { basename, dirname, extname, join } from "node:path";
import type * as z from "zod";
import { kindOf } from "../../recipe/node/files.ts";
import { runRecipe } from "../../recipe/node/run-recipe.ts";
import type { Recipe } from "../../recipe/recipe.ts";
import { boundsMet } from "../../recipe/run-steps.ts";
import { distillOptions, hintLosses } from "../../recipe/steps/distill.ts";
import { finetuneOptions } from "../../recipe/steps/finetune.ts";
import type { shrinkOptions } from "../../recipe/steps/shrink.ts";
import { TersorError } from "../../util/errors.ts";
import { type CommandInput, flagNaming, type Options } from "../args.ts";
import { dataOptionsOf, filesOfOptions } from "../options-file.ts";
import { withProgress } from "../progress.ts";
import { stepFrom } from "../step-options.ts";
import { headline } from "../text/quantize-text.ts";
import { palette } from "../text/render.ts";
import { skippedText } from "../text/skipped-text.ts";
import { speedText } from "../text/speed-text.ts";
import { stepText } from "../text/step-text.ts";

const schemas: Readonly<Record<"finetune" | "distill", z.ZodObject>> = {
  finetune: finetuneOptions,
  distill: distillOptions,
};

/** What the flags say in short, as the step's options say it. */
const long: Readonly<Record<string, (value: string) => unknown>> = {
  train: listOf,
  freeze: listOf,
  augment: augmentOf,
  validation: (text) => (/^\d*\.?\d+$/.test(text) ? Number(text) : text),
  hints: (text) => listOf(text).map(hintOf),
};

export async function run({ command, args, options, io }: CommandInput): Promise<number> {
  const [model = ""] = args;
  const kind = command.name as keyof typeof schemas;
  const output = outputFor(model, options.output as string | undefined, kind);
  const shrink = kind === "distill" ? shrinkOf(options) : undefined;
  const own = { ...(shrink && { teacher: "original" }), ...stepOptions(options, Object.keys(schemas[kind].shape)) };
  if (kind === "distill" && !("teacher" in own))
    throw new TersorError(
      "bad-recipe",
      "distill: no teacher: expected --teacher MODEL, or --shrink SHARE. Name the model to learn from, or have the student made of the model itself.",
    );
  const step = stepFrom(kind, own, kind, { data: options.data, naming: flagNaming(command) });
  if (options.data === undefined)
    throw new TersorError("bad-recipe", `${kind}: no data: expected --data PATH. Name the samples to train on.`);
  const recipe: Recipe = {
    model,
    output,
    data: options.data as string,
    ...(options.seed !== undefined && { seed: options.seed as number }),
    ...(options.externalData !== undefined && { externalData: "always" }),
    steps: [{ simplify: { level: "constants" } }, ...(shrink ? [{ shrink }] : []), step],
  };
  const { manifest, files, speed } = await withProgress(io, (progress) =>
    runRecipe(recipe, {
      signal: io.signal,
      progress,
      dryRun: options.dryRun === true,
      dataOptions: dataOptionsOf(options),
      reads: filesOfOptions(options),
    }),
  );
  io.json({ ...manifest, ...(speed && { speed }), files });
  const colors = palette(io.isTty, process.env);
  const parts = [
    headline(manifest, colors, output),
    ...manifest.steps.map((record) => stepText(record, io.width, colors)),
    speedText(speed, colors),
    skippedText(manifest.skipped ?? [], colors),
    options.dryRun ? "Dry run: nothing was written." : "",
  ];
  io.print(parts.filter((part) => part !== "").join("\n\n"));
  return boundsMet(manifest.steps) ? 0 : 1;
}

/** The step that makes the student; undefined where the student is a file. Which blocks matter, the training data shows. */
function shrinkOf({ width, depth, weights, data, threads }: Options): z.input<typeof shrinkOptions> | undefined {
  if (width === undefined && depth === undefined && weights === undefined) return undefined;
  const given = Object.fromEntries(
    Object.entries({ width, depth, weights, threads }).filter(([, value]) => value !== undefined),
  );
  // Only what is cut by depth is chosen on samples.
  const looks = Number(depth ?? 0) > 0 && weights !== "fresh";
  return { ...given, ...(data !== undefined && looks && { calibrate: data as string }) };
}

function stepOptions(options: Options, known: readonly string[]): Options {
  const { weightDecay, warmup } = options;
  const own: Record<string, unknown> = {};
  // The recipe has the data; the output is a file here, not a value.
  for (const [name, value] of Object.entries(options))
    if (known.includes(name) && name !== "data" && name !== "output")
      own[name] = typeof value === "string" && long[name] ? long[name](value) : value;
  if (weightDecay !== undefined) own.optimizer = { ...asObject(options.optimizer), weightDecay };
  if (warmup !== undefined) own.schedule = { ...asObject(options.schedule), warmup };
  return own;
}

const asObject = (value: unknown): object =>
  typeof value === "string" ? { name: value } : ((value as object | undefined) ?? {});

function listOf(text: string): string[] {
  return text
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part);
}

/** `STUDENT=TEACHER:LOSS*WEIGHT`; loss and weight may be left out, and the teacher's name where it is the same. */
function hintOf(text: string): object {
  const [, pair = text, loss, weight] = hintForm.exec(text) ?? [];
  const [student, teacher = student] = pair.split("=");
  return { student, teacher, ...(loss && { loss }), ...(weight && { weight: Number(weight) }) };
}

/** Names may have colons in them: what stands behind one is a loss only where there is such a loss. */
const hintForm = new RegExp(`^(.+?)(?::(${hintLosses.join("|")}))?(?:\\*([\\d.]+))?$`);

/** `flip,crop:4` @throws bad-recipe */
function augmentOf(text: string): object {
  return Object.fromEntries(
    listOf(text).map((part) => {
      const [name = "", amount] = part.split(":");
      const value = amount === undefined ? true : Number(amount);
      if (Number.isNaN(value))
        throw new TersorError("bad-recipe", `--augment "${part}": expected a number behind ":", got "${amount}".`);
      return [name, value];
    }),
  );
}

/** The file that is asked for; in a folder, or without one, it is named after the model. */
function outputFor(model: string, asked: string | undefined, kind: string): string {
  const extension = extname(model);
  const name = `${basename(model, extension)}.${kind === "distill" ? "distilled" : "finetuned"}${extension || ".onnx"}`;
  if (asked === undefined) return join(dirname(model), name);
  return kindOf(asked) === "folder" ? join(asked, name) : asked;
}
