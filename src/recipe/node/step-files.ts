/** @file Files that steps keep for themselves in Node: checkpoints and logs. */
import { appendFileSync, closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { reason } from "../../node/file-source.ts";
import { removeStale, temporaryName } from "../../node/temporary.ts";
import { TersorError } from "../../util/errors.ts";
import { readRegular } from "../../util/regular-file.ts";
import type { StepFiles } from "../step.ts";
import { checkReplaceable, type FileGuard } from "./file-guard.ts";

/** @param folder what paths are relative to @param guard is told of inputs; what is written was told it before the first step */
export function stepFiles(folder: string, guard: FileGuard): StepFiles {
  const read = (path: string) => {
    try {
      return readRegular(resolve(folder, path));
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw new TersorError("bad-data", `file "${path}": can't be read: ${reason(cause)}`, { cause });
    }
  };
  return {
    read: async (path) => {
      guard.reads(resolve(folder, path));
      return read(path);
    },
    readOwn: async (path) => read(path),
    write: async (path, bytes) => {
      checkReplaceable(resolve(folder, path), "file");
      writeWhole(resolve(folder, path), bytes);
    },
    append: async (path, text) => {
      checkReplaceable(resolve(folder, path), "file");
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
  removeStale(dirname(path));
  const temporary = join(dirname(path), temporaryName());
  try {
    const file = openSync(temporary, "wx");
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
