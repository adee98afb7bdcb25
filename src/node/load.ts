/** @file Opens a model file and the external data beside it. */
import { realpathSync } from "node:fs";
import { dirname, isAbsolute, join, normalize, relative, sep } from "node:path";
import type { Model } from "../ir/model.ts";
import { decodeModel } from "../ir/serde/decode-model.ts";
import { TersorError } from "../util/errors.ts";
import { FileSource } from "./file-source.ts";

/**
 * Reads the structure of a model; tensors stay in the file until they are needed, so the file must not be written to
 * meanwhile (to replace it, as saveModel does, is safe).
 * @throws bad-data when it can't be read; bad-model, limit-exceeded when it is not a sound model.
 */
export function loadModel(path: string): Model {
  const folder = dirname(path);
  const opened = new Map<string, FileSource>();
  const open = (file: string) => {
    const source = opened.get(file) ?? new FileSource(file);
    opened.set(file, source);
    return source;
  };
  try {
    const external = (location: string) => open(inside(join(folder, safeLocation(location)), path));
    const model = decodeModel(open(path), { name: path, external });
    model.files = [...opened.values()];
    return model;
  } catch (error) {
    for (const source of opened.values()) source.close();
    throw error;
  }
}

/**
 * The same path, where its links lead to a place in the model's folder, as it is spelled or as it really is: stores of models link to both
 * the model and its data. @throws bad-model for links that lead out
 */
function inside(path: string, model: string): string {
  const real = realPath(path);
  const folders = [realPath(dirname(model)), dirname(realPath(model) ?? model)];
  // What is not there, opening it says.
  if (real === undefined || folders.some((folder) => folder !== undefined && isBelow(real, folder))) return path;
  throw new TersorError(
    "bad-model",
    `"${path}" is a link that leaves the model's folder, to "${real}". Refusing to read it.`,
  );
}

function isBelow(path: string, folder: string): boolean {
  const way = relative(folder, path);
  return way.split(sep)[0] !== ".." && !isAbsolute(way);
}

function realPath(path: string): string | undefined {
  try {
    return realpathSync(path);
  } catch {
    return undefined;
  }
}

/** The path that a location means, of either system's style. @throws bad-model for one outside of the model's folder. */
function safeLocation(location: string): string {
  const path = normalize(location.replaceAll("\\", "/"));
  const leaves = isAbsolute(path) || /^([A-Za-z]:|[/\\])/.test(path) || path.split(/[/\\]/)[0] === "..";
  if (leaves) throw new TersorError("bad-model", "path leaves the model's folder. Refusing to read it.");
  if (location.includes("\0")) throw new TersorError("bad-model", "path holds a NUL. Refusing to read it.");
  return path;
}
