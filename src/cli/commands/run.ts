/** @file `tersor run`: a recipe from a file. */
import { basename, dirname, extname, join, relative, resolve } from "node:path";
import { type EarlierRun, isManifest, readEarlierRun } from "../../recipe/node/earlier-run.ts";
import { kindOf, outputPaths } from "../../recipe/node/files.ts";
import { runRecipe } from "../../recipe/node/run-recipe.ts";
import { type EarlierStep, reappliedInAll } from "../../recipe/reapply/reapply.ts";
import { parseRecipe, type Recipe, recipeJsonSchema } from "../../recipe/recipe.ts";
import { boundsMet } from "../../recipe/run-steps.ts";
import { messageOf, TersorError } from "../../util/errors.ts";
import { parseJson } from "../../util/json.ts";
import { readRegular } from "../../util/regular-file.ts";
import type { CommandInput } from "../args.ts";
import { withProgress } from "../progress.ts";
import { headline } from "../text/quantize-text.ts";
import { reappliedText } from "../text/reapplied-text.ts";
import { palette } from "../text/render.ts";
import { skippedText } from "../text/skipped-text.ts";
import { speedText } from "../text/speed-text.ts";
import { stepText } from "../text/step-text.ts";

export async function run({ args, options, io }: CommandInput): Promise<number> {
  if (options.schema) {
    const text = JSON.stringify(recipeJsonSchema(), null, 2);
    // The schema is JSON by itself, with --json or without.
    if (io.isJson) io.json(JSON.parse(text));
    else io.print(text);
    return 0;
  }
  const { recipe: loaded, file, isCode } = await loadRecipe(args[0]);
  if (typeof loaded === "object" && loaded !== null && "extends" in loaded)
    throw new TersorError(
      "bad-recipe",
      `recipe "${file}": "extends" is not known: a recipe takes nothing from elsewhere by itself. Write it out, or import the other one in a .ts recipe.`,
    );
  const again = options.model === undefined ? undefined : earlierRun(loaded, file);
  if (isManifest(loaded) && !again)
    throw new TersorError(
      "bad-recipe",
      `recipe "${file}": a manifest: expected --model FILE and --output FILE with it, got none. Its recipe and decisions are for another model.`,
    );
  const base = resolve(again?.folder ?? dirname(file));
  const folder = relative(process.cwd(), base) || ".";
  const replaced = { ...otherModel(options, base), ...(options.seed !== undefined && { seed: options.seed }) };
  const given = again?.recipe ?? loaded;
  const own = Object.keys(replaced).length === 0 ? given : { ...(given as object), ...replaced };
  parseRecipe(own, file);
  const recipe = own as Recipe;
  const { manifest, files, speed } = await withProgress(io, (progress) =>
    runRecipe(recipe, {
      folder,
      dataOptions: again?.dataOptions,
      earlier: again?.steps,
      signal: io.signal,
      progress,
      dryRun: options.dryRun === true,
      workers: (options.workers as number | undefined) ?? "auto",
      modules: isCode,
      reads: [file, ...(again?.reads ?? [])],
    }),
  );
  const reapplied = reappliedInAll(manifest.steps.map((step) => step.reapplied));
  const anew = again && !again.steps ? again.reason : undefined;
  io.json({
    ...manifest,
    ...(reapplied && { reapplied }),
    ...(anew !== undefined && { anew }),
    ...(speed && { speed }),
    files,
  });
  const colors = palette(io.isTty, process.env);
  const texts = manifest.steps.map((record) => stepText(record, io.width, colors));
  const parts = [
    headline(manifest, colors, recipe.output),
    reappliedText(reapplied, colors),
    anew === undefined ? "" : colors.yellow(anew),
    ...texts,
    speedText(speed, colors),
    skippedText(manifest.skipped ?? [], colors),
    options.dryRun ? "Dry run: nothing was written." : "",
  ];
  io.print(parts.filter((part) => part !== "").join("\n\n"));
  return boundsMet(manifest.steps) ? 0 : 1;
}

/** A recipe on another model, and what was decided for the first one. */
interface Again {
  /** Where the manifest has it; the recipe itself otherwise. */
  readonly recipe?: EarlierRun["recipe"];
  readonly folder?: string;
  readonly dataOptions?: Readonly<Record<string, unknown>> | undefined;
  /** Absent where no run is known. */
  readonly steps?: readonly EarlierStep[];
  readonly reason?: string;
  readonly reads?: readonly string[];
}

/** From a manifest, or from the one beside the output of a recipe. @throws bad-recipe for one that can't be read */
function earlierRun(loaded: unknown, file: string): Again {
  if (isManifest(loaded)) {
    const { recipe, folder, dataOptions, steps } = readEarlierRun(file) as EarlierRun;
    return { recipe, folder: join(dirname(file), folder), dataOptions, steps };
  }
  const { output } = (loaded ?? {}) as { readonly output?: unknown };
  if (typeof output !== "string") return {};
  const path = relative(process.cwd(), outputPaths(resolve(dirname(file), output)).manifest);
  const found = readEarlierRun(path);
  if (found) return { steps: found.steps, dataOptions: found.dataOptions, reads: [path] };
  return { reason: `No decisions of an earlier run: "${path}" is not there. Every layer was decided anew.` };
}

/**
 * Another model in the place of the recipe's, and where its result goes: paths of the current folder, as the recipe would spell them.
 * @throws bad-recipe when only the model is given: the result would take the place of the first model's
 */
function otherModel(
  { model, output }: CommandInput["options"],
  base: string,
): Partial<Pick<Recipe, "model" | "output">> {
  if (model !== undefined && output === undefined)
    throw new TersorError(
      "bad-recipe",
      "--model: expected --output with it, got none: the result would overwrite that of the recipe's own model. Add --output FILE.onnx.",
    );
  const spelled = (path: unknown) => relative(base, resolve(String(path)));
  return {
    ...(model !== undefined && { model: spelled(model) }),
    ...(output !== undefined && { output: spelled(output) }),
  };
}

/** Recipes that are code, and the one that is data, in the order in which they are looked for. */
const codeEndings = [".ts", ".mts", ".cts", ".js", ".mjs", ".cjs"];
const DATA_ENDING = ".json";

interface LoadedRecipe {
  readonly recipe: unknown;
  readonly file: string;
  /** It was run, so it may name what runs. */
  readonly isCode: boolean;
}

/** A recipe as its file has it, unchecked. JSON is read and never run. @throws bad-recipe when there is none or it can't be loaded */
async function loadRecipe(path: string | undefined): Promise<LoadedRecipe> {
  if (path !== undefined && kindOf(path) !== "file")
    throw new TersorError("bad-recipe", `recipe "${path}": no such file. Check the path.`);
  const names = [...codeEndings, DATA_ENDING].map((ending) => `tersor.config${ending}`);
  const found = path ?? names.find((name) => kindOf(name) === "file");
  if (found === undefined)
    throw new TersorError(
      "bad-recipe",
      "recipe: expected tersor.config.ts, .js or .json in this folder, got none of them. Write one, or name another file.",
    );
  const file = resolve(found);
  const isCode = codeEndings.includes(extname(file));
  if (!isCode && extname(file) !== DATA_ENDING)
    throw new TersorError(
      "bad-recipe",
      `recipe "${found}": expected a file that ends in ${DATA_ENDING}, or in ${codeEndings.join(", ")}. Rename it.`,
    );
  try {
    const recipe = isCode ? await runModule(file) : parseJson(new TextDecoder().decode(readRegular(file)));
    return { recipe, file, isCode };
  } catch (cause) {
    throw new TersorError("bad-recipe", `recipe "${found}": can't be loaded: ${messageOf(cause)}`, { cause });
  }
}

/** The default export of a module, TypeScript too. What it takes from others it imports: nothing is fetched for it. */
async function runModule(file: string): Promise<unknown> {
  const { loadConfig } = await import("c12");
  const none = {
    dotenv: false,
    rcFile: false,
    globalRc: false,
    packageJson: false,
    envName: false,
    extend: false,
  } as const;
  const { config } = await loadConfig({ ...none, cwd: dirname(file), configFile: basename(file) });
  return config;
}
