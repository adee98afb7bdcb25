/** @file What a manifest keeps so that its recipe can be run on another model, and how it is read again. */
import * as z from "zod";
import { isSamples } from "../../data/samples.ts";
import { messageOf, TersorError } from "../../util/errors.ts";
import { parseJson } from "../../util/json.ts";
import { readRegular } from "../../util/regular-file.ts";
import { decisionsSchema } from "../reapply/decisions.ts";
import type { EarlierStep } from "../reapply/reapply.ts";
import type { Recipe } from "../recipe.ts";
import { kindOf } from "./files.ts";

/** Of the part of manifests that is read again. */
export const MANIFEST_FORMAT = 1;

/** A recipe as it was written, without places: the same wherever it is run. */
export type RecipeFrame = Omit<Recipe, "seed" | "model" | "output">;

/** The part of a recipe that is data. */
export function frameOf({ steps, data, externalData, bound, asAsked, fitLatency }: Recipe): RecipeFrame {
  return {
    steps: steps.map(withoutSamples),
    ...(externalData && { externalData }),
    ...(bound && { bound }),
    ...(asAsked !== undefined && { asAsked }),
    ...(fitLatency !== undefined && { fitLatency }),
    ...(isPlain(data) && { data }),
  };
}

/** Samples in code can't be written down. */
const isPlain = (data: unknown) => data !== undefined && (typeof data === "string" || !isSamples(data));

/** A step's options as they were given: with defaults filled in, some would be refused as without effect. */
function withoutSamples(step: Recipe["steps"][number]): Recipe["steps"][number] {
  const [[name, options] = ["", {}]] = Object.entries(step);
  const plain = Object.entries(options).filter(
    ([key, value]) => (key !== "data" && key !== "calibrate") || isPlain(value),
  );
  return { [name]: Object.fromEntries(plain) } as unknown as Recipe["steps"][number];
}

/** A run whose decisions hold for another model. */
export interface EarlierRun {
  /** Its recipe. */
  readonly recipe: Omit<Recipe, "model" | "output">;
  /** What the recipe's paths are relative to, relative to the manifest. */
  readonly folder: string;
  readonly dataOptions?: Readonly<Record<string, unknown>> | undefined;
  readonly steps: readonly EarlierStep[];
}

const manifestSchema = z.object({
  seed: z.int(),
  recipe: z.looseObject({ steps: z.array(z.record(z.string(), z.unknown())) }),
  folder: z.string(),
  dataOptions: z.record(z.string(), z.unknown()).optional(),
  steps: z.array(
    z.object({
      step: z.string(),
      options: z.record(z.string(), z.unknown()),
      decisions: decisionsSchema.optional(),
    }),
  ),
});

/** Whether what was read from a file is a manifest rather than a recipe. */
export function isManifest(value: unknown): boolean {
  return typeof value === "object" && value !== null && "tersor" in value && "output" in value && "input" in value;
}

/** The run that a manifest is of; undefined where there is none. @throws bad-recipe for one that is damaged or of another format */
export function readEarlierRun(path: string): EarlierRun | undefined {
  const kind = kindOf(path);
  if (kind === undefined) return undefined;
  const subject = `manifest "${path}"`;
  if (kind !== "file") throw new TersorError("bad-recipe", `${subject}: expected a file, got a ${kind}.`);
  let value: unknown;
  try {
    value = parseJson(new TextDecoder().decode(readRegular(path)));
  } catch (cause) {
    throw damaged(subject, messageOf(cause), cause);
  }
  if (!isManifest(value)) throw damaged(subject, "expected what Tersor writes beside a model, got other JSON");
  const { format, tersor } = value as { readonly format?: unknown; readonly tersor: unknown };
  if (format !== MANIFEST_FORMAT)
    throw new TersorError(
      "bad-recipe",
      `${subject}: written by Tersor ${String(tersor)} in another format: expected ${MANIFEST_FORMAT}, got ${format === undefined ? "none" : JSON.stringify(format)}. Run the recipe on the first model again, then on the new one.`,
    );
  const parsed = manifestSchema.safeParse(value);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw damaged(subject, `"${issue?.path.map(String).join(".")}": ${issue?.message ?? "wrong"}`, parsed.error);
  }
  const { seed, recipe, folder, dataOptions, steps } = parsed.data;
  return {
    recipe: { ...(recipe as unknown as RecipeFrame), seed },
    folder,
    dataOptions,
    steps: steps as readonly EarlierStep[],
  };
}

function damaged(subject: string, why: string, cause?: unknown): TersorError {
  return new TersorError(
    "bad-recipe",
    `${subject}: damaged: ${why.replace(/\.$/, "")}. Run the recipe on the first model again, then on the new one; or move the file away to decide anew.`,
    { cause },
  );
}
