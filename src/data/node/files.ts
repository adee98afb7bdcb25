/** @file Reading files for data sources, with errors that name the file. */
import { closeSync, readSync, statSync } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { messageOf, TersorError } from "../../util/errors.ts";
import { parseJson } from "../../util/json.ts";
import { checkRegular, NOT_REGULAR, openRegular, readRegular } from "../../util/regular-file.ts";

/** @throws bad-data when it cannot be read. */
export async function readText(path: string): Promise<string> {
  return new TextDecoder().decode(await readBytes(path));
}

/** @throws bad-data when it cannot be read. */
export async function readBytes(path: string): Promise<Uint8Array> {
  try {
    return readRegular(path);
  } catch (error) {
    throw unreadable(path, error);
  }
}

/** For files that something else reads. @throws bad-data for everything but a regular file */
export function checkFile(path: string): void {
  try {
    checkRegular(statSync(path));
  } catch (error) {
    throw unreadable(path, error);
  }
}

/** @throws bad-data when it cannot be read or is not JSON. */
export async function readJson(path: string): Promise<unknown> {
  const text = await readText(path);
  try {
    return parseJson(text);
  } catch (error) {
    throw new TersorError("bad-data", `${path}: not readable as JSON: ${messageOf(error)}.`, { cause: error });
  }
}

/** @throws bad-data when there is no such file or folder. */
export async function statOf(path: string): Promise<{ readonly isFolder: boolean; readonly byteLength: number }> {
  const info = await stat(path).catch((error: unknown) => {
    throw unreadable(path, error);
  });
  return { isFolder: info.isDirectory(), byteLength: info.size };
}

/** Whether there is such a file. */
export async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/** A range of a file; the file is open only meanwhile. @throws bad-data when it cannot be read or ends before. */
export function readRange(path: string, offset: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let file: number | undefined;
  try {
    file = openRegular(path);
    let at = 0;
    for (let read = 1; at < length && read > 0; at += read) read = readSync(file, bytes, at, length - at, offset + at);
    if (at < length) throw new Error(`it ends ${length - at} bytes early`);
  } catch (error) {
    throw unreadable(path, error);
  } finally {
    if (file !== undefined) closeSync(file);
  }
  return bytes;
}

/** Files below a folder, as paths relative to it with "/", sorted by code unit; names that begin with a dot are left out. */
export async function filesBelow(folder: string, under = ""): Promise<string[]> {
  const entries = await readdir(join(folder, under), { withFileTypes: true }).catch((error: unknown) => {
    throw unreadable(folder, error);
  });
  const visible = entries.filter((entry) => !entry.name.startsWith("."));
  const found = await Promise.all(
    visible.map(async (entry) => {
      const path = under ? `${under}/${entry.name}` : entry.name;
      return entry.isDirectory() ? filesBelow(folder, path) : [path];
    }),
  );
  return found.flat().sort();
}

/** Names of the folders in a folder, sorted by code unit; those that begin with a dot are left out. */
export async function foldersIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch((error: unknown) => {
    throw unreadable(folder, error);
  });
  return entries.flatMap((entry) => (entry.isDirectory() && !entry.name.startsWith(".") ? [entry.name] : [])).sort();
}

/** A short name for messages and ids. */
export function nameOf(path: string): string {
  return basename(path);
}

const reasons: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file or folder",
  EACCES: "reading it is not allowed",
  EISDIR: "it is a folder, not a file",
  ENOTDIR: "it is not a folder",
  ELOOP: "the symbolic links run in a circle",
  [NOT_REGULAR]: "it is a device, pipe or socket, not a file",
};

function unreadable(path: string, error: unknown): TersorError {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  return new TersorError("bad-data", `${path}: cannot be read: ${reasons[code] ?? messageOf(error)}.`, {
    cause: error,
  });
}
