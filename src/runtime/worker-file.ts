/** @file Where the code of a worker thread lies. */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { TersorError } from "../util/errors.ts";
import { packageFile } from "../util/package-file.ts";

/**
 * Node 20 cannot run TypeScript in a worker: tests, which run from src, use the workers that `npm run build` wrote.
 * @param path of the compiled file, from the package's root @throws runtime-failed when it is not there
 */
export function workerFile(path: string): URL {
  const file = packageFile(path);
  if (existsSync(fileURLToPath(file))) return file;
  throw new TersorError(
    "runtime-failed",
    `worker "${fileURLToPath(file)}": not found. Reinstall tersor, or run "npm run build" in its checkout.`,
  );
}
