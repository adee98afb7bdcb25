/** @file A transformers.js folder on the disk: its sessions, what an earlier run wrote, and putting files into place. */
import { readdirSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import * as z from "zod";
import type { LatencyRatio } from "../../evaluate/latency.ts";
import type { Model } from "../../ir/model.ts";
import { dataFileName } from "../../ir/serde/encode-model.ts";
import { reason } from "../../node/file-source.ts";
import { version } from "../../node/version.ts";
import { writeText } from "../../node/write-text.ts";
import { TersorError } from "../../util/errors.ts";
import { parseJson } from "../../util/json.ts";
import { readRegular } from "../../util/regular-file.ts";
import type { Verdict } from "../judge/verdict.ts";
import { type ModelTraits, scriptSettings, sessionOf } from "../transformers-js.ts";
import type { FileGuard } from "./file-guard.ts";
import { checkOutput, kindOf, type OutputPaths } from "./files.ts";
import type { Workspace } from "./workspace.ts";

export const CONFIG = "quantize_config.json";
/** What the name of external data adds to the model's. */
export const DATA = "_data";

/** What became of one file. */
export interface FolderFile {
  readonly session: string;
  readonly dtype: string;
  /** Relative to the folder. */
  readonly file: string;
  /** skipped: nothing in the model fits the dtype; failed: it could not be made, or does not run. Neither is written. */
  readonly status: "written" | "skipped" | "failed";
  readonly reason?: string;
  /** Of the file and its external data. */
  readonly bytes?: number;
  /** External data files: `<file>_data`, `<file>_data_1`, … None where the file holds everything. */
  readonly dataFiles?: number;
  /** kept: every output has 20 dB; low: one has less, on made-up inputs. */
  readonly verdict?: Verdict;
  /** Of the worst output against the original, in dB. */
  readonly sqnr?: number;
  readonly latency?: LatencyRatio;
  /** As the quantize_config.json has them. */
  readonly settings?: Readonly<Record<string, unknown>>;
}

/** A file that waits to be put into place. */
export interface Candidate {
  readonly model: Model;
  readonly workspace: Workspace;
}

export function outputOf(folder: string, file: string): OutputPaths {
  return { model: join(folder, file), data: join(folder, `${file}${DATA}`), manifest: join(folder, CONFIG) };
}

export function readJson(path: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = parseJson(new TextDecoder().decode(readRegular(path)));
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch (cause) {
    throw new TersorError("bad-data", `${path}: can't be read as JSON: ${reason(cause)}`, { cause });
  }
  throw new TersorError("bad-data", `${path}: expected a JSON object.`);
}

export function readConfig(folder: string): Readonly<Record<string, unknown>> {
  if (kindOf(folder) !== "folder")
    throw new TersorError("bad-recipe", `"${folder}": expected a folder with config.json and onnx/*.onnx.`);
  const path = join(folder, "config.json");
  if (kindOf(path) === "file") return readJson(path);
  throw new TersorError(
    "bad-recipe",
    `"${folder}": no config.json: expected a transformers.js folder, with config.json and onnx/*.onnx. It comes with the model that was exported.`,
  );
}

export function sessionsIn(folder: string): string[] {
  const models = join(folder, "onnx");
  const names = kindOf(models) === "folder" ? readdirSync(models).sort() : [];
  const sessions = names.map(sessionOf).filter((name) => name !== undefined);
  if (sessions.length > 0) return sessions;
  throw new TersorError(
    "bad-recipe",
    `"${models}": no float32 model: expected files such as model.onnx, without a dtype's suffix. Export the model there first.`,
  );
}

export interface PreviousRun {
  /** What became of each session, by dtype. */
  readonly modes: Readonly<Record<string, object>>;
  /** Relative to the folder. */
  readonly files: ReadonlySet<string>;
}

const ownRecord = z.object({ files: z.array(z.string()), modes: z.record(z.string(), z.looseObject({})) });

/** What an earlier run wrote. @throws bad-recipe when something else wrote the quantize_config.json */
export function previousRun(folder: string): PreviousRun {
  const path = join(folder, CONFIG);
  if (kindOf(path) === undefined) return { modes: {}, files: new Set() };
  const { data } = ownRecord.safeParse(readJson(path).tersor);
  if (data) return { modes: data.modes, files: new Set(data.files) };
  throw new TersorError(
    "bad-recipe",
    `"${path}": was not written by Tersor. Move it away, and the files that it is of.`,
  );
}

/** The external data that lies beside a file, under the names that transformers.js looks for. */
export function dataFilesOf(folder: string, file: string): string[] {
  const parts = readdirSync(join(folder, "onnx")).filter((name) => name.startsWith(`${basename(file)}${DATA}`));
  const first = basename(file) + DATA;
  return parts.filter((name) => /^(_\d+)?$/.test(name.slice(first.length))).map((name) => `onnx/${name}`);
}

export function checkFree(folder: string, file: string, guard: FileGuard, ours: ReadonlySet<string>): void {
  checkOutput({ ...outputOf(folder, file), manifest: join(folder, file) }, guard);
  const inTheWay = [...(kindOf(join(folder, file)) === undefined ? [] : [file]), ...dataFilesOf(folder, file)];
  const taken = inTheWay.find((each) => !ours.has(each));
  if (taken === undefined) return;
  throw new TersorError(
    "bad-recipe",
    `"${join(folder, taken)}": is there already, and was not written by Tersor. Move it away, or leave its dtype out of --dtypes.`,
  );
}

export interface Publication {
  readonly candidates: readonly Candidate[];
  readonly files: readonly FolderFile[];
  readonly previous: PreviousRun;
  readonly traits: ModelTraits;
}

/** Puts everything into place: the record first, so that no file stands there that it does not name. */
export function publish(folder: string, { candidates, files, previous, traits }: Publication): string[] {
  const fresh = files.filter(({ status }) => status === "written");
  const names = fresh.flatMap(({ file, dataFiles = 0 }) => [file, ...dataNames(file, dataFiles)]);
  const stale = [...previous.files].filter((name) => fresh.some(({ file }) => name.startsWith(`${file}${DATA}`)));
  const kept = [...previous.files].filter((name) => !stale.includes(name));
  const perDType = new Map(Object.entries(previous.modes));
  for (const { dtype, session, settings } of fresh)
    perDType.set(dtype, { ...perDType.get(dtype), [session]: settings ?? {} });
  const config = {
    ...scriptSettings([...perDType.keys()], traits),
    tersor: {
      version: version(),
      files: [...new Set([...kept, ...names])].sort(),
      modes: Object.fromEntries(perDType),
    },
  };
  const path = join(folder, CONFIG);
  writeText(path, `${JSON.stringify(config, null, 2)}\n`);
  for (const { workspace, model } of candidates) workspace.publish(model);
  for (const name of stale) if (!names.includes(name)) rmSync(join(folder, name), { force: true });
  return [...names.map((name) => join(folder, name)), path];
}

export function dataNames(file: string, count: number): string[] {
  return Array.from({ length: count }, (_, i) => dataFileName(`${file}${DATA}`, i));
}
