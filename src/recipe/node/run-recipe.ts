/** @file Runs a recipe on files: reads the model, takes the steps, writes output and manifest whole or not at all. */
import { basename, dirname, isAbsolute, join, relative } from "node:path";
import type { Model } from "../../ir/model.ts";
import { dataFileName, encodeModel } from "../../ir/serde/encode-model.ts";
import { loadModel } from "../../node/load.ts";
import { version } from "../../node/version.ts";
import { validateModel } from "../../ops/check-model.ts";
import type { Target } from "../../targets/target.ts";
import { targetNamed } from "../../targets/targets.ts";
import { TersorError } from "../../util/errors.ts";
import type { BoundStep } from "../bound-step.ts";
import { measureSpeed, type SpeedReport } from "../judge/speed.ts";
import type { EarlierStep } from "../reapply/reapply.ts";
import { parseRecipe, type Recipe } from "../recipe.ts";
import { runSteps, type StepRecord } from "../run-steps.ts";
import type { Progress, StepContext } from "../step.ts";
import { NodeContext, type SkippedData } from "./context.ts";
import { frameOf, MANIFEST_FORMAT, type RecipeFrame } from "./earlier-run.ts";
import { FileGuard } from "./file-guard.ts";
import { checkManifestPlace, checkOutput, type FileRecord, modelFiles, outputPaths, recordOf } from "./files.ts";
import { Workspace } from "./workspace.ts";

export interface RunOptions {
  /** What the recipe's paths are relative to; the current folder when absent. */
  readonly folder?: string;
  /** Options on top of those of the recipe's data. */
  readonly dataOptions?: Readonly<Record<string, unknown>> | undefined;
  /** Plan and predict, but run and write nothing. */
  readonly dryRun?: boolean;
  /** Take the steps, but write nothing: for steps that measure. */
  readonly measureOnly?: boolean;
  /** Threads that run gptq, awq and hqq, with the same result; 0, the default, for none. "auto": as many as are worth it, up to 4. */
  readonly workers?: number | "auto";
  /**
   * Whether the recipe may name modules as data or metric, which run then. Default true: pass false for a recipe that was read from
   * a file of data, such as JSON.
   */
  readonly modules?: boolean;
  /** Other files that were read for this run, such as the recipe's own: nothing is written over them. */
  readonly reads?: readonly string[];
  /** Steps of a run on another model, whose decisions for single layers hold for this one too. */
  readonly earlier?: readonly EarlierStep[] | undefined;
  readonly signal?: AbortSignal;
  readonly progress?: StepContext["progress"];
}

/** The `.json` beside an output. The same for the same input and recipe, but for what was timed. */
export interface Manifest {
  /** Version of Tersor. */
  readonly tersor: string;
  /** Of what is read again when the recipe is run on another model: this, the recipe, its folder and the decisions of its steps. */
  readonly format: number;
  readonly recipe: RecipeFrame;
  /** What the recipe's paths are relative to, seen from here. */
  readonly folder: string;
  readonly dataOptions?: Readonly<Record<string, unknown>>;
  readonly input: ModelRecord;
  /** Hashes are absent in a dry run: sizes are predicted then. */
  readonly output: ModelRecord;
  readonly seed: number;
  readonly steps: readonly StepRecord[];
  /** What the user should know of the whole. */
  readonly notes?: readonly string[];
  /** Samples that could not be read and were left out, where there are any. */
  readonly skipped?: readonly SkippedData[];
}

export interface ModelRecord {
  /** Of all its files. */
  readonly bytes: number;
  readonly files: readonly (FileRecord | Pick<FileRecord, "file" | "bytes">)[];
}

export interface RecipeResult {
  readonly manifest: Manifest;
  /** Paths that were written, the model first; none in a dry run. */
  readonly files: readonly string[];
  /** Time against the original's, where this machine is what the result is made for. Not in the manifest, which is the same every time. */
  readonly speed?: SpeedReport;
}

/** Each has a weight of its own in memory: more is a typing error. */
const MOST_WORKERS = 256;

const silent: Progress = { update: () => {}, end: () => {} };

/**
 * Runs a recipe.
 * @throws bad-recipe before anything is done when the recipe, or where its output goes, is wrong; aborted; what its steps
 * throw. Nothing is written then.
 */
export async function runRecipe(recipe: Recipe, options: RunOptions = {}): Promise<RecipeResult> {
  const { folder = ".", dryRun = false, signal = new AbortController().signal, progress = () => silent } = options;
  const parsed = parseRecipe(recipe);
  const input = within(folder, parsed.model);
  const paths = outputPaths(within(folder, parsed.output));
  const guard = new FileGuard();
  guard.reads(input);
  for (const path of options.reads ?? []) guard.reads(path);
  checkOutput(paths, guard);
  for (const { step, options: own } of parsed.steps)
    for (const [what, path] of step.writes?.(own) ?? []) guard.writes(within(folder, path), what);
  // Named files are known before anything is done; what else is read, when it is opened.
  for (const text of textsIn([parsed.data, parsed.steps.map(({ options: own }) => own), options.dataOptions]))
    guard.check(within(folder, text));
  checkManifestPlace(paths.manifest);
  const original = loadModel(input);
  validateModel(original, input);
  const inputs = modelFiles(original, input);
  for (const path of inputs) guard.reads(path, true);
  const workspace = new Workspace(paths, { external: parsed.externalData, signal, ...watched(progress) });
  const ctx = new NodeContext({
    original,
    paths: new Map([[original, input]]),
    workspace,
    seed: parsed.seed,
    dryRun,
    signal,
    progress,
    data: parsed.data,
    dataOptions: options.dataOptions,
    workers: checkWorkers(options.workers),
    folder,
    guard,
    modules: options.modules ?? true,
  });
  try {
    const { model, records } = await runSteps(original, parsed.steps, ctx, options.earlier);
    const isWritten = !dryRun && !options.measureOnly;
    const speed = isWritten ? await measureSpeed(original, model, parsed.steps, ctx, isAtHand) : undefined;
    const describe = (output: ModelRecord): Manifest => {
      const skipped = ctx.skipped();
      const all = total(inputs.map(recordOf));
      const notes = notesOn(all, output, parsed.steps);
      return {
        tersor: version(),
        format: MANIFEST_FORMAT,
        recipe: frameOf(recipe),
        folder: relative(dirname(paths.manifest), folder).replaceAll("\\", "/") || ".",
        ...(options.dataOptions && { dataOptions: options.dataOptions }),
        input: all,
        output,
        seed: parsed.seed,
        steps: records(),
        ...(notes.length > 0 && { notes }),
        ...(skipped.length > 0 && { skipped }),
      };
    };
    if (!isWritten) return { manifest: describe(predicted(model, paths.model, parsed.externalData)), files: [] };
    const saved = await workspace.write(model);
    await ctx.close();
    const manifest = describe(total([saved.path, ...saved.dataPaths].map(recordOf)));
    guard.checkUnchanged();
    workspace.publish(model, manifestText(manifest));
    return {
      manifest,
      ...(speed && { speed }),
      files: [paths.model, ...saved.dataPaths.map((_, i) => dataFileName(paths.data, i)), paths.manifest],
    };
  } finally {
    await ctx.close();
    workspace.remove();
    original.close();
  }
}

/** @throws bad-recipe */
function checkWorkers(workers: number | "auto" = 0): number | "auto" {
  if (workers === "auto" || (Number.isInteger(workers) && workers >= 0 && workers <= MOST_WORKERS)) return workers;
  throw new TersorError("bad-recipe", `workers: expected a whole number from 0 to ${MOST_WORKERS}, got ${workers}.`);
}

/** Whether what runs here shows how fast a result is on its target; results without one are for any machine. */
function isAtHand(target: Target | string | undefined): boolean {
  const { name, runtime } =
    typeof target === "string" ? targetNamed(target) : (target ?? { name: "any", runtime: "ort-node" });
  const architecture = /^node-(x64|arm64)/.exec(name)?.[1];
  return runtime === "ort-node" && (architecture === undefined || architecture === process.arch);
}

/** A result that is larger than the input is seldom wanted. */
function notesOn(input: ModelRecord, output: ModelRecord, steps: readonly BoundStep[]): string[] {
  if (output.bytes <= input.bytes) return [];
  const percent = ((output.bytes / input.bytes - 1) * 100).toPrecision(2);
  const isQuantized = steps.some(({ options }) => options.granularity !== undefined);
  const advice = isQuantized
    ? ", such as a scale for every few weights. Use a coarser --granularity, or leave small layers as they are (--min-elements)"
    : "";
  return [
    `the result is larger than the input, by ${output.bytes - input.bytes} bytes (${percent} %): more was added than saved${advice}.`,
  ];
}

/** JSON with a line per entry. What is infinite, such as the SQNR of equal tensors, becomes null. */
export function manifestText(manifest: Manifest): string {
  return `${JSON.stringify(manifest, null, 2)}\n`;
}

/** Shows the bytes written of one model after the other. */
function watched(progress: StepContext["progress"]) {
  let line: Progress | undefined;
  return {
    onProgress: (done: number, all: number) => {
      line ??= progress("writing", all, "bytes");
      line.update(done);
      if (done < all) return;
      line.end();
      line = undefined;
    },
  };
}

function total(files: ModelRecord["files"]): ModelRecord {
  return { bytes: files.reduce((sum, file) => sum + file.bytes, 0), files };
}

function predicted(model: Model, path: string, external: "auto" | "always" | "never"): ModelRecord {
  const encoded = encodeModel(model, { external, location: `${basename(path)}.data` });
  const data = encoded.data.map(({ location, byteLength }) => ({ file: location, bytes: byteLength }));
  return total([{ file: basename(path), bytes: encoded.model.byteLength }, ...data]);
}

/** A path relative to a folder, spelled as shortly as it was given. */
function within(folder: string, path: string): string {
  return isAbsolute(path) ? path : join(folder, path);
}

/** A plain object: tensors, models and datasets in memory name no files. */
function isRecordOfData(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/** Options whose files a step writes, and may read again. */
const written: ReadonlySet<string> = new Set(["checkpoint", "log", "cache", "vocabularyFiles"]);

/** All texts of a recipe that may be paths of inputs, those in texts of JSON too. */
function* textsIn(value: unknown): Iterable<string> {
  if (typeof value === "string") {
    if (value.trimStart().startsWith("{")) yield* textsIn(jsonOf(value));
    else if (value !== "" && value.length < LONGEST_PATH && !value.includes("\0")) yield value;
  } else if (Array.isArray(value)) for (const inner of value) yield* textsIn(inner);
  else if (typeof value === "object" && value !== null && isRecordOfData(value))
    for (const [key, inner] of Object.entries(value)) if (!written.has(key)) yield* textsIn(inner);
}

const LONGEST_PATH = 1024;

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
