/** @file Options of the data from the command line: JSON, or a file of it. */
import { readFileSync } from "node:fs";
import { reason } from "../node/file-source.ts";
import { messageOf, TersorError } from "../util/errors.ts";
import type { Options } from "./args.ts";

/**
 * `--data-options`, an object that was JSON already, or the path of a file with one; and `--skip-bad`.
 * @throws bad-recipe, for --skip-bad without data too
 */
export function dataOptionsOf({ dataOptions: value, skipBad, data, calibrate }: Options): Options | undefined {
  const given = typeof value === "string" ? readOptions(value) : (value as Options | undefined);
  if (skipBad === undefined) return given;
  if (data === undefined && calibrate === undefined)
    throw new TersorError("bad-recipe", "--skip-bad: there is no data: expected --data or --calibrate with it.");
  return { ...given, skipBad };
}

function readOptions(path: string): Options {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(path, "utf8"));
  } catch (cause) {
    const why = cause instanceof SyntaxError ? `is not JSON: ${messageOf(cause)}.` : reason(cause);
    throw new TersorError("bad-recipe", `--data-options "${path}": ${why}`, { cause });
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Options;
  throw new TersorError("bad-recipe", `--data-options "${path}": expected a JSON object, got something else.`);
}
