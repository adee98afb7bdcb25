/** @file The versions of this package and of others. */
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { packageFile } from "../util/package-file.ts";

export function version(): string {
  return (JSON.parse(readFileSync(packageFile("package.json"), "utf8")) as { version: string }).version;
}

/** The version of an installed package; undefined where it is not installed. */
export function packageVersion(name: string): string | undefined {
  const require = createRequire(import.meta.url);
  const folders = require.resolve.paths(name) ?? [];
  const file = folders.map((folder) => join(folder, name, "package.json")).find((path) => existsSync(path));
  return file && (JSON.parse(readFileSync(file, "utf8")) as { version: string }).version;
}
