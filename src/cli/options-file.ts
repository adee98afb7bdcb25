/** @file Options of the data from the command line: JSON, or a file of it. */
import { reason } from "../node/file-source.ts";
import { messageOf, TersorError } from "../util/errors.ts";
import { parseJson } from "../util/json.ts";
import { readRegular } from "../util/regular-file.ts";
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

/** Files that flags name and the command reads by itself: nothing may be written over them. */
export function filesOfOptions({ dataOptions, target }: Options): string[] {
  const isFile = (value: unknown): value is string => typeof value === "string";
  return [dataOptions, isFile(target) && target.endsWith(".json") ? target : undefined].filter(isFile);
}

function readOptions(path: string): Options {
  let value: unknown;
  try {
    value = parseJson(new TextDecoder().decode(readRegular(path)));
  } catch (cause) {
    const isFile = (cause as NodeJS.ErrnoException).code !== undefined;
    const why = isFile ? reason(cause) : `is not JSON: ${messageOf(cause)}.`;
    throw new TersorError("bad-recipe", `--data-options "${path}": ${why}`, { cause });
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Options;
  throw new TersorError("bad-recipe", `--data-options "${path}": expected a JSON object, got something else.`);
}
