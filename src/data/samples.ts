/** @file Samples that are given in code: arrays, generators, functions that give either; and datasets as they are. */
import * as z from "zod";
import { messageOf, TersorError } from "../util/errors.ts";
import type { Dataset, Sample } from "./dataset.ts";
import type { InputInfo } from "./fit-input.ts";
import { inputsFrom, labelFrom } from "./from-values.ts";
import { anyRecord } from "./options.ts";

/**
 * One sample: its inputs by name with a label, or the inputs alone. A value is a number, nested arrays, a typed array (then of the input's
 * shape) or a tensor with `dtype`, `dims` and `data`.
 */
export type SampleLike =
  | { readonly inputs: Readonly<Record<string, unknown>>; readonly label?: unknown; readonly id?: string }
  | Readonly<Record<string, unknown>>;

type Iterables = Iterable<SampleLike> | AsyncIterable<SampleLike>;

/**
 * Samples in code: a dataset, an array, a generator, or a function that gives one of them anew for every pass. A generator itself can be
 * gone through once only.
 */
export type Samples =
  | Dataset
  | Iterables
  | ((about: { readonly inputs: readonly InputInfo[] }) => Iterables | Promise<Iterables>);

/** Whether a value is {@link Samples}, and no path or options. */
export function isSamples(value: unknown): value is Samples {
  return typeof value === "function" || (isIterable(value) && !ArrayBuffer.isView(value));
}

export interface SamplesAbout {
  /** For reports. */
  readonly name: string;
  /** Opens messages; the name when absent. */
  readonly subject?: string;
  readonly inputs: readonly InputInfo[];
  /** Gathers samples that are left out as unreadable; absent where one is an error. */
  readonly skipped?: Map<string, string>;
}

/** The samples as a dataset that fits the inputs. @throws bad-data, then or while it is read, for what is no sample or does not fit */
export function datasetFrom(given: unknown, about: SamplesAbout): Dataset {
  const { name, subject = name, skipped } = about;
  if (isDataset(given)) return given;
  const open = opener(given, about.inputs, subject);
  const size = isIterable(given) && "length" in given ? Number(given.length) : undefined;
  return {
    name,
    ...(size === undefined ? {} : { size }),
    ...(skipped ? { skipped } : {}),
    async *[Symbol.asyncIterator]() {
      let index = 0;
      let good = 0;
      for await (const value of thrownBy(subject, open)) {
        const sample = readSample(value, about, `${name}#${index++}`);
        if (!sample) continue;
        good++;
        yield sample;
      }
      if (good === 0) throw new TersorError("bad-data", `${subject}: gave ${index} samples, none of them usable.`);
    },
  };
}

function isDataset(value: unknown): value is Dataset {
  return typeof value === "object" && value !== null && Symbol.asyncIterator in value && "name" in value;
}

function isIterable(value: unknown): value is AsyncIterable<unknown> | Iterable<unknown> {
  return typeof value === "object" && value !== null && (Symbol.asyncIterator in value || Symbol.iterator in value);
}

/** What the user's code throws may be anything, null too. */
async function* thrownBy(
  subject: string,
  open: () => Promise<AsyncIterable<unknown> | Iterable<unknown>>,
): AsyncIterable<unknown> {
  let samples: AsyncIterator<unknown> | Iterator<unknown>;
  try {
    const all = await open();
    samples = Symbol.asyncIterator in all ? all[Symbol.asyncIterator]() : all[Symbol.iterator]();
  } catch (error) {
    throw ofUser(subject, error);
  }
  try {
    for (;;) {
      let next: IteratorResult<unknown>;
      try {
        next = await samples.next();
      } catch (error) {
        throw ofUser(subject, error);
      }
      if (next.done) return;
      yield next.value;
    }
  } finally {
    await samples.return?.();
  }
}

function ofUser(subject: string, error: unknown): TersorError {
  if (error instanceof TersorError) return error;
  return new TersorError("bad-data", `${subject}: it threw: ${messageOf(error)}.`, { cause: error });
}

/** A function is called anew for each pass; an iterable that can be gone through once is used once. */
function opener(given: unknown, inputs: readonly InputInfo[], subject: string) {
  if (typeof given === "function")
    return async () => {
      const samples: unknown = await given({ inputs });
      if (isIterable(samples)) return samples;
      throw noSamples(subject, "a function that returns something else");
    };
  if (!isIterable(given)) throw noSamples(subject, given === undefined ? "nothing" : `a value of type ${typeof given}`);
  const isOnce = "next" in given;
  let isUsed = false;
  return async () => {
    if (isOnce && isUsed)
      throw new TersorError(
        "bad-data",
        `${subject}: it can be gone through only once: expected a function, got a generator that has run. Give the generator function itself.`,
      );
    isUsed = true;
    return given;
  };
}

function noSamples(subject: string, got: string): TersorError {
  return new TersorError(
    "bad-data",
    `${subject}: no samples: expected an iterable of { inputs, label }, or a function that returns one, got ${got}.`,
  );
}

const labelled = z.object({ id: z.string().optional(), inputs: anyRecord, label: z.unknown().optional() });

function readSample(value: unknown, { inputs, skipped }: SamplesAbout, id: string): Sample | undefined {
  try {
    const { success, data } = labelled.safeParse(isFeeds(value, inputs) ? { inputs: value } : value);
    if (!success)
      throw new TersorError(
        "bad-data",
        `${id}: expected a sample { inputs: { name: values }, label } or { name: values } with the inputs ${inputs.map(({ name }) => `"${name}"`).join(", ")}, got something else.`,
      );
    const label = data.label === undefined ? {} : { label: labelFrom(data.label, undefined, id) };
    return { id: data.id ?? id, inputs: inputsFrom(data.inputs, inputs, id), ...label };
  } catch (error) {
    if (!skipped || !(error instanceof TersorError) || error.code !== "bad-data") throw error;
    skipped.set(id, messageOf(error));
    return undefined;
  }
}

/** Inputs without a label: an object with the name of an input. */
function isFeeds(value: unknown, inputs: readonly InputInfo[]): boolean {
  if (typeof value !== "object" || value === null || "inputs" in value) return false;
  return inputs.some(({ name }) => Object.hasOwn(value, name));
}
