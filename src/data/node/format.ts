/** @file DataFormat: what a row of the table of data formats is. */
import { resolve } from "node:path";
import type { z } from "zod";
import type { Dataset } from "../dataset.ts";
import type { InputInfo } from "../fit-input.ts";
import { parseClasses } from "../labels.ts";
import type { FormatName } from "../options.ts";
import { readText } from "./files.ts";

export interface OpenContext {
  /** The model's declared inputs. */
  readonly inputs: readonly InputInfo[];
  /** Where unreadable samples are gathered; absent where they are errors. */
  readonly skipped?: Map<string, string>;
  /** Absolute path of a file that the options name. */
  resolve(path: string): string;
  /** To be told of files that are read and not named, such as those of a folder. */
  onRead(path: string): void;
}

export interface DataFormat<Options extends { readonly path: string } = { readonly path: string }> {
  readonly name: FormatName;
  readonly summary: string;
  readonly options: z.ZodType<Options>;
  /** Whether a path is of this format when the options do not say. */
  matches(path: string, isFolder: boolean): boolean | Promise<boolean>;
  open(options: Options, context: OpenContext): Promise<Dataset>;
}

/** Types a row by its own schema, then forgets the type so that rows fit in one table. */
export function defineFormat<Options extends { readonly path: string }>(row: DataFormat<Options>): DataFormat {
  return row as unknown as DataFormat;
}

/** Resolves against a folder, and says what is about to be read. */
export function resolverOf(folder: string, onRead: (path: string) => void): OpenContext["resolve"] {
  return (path) => {
    const resolved = resolve(folder, path);
    onRead(resolved);
    return resolved;
  };
}

/** The class names that an option gives or names a file of. */
export async function classesOf(
  option: string | readonly string[] | undefined,
  context: OpenContext,
): Promise<readonly string[] | undefined> {
  if (typeof option !== "string") return option;
  const path = context.resolve(option);
  return parseClasses(await readText(path), path);
}
