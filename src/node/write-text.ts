/** @file Writes a small text file: whole or not at all. */
import { renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { TersorError } from "../util/errors.ts";
import { reason } from "./file-source.ts";
import { removeStale, temporaryName } from "./temporary.ts";

/** Written under a temporary name, then renamed; replaces what was there. @throws bad-data when the place can't be written. */
export function writeText(path: string, text: string): void {
  removeStale(dirname(path));
  const temporary = join(dirname(path), temporaryName());
  try {
    writeFileSync(temporary, text, { flag: "wx" });
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw new TersorError("bad-data", `${path}: can't be written: ${reason(error)}`, { cause: error });
  }
}
