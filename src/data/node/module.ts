/** @file Data format: a JavaScript module whose default export gives the samples; and loading the user's modules. */
import { pathToFileURL } from "node:url";
import { z } from "zod";
import { messageOf, TersorError } from "../../util/errors.ts";
import type { Dataset } from "../dataset.ts";
import { commonOptions } from "../options.ts";
import { datasetFrom } from "../samples.ts";
import { checkFile, nameOf } from "./files.ts";
import { defineFormat } from "./format.ts";

/** The default export of a module of the user's (else all its exports). @throws bad-data when it cannot be loaded. */
export async function loadModule(path: string): Promise<unknown> {
  checkFile(path);
  try {
    const module: Readonly<Record<string, unknown>> = await import(pathToFileURL(path).href);
    return "default" in module ? module.default : module;
  } catch (error) {
    const isTypeScript = error instanceof Error && "code" in error && error.code === "ERR_UNKNOWN_FILE_EXTENSION";
    const advice = isTypeScript ? " Compile it to JavaScript first." : "";
    throw new TersorError("bad-data", `${path}: the module cannot be loaded: ${messageOf(error)}.${advice}`, {
      cause: error,
    });
  }
}

export const moduleFormat = defineFormat({
  name: "module",
  summary:
    "A JavaScript module: its default export is an (async) iterable of { inputs, label }, or a function that gives one.",
  options: z.strictObject({ ...commonOptions }),
  matches: (path) => /\.[cm]?[jt]s$/.test(path),
  async open(options, context): Promise<Dataset> {
    const path = context.resolve(options.path);
    const { inputs, skipped } = context;
    return datasetFrom(await loadModule(path), {
      name: nameOf(path),
      subject: path,
      inputs,
      ...(skipped && { skipped }),
    });
  },
});
