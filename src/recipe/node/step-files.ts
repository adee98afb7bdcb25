/** @file Files that steps keep for themselves in Node: checkpoints and logs. */
import { appendFileSync, closeSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, writeSync } from "node:fs";
import { resolve } from "node:path";
import { reason } from "../../node/file-source.ts";
import type { StepFiles } from "../../step.ts";
import { TersorError } from "../../util/errors.ts";

/** @param folder what paths are relative to */
export function stepFiles(folder: string): StepFiles {
  return {
    read: async (path) => {
      try {
        return readFileSync(resolve(folder, path));
      } catch (cause) {
        if ((cause as NodeJS.ErrnoException).code === "ENOENT") return undefined;
        throw new TersorError("bad-data", `file "${path}": can't be read: ${reason(cause)}`, { cause });
      }
    },
    write: async (path, bytes) => writeWhole(resolve(folder, path), bytes),
    append: async (path, text) => {
      try {
        appendFileSync(resolve(folder, path), text);
      } catch (cause) {
        throw failed(path, cause);
      }
    },
  };
}

/** Writes beside the file and renames: a full disk or an interruption leaves the old one whole. */
function writeWhole(path: string, bytes: Uint8Array): void {
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    const file = openSync(temporary, "w");
    try {
      for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(temporary, path);
  } catch (cause) {
    rmSync(temporary, { force: true });
    throw failed(path, cause);
  }
}

function failed(path: string, cause: unknown): TersorError {
  return new TersorError(
    "bad-data",
    `file "${path}": can't be written: ${reason(cause)} What was there before is still whole.`,
    { cause },
  );
}
