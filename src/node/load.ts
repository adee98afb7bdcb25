/** @file Opens a model file and the external data beside it. */
import { dirname, isAbsolute, join, normalize } from "node:path";
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
    return decodeModel(open(path), { name: path, external: (location) => open(join(folder, safeLocation(location))) });
  } catch (error) {
    for (const source of opened.values()) source.close();
    throw error;
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
