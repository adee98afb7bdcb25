/** @file Opens a model file and the external data beside it. */
import { dirname, isAbsolute, join, normalize, sep } from "node:path";
import type { Model } from "../ir/model.ts";
import { decodeModel } from "../ir/serde/decode-model.ts";
import { TersorError } from "../util/errors.ts";
import { FileSource } from "./file-source.ts";

/**
 * Reads the structure of a model; tensors stay in the file until they are needed, so the file must not change meanwhile.
 * @throws bad-data when it can't be read; bad-model, limit-exceeded when it is not a sound model.
 */
export function loadModel(path: string): Model {
  const folder = dirname(path);
  const opened = new Map<string, FileSource>();
  return decodeModel(new FileSource(path), {
    name: path,
    external: (location) => {
      let source = opened.get(location);
      if (!source) {
        source = new FileSource(join(folder, safeLocation(location)));
        opened.set(location, source);
      }
      return source;
    },
  });
}

/** @throws bad-model for a location outside of the model's folder. */
function safeLocation(location: string): string {
  const path = normalize(location);
  const leaves = isAbsolute(path) || /^[A-Za-z]:|^\\/.test(location) || path === ".." || path.startsWith(`..${sep}`);
  if (!leaves && !location.includes("\0")) return path;
  throw new TersorError(
    "bad-model",
    `external data "${location}": path leaves the model's folder. Refusing to read it.`,
  );
}
