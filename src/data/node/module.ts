/** @file Data format: a JavaScript module whose default export gives the samples; and loading the user's modules. */
import { pathToFileURL } from "node:url";
import { z } from "zod";
import { messageOf, TersorError } from "../../util/errors.ts";
import type { Dataset, Sample } from "../dataset.ts";
import { inputsFrom, labelFrom } from "../from-values.ts";
import { anyRecord, commonOptions } from "../options.ts";
import { checkFile, nameOf } from "./files.ts";
import { defineFormat, type OpenContext } from "./format.ts";

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

type Samples = AsyncIterable<unknown> | Iterable<unknown>;

export const moduleFormat = defineFormat({
  name: "module",
  summary:
    "A JavaScript module: its default export is an (async) iterable of { inputs, label }, or a function that gives one.",
  options: z.strictObject({ ...commonOptions }),
  matches: (path) => /\.[cm]?[jt]s$/.test(path),
  async open(options, context): Promise<Dataset> {
    const path = context.resolve(options.path);
    const exported = await loadModule(path);
    const open = opener(exported, context, path);
    const size = isIterable(exported) && "length" in exported ? Number(exported.length) : undefined;
    const { skipped } = context;
    return {
      name: nameOf(path),
      ...(size === undefined ? {} : { size }),
      ...(skipped ? { skipped } : {}),
      async *[Symbol.asyncIterator]() {
        let index = 0;
        let good = 0;
        for await (const value of thrownBy(path, open)) {
          const id = `${nameOf(path)}#${index++}`;
          const sample = readSample(value, context, id, skipped);
          if (!sample) continue;
          good++;
          yield sample;
        }
        if (good === 0) throw new TersorError("bad-data", `${path}: gave ${index} samples, none of them usable.`);
      },
    };
  },
});

/** What a module throws may be anything, null too. */
async function* thrownBy(path: string, open: () => Samples | Promise<Samples>): AsyncIterable<unknown> {
  let samples: AsyncIterator<unknown> | Iterator<unknown>;
  try {
    const all = await open();
    samples = Symbol.asyncIterator in all ? all[Symbol.asyncIterator]() : all[Symbol.iterator]();
  } catch (error) {
    throw ofModule(path, error);
  }
  try {
    for (;;) {
      let next: IteratorResult<unknown>;
      try {
        next = await samples.next();
      } catch (error) {
        throw ofModule(path, error);
      }
      if (next.done) return;
      yield next.value;
    }
  } finally {
    await samples.return?.();
  }
}

function ofModule(path: string, error: unknown): TersorError {
  if (error instanceof TersorError) return error;
  return new TersorError("bad-data", `${path}: the module threw: ${messageOf(error)}.`, { cause: error });
}

/** A function is called anew for each pass; an iterable that can be gone through once is used once. */
function opener(exported: unknown, context: OpenContext, path: string): () => Samples | Promise<Samples> {
  if (typeof exported === "function")
    return async () => {
      const samples: unknown = await exported({ inputs: context.inputs });
      if (isIterable(samples)) return samples;
      throw wrongExport(path, "a function that returns something else");
    };
  if (!isIterable(exported))
    throw wrongExport(path, exported === undefined ? "nothing" : `a value of type ${typeof exported}`);
  const isOnce = "next" in exported;
  let isUsed = false;
  return () => {
    if (isOnce && isUsed)
      throw new TersorError(
        "bad-data",
        `${path}: its default export can be gone through only once: expected a function, got a generator that has run. Export the generator function itself.`,
      );
    isUsed = true;
    return exported;
  };
}

function isIterable(value: unknown): value is Samples {
  return typeof value === "object" && value !== null && (Symbol.asyncIterator in value || Symbol.iterator in value);
}

function wrongExport(path: string, got: string): TersorError {
  return new TersorError(
    "bad-data",
    `${path}: wrong default export: expected an iterable of samples { inputs, label }, or a function that returns one, got ${got}.`,
  );
}

const sample = z.object({
  id: z.string().optional(),
  inputs: anyRecord,
  label: z.unknown().optional(),
});

function readSample(
  value: unknown,
  { inputs }: OpenContext,
  id: string,
  skipped: Map<string, string> | undefined,
): Sample | undefined {
  try {
    const result = sample.safeParse(value);
    if (!result.success)
      throw new TersorError(
        "bad-data",
        `${id}: expected a sample { inputs: { name: values }, label }, got something else.`,
      );
    const { data } = result;
    const label = data.label === undefined ? {} : { label: labelFrom(data.label, undefined, id) };
    return { id: data.id ?? id, inputs: inputsFrom(data.inputs, inputs, id), ...label };
  } catch (error) {
    if (!skipped || !(error instanceof TersorError) || error.code !== "bad-data") throw error;
    skipped.set(id, messageOf(error));
    return undefined;
  }
}
