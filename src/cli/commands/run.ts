/** @file `tersor run`: a recipe from a file. */
import { basename, dirname, relative, resolve } from "node:path";
import { kindOf } from "../../recipe/node/files.ts";
import { runRecipe } from "../../recipe/node/run-recipe.ts";
import { parseRecipe, type Recipe, recipeJsonSchema } from "../../recipe/recipe.ts";
import { boundsMet } from "../../recipe/run-steps.ts";
import { messageOf, TersorError } from "../../util/errors.ts";
import type { CommandInput } from "../args.ts";
import { withProgress } from "../progress.ts";
import { headline } from "../quantize-text.ts";
import { palette } from "../render.ts";
import { skippedText } from "../skipped-text.ts";
import { stepText } from "../step-text.ts";

export async function run({ args, options, io }: CommandInput): Promise<number> {
  if (options.schema) {
    const text = JSON.stringify(recipeJsonSchema(), null, 2);
    // The schema is JSON by itself, with --json or without.
    if (io.isJson) io.json(JSON.parse(text));
    else io.print(text);
    return 0;
  }
  const { recipe: loaded, file } = await loadRecipe(args[0]);
  const seeded = options.seed === undefined ? loaded : { ...(loaded as object), seed: options.seed };
  parseRecipe(seeded, file);
  const recipe = seeded as Recipe;
  const { manifest, files } = await withProgress(io, (progress) =>
    runRecipe(recipe, {
      folder: dirname(relative(process.cwd(), file)),
      signal: io.signal,
      progress,
      dryRun: options.dryRun === true,
      workers: (options.workers as number | undefined) ?? "auto",
    }),
  );
  io.json({ ...manifest, files });
  const colors = palette(io.isTty, process.env);
  const texts = manifest.steps.map((record) => stepText(record, io.width, colors));
  const parts = [
    headline(manifest, colors, recipe.output),
    ...texts,
    skippedText(manifest.skipped ?? [], colors),
    options.dryRun ? "Dry run: nothing was written." : "",
  ];
  io.print(parts.filter((part) => part !== "").join("\n\n"));
  return boundsMet(manifest.steps) ? 0 : 1;
}

/** A recipe as its file has it, unchecked. @throws bad-recipe when there is none or it can't be loaded */
async function loadRecipe(path: string | undefined): Promise<{ recipe: unknown; file: string }> {
  if (path !== undefined && kindOf(path) !== "file")
    throw new TersorError("bad-recipe", `recipe "${path}": no such file. Check the path.`);
  const { loadConfig } = await import("c12");
  const shared = { dotenv: false, rcFile: false, globalRc: false, packageJson: false, envName: false } as const;
  try {
    const cwd = path === undefined ? process.cwd() : dirname(resolve(path));
    const configFile = path === undefined ? "tersor.config" : basename(path);
    const { config, configFile: found, layers = [] } = await loadConfig({ ...shared, cwd, configFile });
    const file = found !== undefined && kindOf(found) === "file" ? found : undefined;
    if (file !== undefined && layers.length > 0) return { recipe: config, file };
  } catch (cause) {
    throw new TersorError("bad-recipe", `recipe "${path ?? "tersor.config"}": can't be loaded: ${messageOf(cause)}`, {
      cause,
    });
  }
  throw new TersorError(
    "bad-recipe",
    "recipe: expected tersor.config.ts, .js or .json in this folder, got none of them. Write one, or name another file.",
  );
}
