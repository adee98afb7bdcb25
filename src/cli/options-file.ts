/** @file Options of the data from the command line: JSON, or a file of it. */
import { readFileSync } from "node:fs";
import { reason } from "../node/file-source.ts";
import { messageOf, TersorError } from "../util/errors.ts";
import type { Options } from "./args.ts";

/** `--data-options`: an object that was JSON already, or the path of a file with one. @throws bad-recipe */
export function dataOptionsOf(value: unknown): Options | undefined {
  return typeof value === "string" ? readOptions(value) : (value as Options | undefined);
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
