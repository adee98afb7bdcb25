/** @file Fills a transformers.js folder: every session in every dtype asked for, each run before it is offered. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import type * as z from "zod";
import { take } from "../../data/dataset.ts";
import type { InputInfo } from "../../data/fit-input.ts";
import type { Model } from "../../ir/model.ts";
import { loadModel } from "../../node/load.ts";
import { validateModel } from "../../ops/check-model.ts";
import { limits } from "../../proto/limits.ts";
import { leastOf } from "../../util/append.ts";
import { TersorError } from "../../util/errors.ts";
import { parseOptions } from "../../util/options.ts";
import { chooseInputs, compareLatency, type InputChoice, measureAgreement } from "../compare.ts";
import { FLOOR_DB } from "../judge/judge.ts";
import { verdictOf } from "../judge/verdict.ts";
import type { Progress, StepContext } from "../step.ts";
import { simplifyForStep } from "../steps/simplify.ts";
import {
  type FolderOptions,
  folderOptions,
  type ModelTraits,
  parseDTypes,
  type TransformersDType,
  traitsOf,
} from "../transformers-js.ts";
import { NodeContext } from "./context.ts";
import { FileGuard } from "./file-guard.ts";
import { modelFiles } from "./files.ts";
import {
  type Candidate,
  CONFIG,
  checkFree,
  DATA,
  dataFilesOf,
  type FolderFile,
  outputOf,
  previousRun,
  publish,
  readConfig,
  sessionsIn,
} from "./transformers-js-folder.ts";
import { Workspace } from "./workspace.ts";

export type { FolderFile } from "./transformers-js-folder.ts";

export interface FolderWatch {
  readonly signal?: AbortSignal;
  readonly progress?: StepContext["progress"];
  /** Largest file, of models and of external data. Default: 2 GB, beyond which browsers load neither. */
  readonly maxBytes?: number;
}

export interface FolderSession {
  readonly session: string;
  readonly file: string;
  readonly bytes: number;
}

export interface FolderResult {
  readonly sessions: readonly FolderSession[];
  readonly files: readonly FolderFile[];
  /** Paths that were written. */
  readonly written: readonly string[];
  /** What config.json may take in, under "transformers.js_config". */
  readonly suggestion: Readonly<Record<string, unknown>>;
}

const silent: Progress = { update: () => {}, end: () => {} };

/**
 * Writes `onnx/<session><suffix>.onnx` and quantize_config.json, all at the end or nothing. Originals are not touched.
 * @throws bad-recipe for wrong options, a folder that is none of transformers.js', and files in the way that Tersor did not
 * write; runtime-failed when an original does not run; aborted
 */
export async function quantizeFolder(
  folder: string,
  options: FolderOptions = {},
  watch: FolderWatch = {},
): Promise<FolderResult> {
  const { signal = new AbortController().signal, progress = () => silent, maxBytes = limits.protobufBytes } = watch;
  const settings = parseOptions(folderOptions, options, "folder");
  const dtypes = parseDTypes(settings.dtypes);
  const modelConfig = readConfig(folder);
  const traits = traitsOf(modelConfig);
  const names = sessionsIn(folder);
  const previous = previousRun(folder);
  const targets = names.map((session) => ({
    session,
    source: join(folder, "onnx", `${session}.onnx`),
    outputs: dtypes.map((dtype) => ({ dtype, file: `onnx/${session}${dtype.suffix}.onnx` })),
  }));
  const guard = new FileGuard();
  guard.reads(join(folder, "config.json"));
  for (const { source } of targets) guard.reads(source);
  guard.writes(join(folder, CONFIG), "record");
  for (const { outputs } of targets) for (const { file } of outputs) checkFree(folder, file, guard, previous.files);
  const shapes = new ShapeChoice(settings.shapes);
  const job: Job = { folder, guard, settings, signal, progress, traits, shapes, maxBytes };
  const sessions: FolderSession[] = [];
  const files: FolderFile[] = [];
  const candidates: Candidate[] = [];
  try {
    for (const target of targets) {
      const { bytes } = await quantizeSession(job, target, (file, candidate) => {
        files.push(file);
        if (candidate) candidates.push(candidate);
      });
      sessions.push({ session: target.session, file: `onnx/${target.session}.onnx`, bytes });
    }
    shapes.checkUsed();
    if (signal.aborted) throw new TersorError("aborted", "interrupted: nothing was written.");
    guard.checkUnchanged();
    const written = candidates.length > 0 ? publish(folder, { candidates, files, previous, traits }) : [];
    return { sessions, files, written, suggestion: suggestionFor(folder, modelConfig, sessions, files) };
  } finally {
    for (const { workspace } of candidates) workspace.remove();
  }
}

interface Job {
  readonly folder: string;
  readonly guard: FileGuard;
  readonly settings: z.output<typeof folderOptions>;
  readonly signal: AbortSignal;
  readonly progress: StepContext["progress"];
  readonly traits: ModelTraits;
  readonly shapes: ShapeChoice;
  readonly maxBytes: number;
}

interface Target {
  readonly session: string;
  readonly source: string;
  readonly outputs: readonly { readonly dtype: TransformersDType; readonly file: string }[];
}

/** Hands over a file's fate, and the file where there is one, dtype by dtype. */
async function quantizeSession(
  { folder, guard, settings: { seed, samples, runs, threads }, signal, progress, traits, shapes, maxBytes }: Job,
  { session, source, outputs }: Target,
  add: (file: FolderFile, candidate?: Candidate) => void,
): Promise<{ bytes: number }> {
  const original = loadModel(source);
  validateModel(original, source);
  for (const file of modelFiles(original, source)) guard.reads(file, true);
  const paths = new Map([[original, source]]);
  const ctx = new NodeContext({ original, paths, seed, dryRun: false, signal, progress, folder });
  const open = (model: Model) =>
    ctx.open(model, { runtime: "ort-node", optimization: "all", ...(threads !== undefined && { threads }) });
  try {
    const before = await open(original);
    const data = chooseInputs(undefined, before.inputs, { seed, samples, shapes: shapes.for(before.inputs) });
    await checkOriginal(source, () => measureAgreement([before, before], take(data, 1), ctx));
    const floats = new Set(before.outputs.filter(({ dtype }) => dtype.startsWith("float")).map(({ name }) => name));
    const simple = await simplifyForStep(original, { level: "all" }, (constants) => ctx.evaluate(constants));
    const measure = async (model: Model, path: string): Promise<Pick<FolderFile, "verdict" | "sqnr" | "latency">> => {
      paths.set(model, path);
      const after = await open(model);
      try {
        const { fidelity } = await measureAgreement([before, after], data, ctx);
        const broken = Object.entries(fidelity).find(([, each]) => each.broken > 0)?.[0];
        if (broken !== undefined)
          throw new TersorError("bad-data", `output "${broken}" is NaN or infinite where the original's is not.`);
        const latency = runs > 0 ? await compareLatency({ before, after }, data, runs, ctx) : undefined;
        const sqnr = leastOf(Object.values(fidelity).map((each) => each.sqnr));
        const { verdict } = verdictOf(fidelity, floats, FLOOR_DB);
        return {
          verdict: verdict === "useless" ? "low" : verdict,
          sqnr,
          ...(latency?.ratios.after && { latency: latency.ratios.after }),
        };
      } finally {
        await after.release();
      }
    };
    for (const { dtype, file } of outputs) {
      const about = { session, dtype: dtype.name, file };
      const output = outputOf(folder, file);
      const workspace = new Workspace(output, { dataSuffix: DATA, maxBytes, maxDataBytes: maxBytes, signal });
      let candidate: Candidate | undefined;
      try {
        const made = dtype.make(simple, traits);
        if (typeof made === "string") {
          add({ ...about, status: "skipped", reason: made });
          continue;
        }
        const { model, settings } = made;
        const saved = await workspace.write(model);
        const measured = await measure(model, saved.path);
        const dataFiles = saved.dataPaths.length;
        candidate = { model, workspace };
        add({ ...about, status: "written", bytes: saved.bytes, dataFiles, ...measured, settings }, candidate);
      } catch (error) {
        if (signal.aborted || !(error instanceof TersorError) || error.code === "internal") throw error;
        add({ ...about, status: "failed", reason: error.message });
      } finally {
        if (!candidate) workspace.remove();
      }
    }
    return await ctx.size(original, { compressed: false });
  } finally {
    await ctx.close();
  }
}

/** @throws as the run does, naming the original */
async function checkOriginal(source: string, run: () => Promise<unknown>): Promise<void> {
  try {
    await run();
  } catch (error) {
    if (!(error instanceof TersorError) || error.code === "aborted") throw error;
    throw new TersorError(error.code, `${source}: the original does not run: ${error.message}`, { cause: error });
  }
}

type Shapes = NonNullable<InputChoice["shapes"]>;

/** Hands each session the shapes of its own inputs and symbols. */
class ShapeChoice {
  readonly #shapes: Shapes;
  readonly #unused: Set<string>;

  constructor(shapes: Shapes) {
    this.#shapes = shapes;
    this.#unused = new Set(Object.keys(shapes));
  }

  for(inputs: readonly InputInfo[]): Shapes {
    const known = new Set(inputs.flatMap(({ name, dims }) => [name, ...dims.filter((dim) => typeof dim === "string")]));
    const own = Object.entries(this.#shapes).filter(([name]) => known.has(name));
    for (const [name] of own) this.#unused.delete(name);
    return Object.fromEntries(own);
  }

  /** @throws bad-recipe for a name that no session has */
  checkUsed(): void {
    const [name] = this.#unused;
    if (name !== undefined) throw new TersorError("bad-recipe", `shape of "${name}": no session has such an input.`);
  }
}

/** The smallest file of each session that is close to the original, and how many files of external data each file has. */
function suggestionFor(
  folder: string,
  config: Readonly<Record<string, unknown>>,
  sessions: readonly FolderSession[],
  files: readonly FolderFile[],
): Record<string, unknown> {
  const written = files.filter(({ status }) => status === "written");
  const chosen = sessions.map(({ session }) => {
    const close = written.filter((each) => each.session === session && each.verdict === "kept");
    const [best] = close.toSorted((a, b) => (a.bytes ?? 0) - (b.bytes ?? 0));
    return [session, best?.dtype ?? "fp32"] as const;
  });
  const external = readdirSync(join(folder, "onnx"))
    .filter((name) => name.endsWith(".onnx"))
    .map((name) => [name, dataFilesOf(folder, name).length] as const)
    .filter(([, count]) => count > 0)
    .map(([name, count]) => [name, count === 1 ? true : count] as const);
  const given = config["transformers.js_config"] as { readonly use_external_data_format?: unknown } | undefined;
  const isWrong = external.length === 0 && Boolean(given?.use_external_data_format);
  const [only] = chosen;
  return {
    dtype: chosen.length === 1 ? only?.[1] : Object.fromEntries(chosen),
    ...(external.length > 0 && { use_external_data_format: Object.fromEntries(external) }),
    ...(isWrong && { use_external_data_format: false }),
  };
}
