/** @file The target that `--target` means: a name, or a file that describes one. */
import { reason } from "../node/file-source.ts";
import { TersorError } from "../util/errors.ts";
import { parseJson } from "../util/json.ts";
import { parseOptions } from "../util/options.ts";
import { readRegular } from "../util/regular-file.ts";
import type { Options } from "./args.ts";

/** The options with the target that stands in a .json file. @throws bad-recipe when it is no JSON, and for unknown keys and wrong values */
export async function withTarget(options: Options): Promise<Options> {
  const { target } = options;
  if (typeof target !== "string" || !target.endsWith(".json")) return options;
  const { targetSchema } = await import("../targets/target.ts");
  let value: unknown;
  try {
    value = parseJson(new TextDecoder().decode(readRegular(target)));
  } catch (cause) {
    throw new TersorError("bad-recipe", `target "${target}": can't be read as JSON: ${reason(cause)}`, { cause });
  }
  return { ...options, target: parseOptions(targetSchema, value, `target "${target}"`) };
}
