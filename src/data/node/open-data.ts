/** @file openData: from a path, or an object of options, to a dataset for a model's inputs. */
import { dirname, resolve } from "node:path";
import { z } from "zod";
import { messageOf, TersorError } from "../../util/errors.ts";
import { parseJson } from "../../util/json.ts";
import { type Dataset, drop, shuffle, take } from "../dataset.ts";
import type { InputInfo } from "../fit-input.ts";
import { anyRecord, commonOptions, DATA_RUNS_NOTHING, parseOptions } from "../options.ts";
import { npyFormat, npzFormat, rawFormat } from "./arrays.ts";
import { audioFormat } from "./audio.ts";
import { exists, readJson, statOf } from "./files.ts";
import { type DataFormat, resolverOf } from "./format.ts";
import { imagesFormat } from "./images.ts";
import { jsonLinesFormat } from "./json-lines.ts";
import { moduleFormat } from "./module.ts";
import { csvFormat, textFormat, tsvFormat } from "./text.ts";

/** Every data format. The first whose `matches` says so takes a path. */
export const dataFormats: readonly DataFormat[] = [
  npyFormat,
  npzFormat,
  jsonLinesFormat,
  csvFormat,
  tsvFormat,
  textFormat,
  moduleFormat,
  rawFormat,
  audioFormat,
  imagesFormat,
];

/** A path, the text of a JSON object, or the object: a path and the options of its format. */
export type DataSpec = string | Readonly<Record<string, unknown>>;

export interface OpenOptions {
  /** The inputs that the model declares. */
  readonly inputs: readonly InputInfo[];
  /** Options on top of those of the spec. */
  readonly options?: Readonly<Record<string, unknown>>;
  /** Folder that the spec's paths are relative to; the current one when absent. */
  readonly folder?: string;
  /** Whether the spec may name a module, which runs; one that a file of options names never does. Default true. */
  readonly modules?: boolean;
  /** Told of every file that is read, before it is. */
  readonly onRead?: (path: string) => void;
}

/**
 * Opens the data. A .json path is a file of options (its paths relative to itself); a FILE.json beside a raw file is
 * its header, and the paths are relative to that.
 * @throws bad-data for a path that is none of the formats or cannot be read, a wrong option, and data that do not fit
 * the model; what is wrong with a single sample is thrown when it is read.
 */
export async function openData(spec: DataSpec, about: OpenOptions): Promise<Dataset> {
  const { inputs, options, folder = ".", modules = true, onRead = () => {} } = about;
  const given = await expand(typeof spec === "string" ? parseSpec(spec) : spec, resolve(folder), onRead);
  const merged = { ...given.options, ...options };
  const { path, format: name } = parseOptions(loose, merged, "data");
  const absolute = resolve(given.folder, path);
  const format = await formatOf(absolute, name);
  // Options on top come from a file too, as a rule.
  const isNamedByData = given.isFile || options?.path !== undefined || options?.format !== undefined;
  if (format === moduleFormat && (!modules || isNamedByData))
    throw new TersorError("bad-recipe", `data "${path}": ${DATA_RUNS_NOTHING}`);
  const header = format === rawFormat ? await headerOf(absolute, onRead) : undefined;
  const values = { ...header, ...merged, path: absolute };
  const parsed = parseOptions(format.options, values, `data "${path}" (${format.name})`);
  const common = parseOptions(loose, values, "data");
  const skipped = common.skipBad ? new Map<string, string>() : undefined;
  const dataset = await format.open(parsed, {
    inputs,
    resolve: resolverOf(header ? dirname(absolute) : given.folder, onRead),
    onRead,
    ...(skipped ? { skipped } : {}),
  });
  const ordered = common.shuffle ? shuffle(dataset, common.seed) : dataset;
  const rest = common.skip === undefined ? ordered : drop(ordered, common.skip);
  if (rest.size === 0 && common.skip !== undefined)
    throw new TersorError(
      "bad-data",
      `data "${path}": nothing is left behind skip: expected less than its ${ordered.size} samples, got ${common.skip}.`,
    );
  return common.take === undefined ? rest : take(rest, common.take);
}

/** The common options; a format's own schema refuses what is none of its own. */
const loose = z.looseObject(commonOptions);

function parseSpec(spec: string): Readonly<Record<string, unknown>> {
  if (!spec.trimStart().startsWith("{")) return { path: spec };
  try {
    return parseOptions(anyRecord, parseJson(spec), "data");
  } catch (error) {
    throw new TersorError("bad-data", `data: not readable as JSON: ${messageOf(error)}.`, { cause: error });
  }
}

interface Given {
  readonly options: Readonly<Record<string, unknown>>;
  readonly folder: string;
  /** Whether the options stood in a file. */
  readonly isFile: boolean;
}

/** Puts the content of a file of options in the place of its path. */
async function expand(
  options: Readonly<Record<string, unknown>>,
  folder: string,
  onRead: (path: string) => void,
): Promise<Given> {
  const { path, ...rest } = options;
  if (typeof path !== "string" || !path.endsWith(".json")) return { options, folder, isFile: false };
  const file = resolve(folder, path);
  onRead(file);
  const content = parseOptions(anyRecord, await readJson(file), file);
  return { options: { ...content, ...rest }, folder: dirname(file), isFile: true };
}

/** The header beside a raw file. */
async function headerOf(
  path: string,
  onRead: (path: string) => void,
): Promise<Readonly<Record<string, unknown>> | undefined> {
  const file = `${path}.json`;
  if (!(await exists(file))) return undefined;
  onRead(file);
  return parseOptions(anyRecord, await readJson(file), file);
}

async function formatOf(path: string, name: string | undefined): Promise<DataFormat> {
  const { isFolder } = await statOf(path);
  for (const format of dataFormats)
    if (name ? format.name === name : await format.matches(path, isFolder)) return format;
  throw new TersorError(
    "bad-data",
    `data "${path}": unknown format: expected a folder of images or of .wav files, .npy, .npz, .jsonl, .csv, .tsv, .txt, .bin or .js, got none of them. Give option "format" (${dataFormats.map((each) => each.name).join(", ")}).`,
  );
}
