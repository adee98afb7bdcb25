/** @file Files around a recipe: those a model consists of, checks of where the output goes, hashes. */
import { createHash } from "node:crypto";
import { accessSync, constants, statSync } from "node:fs";
import { basename, dirname, resolve } from "node:path";
import { type Model, nestedGraphs } from "../../ir/model.ts";
import { FileSource, reason } from "../../node/file-source.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { SliceSource } from "../../util/bytes.ts";
import { TersorError } from "../../util/errors.ts";
import { readRegular } from "../../util/regular-file.ts";
import { tensorsInAttribute } from "../describe-model.ts";
import type { FileGuard } from "./file-guard.ts";

/** The files that a loaded model is read from: the model itself first, then its external data. */
export function modelFiles(model: Model, path: string): string[] {
  const files = new Set([path]);
  for (const tensor of tensorsOf(model)) {
    const { bytes } = tensor;
    const source = bytes instanceof SliceSource ? bytes.parent : bytes;
    if (source instanceof FileSource) files.add(source.path);
  }
  return [...files];
}

function* tensorsOf(model: Model): Iterable<Tensor> {
  const graphs = [model, ...model.functions].flatMap(({ graph }) => nestedGraphs(graph));
  for (const graph of graphs) {
    for (const { tensor, sparse } of graph.values) {
      if (tensor) yield tensor;
      if (sparse) yield* [sparse.values, sparse.indices];
    }
    for (const node of graph.nodes)
      for (const attribute of node.attributes.values()) yield* tensorsInAttribute(attribute);
  }
}

/** What stands at a path; undefined when nothing does, or nothing can. */
export function kindOf(path: string): "file" | "folder" | "other" | undefined {
  try {
    const stat = statSync(path);
    return stat.isFile() ? "file" : stat.isDirectory() ? "folder" : "other";
  } catch {
    return undefined;
  }
}

/** Where everything of one output goes. */
export interface OutputPaths {
  readonly model: string;
  /** Of the first external data file. */
  readonly data: string;
  readonly manifest: string;
}

export function outputPaths(path: string): OutputPaths {
  return { model: path, data: `${path}.data`, manifest: `${path}.json` };
}

/**
 * Checked before any work.
 * @throws bad-recipe when the folder is not there or not writable, or something that is written would replace an input
 */
export function checkOutput(paths: OutputPaths, guard: FileGuard): void {
  const folder = dirname(resolve(paths.model));
  try {
    if (!statSync(folder).isDirectory())
      throw new TersorError("bad-recipe", `output "${paths.model}": "${folder}" is a file, not a folder.`);
    accessSync(folder, constants.W_OK | constants.X_OK);
  } catch (error) {
    if (error instanceof TersorError) throw error;
    throw new TersorError(
      "bad-recipe",
      `output "${paths.model}": folder "${folder}" can't be written to: ${reason(error)}`,
      {
        cause: error,
      },
    );
  }
  for (const path of new Set(Object.values(paths))) guard.writes(path, "output");
}

/** The manifest's place follows from the output's: what is there may be something else of the user's. @throws bad-recipe */
export function checkManifestPlace(path: string): void {
  if (kindOf(path) === undefined) return;
  try {
    const { tersor, output } = JSON.parse(new TextDecoder().decode(readRegular(path)));
    if (typeof tersor === "string" && typeof output === "object") return;
  } catch {
    // Said below.
  }
  throw new TersorError(
    "bad-recipe",
    `output: its manifest would replace "${path}", which Tersor did not write. Move that away, or choose another output.`,
  );
}

/** What a manifest says of one file. */
export interface FileRecord {
  /** Without its folder: the same whatever the place. */
  readonly file: string;
  readonly bytes: number;
  readonly sha256: string;
  /** What was hashed, when it was not the whole file. */
  readonly sha256Of?: string;
}

/** Larger files are hashed in part: reading them again would cost as much as quantizing them. */
const WHOLE_UP_TO = 64 << 20;
const BLOCK = 1 << 16;
const BLOCKS = 64;

/** Name, size and hash of a file. @throws bad-data when it can't be read */
export function recordOf(path: string): FileRecord {
  const source = new FileSource(path);
  try {
    const { byteLength } = source;
    const hash = createHash("sha256");
    const whole = byteLength <= WHOLE_UP_TO;
    const [count, size] = whole ? [Math.ceil(byteLength / BLOCK), BLOCK] : [BLOCKS, BLOCK];
    if (!whole) hash.update(`${byteLength}\n`);
    for (let i = 0; i < count; i++) {
      const at = whole ? i * size : Math.floor(((byteLength - size) * i) / (count - 1));
      hash.update(source.read(at, Math.min(size, byteLength - at)));
    }
    const sampled = `its length in decimal, a line feed, and ${BLOCKS} blocks of ${BLOCK} bytes, evenly spaced from first to last`;
    return {
      file: basename(path),
      bytes: byteLength,
      sha256: hash.digest("hex"),
      ...(!whole && { sha256Of: sampled }),
    };
  } finally {
    source.close();
  }
}
