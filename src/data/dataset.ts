/** @file Dataset: named tensors and labels, sample by sample, that can be gone through any number of times. */
import type { HostTensor } from "../tensor/host-tensor.ts";
import { messageOf, TersorError } from "../util/errors.ts";
import { Rng } from "../util/rng.ts";

/** What a sample's right answer looks like: a class index, a text, or one value (or class index) per element. */
export type Label = number | string | HostTensor;

export interface Sample {
  /** Where it comes from, for messages and reports: `images/cat/01.png`, `train.jsonl:12`. Unique in its dataset. */
  readonly id: string;
  /** By input name. Ready to be run: the batch axis is there, of 1. */
  readonly inputs: Readonly<Record<string, HostTensor>>;
  readonly label?: Label;
}

/** Iterating it again gives the same samples in the same order. */
export interface Dataset extends AsyncIterable<Sample> {
  /** For reports: the path, or what it was made of. */
  readonly name: string;
  /** Number of samples, where it is known beforehand. Samples that `skipped` gathers are counted. */
  readonly size?: number;
  /** True where the inputs are made up, so that results can say so. */
  readonly synthetic?: boolean;
  /** What was left out as unreadable so far: message by sample id. Absent where an unreadable sample is an error. */
  readonly skipped?: ReadonlyMap<string, string>;
  /** Names of the classes by index, where sub-folders said which class a sample is of. */
  readonly classes?: readonly string[];
  /** One sample without those before it, where the source allows it. @throws bad-data where it is unreadable. */
  readonly at?: (index: number) => Promise<Sample>;
  /** The id of a sample that is not read yet. */
  readonly idOf?: (index: number) => string;
}

/** A dataset that knows its size and can be read in any order. */
export interface IndexedDataset extends Dataset {
  readonly size: number;
  readonly at: (index: number) => Promise<Sample>;
}

export interface IndexedSource {
  readonly name: string;
  readonly size: number;
  readonly at: (index: number) => Sample | Promise<Sample>;
  readonly synthetic?: boolean;
  readonly classes?: readonly string[] | undefined;
  /** Leave out, and gather here, the samples whose `at` throws bad-data. */
  readonly skipped?: Map<string, string>;
  /** The id of a sample that cannot be read. `#index` when absent. */
  readonly idOf?: (index: number) => string;
}

/** A dataset over a function from index to sample. */
export function indexedDataset(source: IndexedSource): IndexedDataset {
  const { name, size, synthetic, skipped, classes, idOf = (index) => `#${index}` } = source;
  const at = async (index: number) => source.at(index);
  return {
    name,
    size,
    at,
    idOf,
    ...(synthetic ? { synthetic } : {}),
    ...(skipped ? { skipped } : {}),
    ...(classes ? { classes } : {}),
    async *[Symbol.asyncIterator]() {
      let good = 0;
      for (let index = 0; index < size; index++) {
        const sample = await at(index).catch((error: unknown) => {
          if (!skipped || !(error instanceof TersorError) || error.code !== "bad-data") throw error;
          skipped.set(idOf(index), messageOf(error));
        });
        if (!sample) continue;
        good++;
        yield sample;
      }
      if (size > 0 && good === 0)
        throw new TersorError("bad-data", `${name}: none of its ${size} samples can be read: ${firstOf(skipped)}`);
    },
  };
}

/** A dataset of samples in memory. */
export function datasetOf(name: string, samples: readonly Sample[]): IndexedDataset {
  return indexedDataset({ name, size: samples.length, at: (index) => samples[index] as Sample });
}

/** Whether samples can be read in any order. */
export function isIndexed(dataset: Dataset): dataset is IndexedDataset {
  return dataset.at !== undefined && dataset.size !== undefined;
}

/** All samples, in memory. */
export async function collect(dataset: Dataset): Promise<Sample[]> {
  const samples: Sample[] = [];
  for await (const sample of dataset) samples.push(sample);
  return samples;
}

/** The first `count` samples (all, where there are fewer). */
export function take(dataset: Dataset, count: number): Dataset {
  if (isIndexed(dataset)) return select(dataset, iota(Math.min(count, dataset.size)));
  return {
    ...aboutOf(dataset),
    ...(dataset.size === undefined ? {} : { size: Math.min(count, dataset.size) }),
    async *[Symbol.asyncIterator]() {
      let left = count;
      if (left <= 0) return;
      for await (const sample of dataset) {
        yield sample;
        if (--left <= 0) return;
      }
    },
  };
}

/** All but the first `count` samples. */
export function drop(dataset: Dataset, count: number): Dataset {
  if (isIndexed(dataset)) return select(dataset, iota(dataset.size).slice(count));
  return {
    ...aboutOf(dataset),
    ...(dataset.size === undefined ? {} : { size: Math.max(0, dataset.size - count) }),
    async *[Symbol.asyncIterator]() {
      let left = count;
      for await (const sample of dataset) if (left-- <= 0) yield sample;
    },
  };
}

/** A sample that could not be read, and why. */
export interface SkippedSample {
  readonly id: string;
  readonly reason: string;
}

/** What was left out as unreadable so far, for reports. */
export function skippedSamples({ skipped }: Dataset): readonly SkippedSample[] {
  return [...(skipped ?? [])].map(([id, reason]) => ({ id, reason }));
}

/** The samples in an order that only `seed` decides. A dataset that is not indexed is read into memory at first use. */
export function shuffle(dataset: Dataset, seed: number): Dataset {
  const order = (size: number) => permutation(size, seed);
  if (isIndexed(dataset)) return select(dataset, order(dataset.size));
  return {
    ...aboutOf(dataset),
    ...(dataset.size === undefined ? {} : { size: dataset.size }),
    async *[Symbol.asyncIterator]() {
      const samples = await collect(dataset);
      for (const index of order(samples.length)) yield samples[index] as Sample;
    },
  };
}

/**
 * Two disjoint parts, drawn by `seed` alone, each in the dataset's order: `first` samples (a count, or a share below 1)
 * and the rest. @throws bad-data when one of them would be empty.
 */
export async function split(dataset: Dataset, first: number, seed: number): Promise<readonly [Dataset, Dataset]> {
  const all = isIndexed(dataset) ? dataset : datasetOf(dataset.name, await collect(dataset));
  const count = first < 1 ? Math.round(first * all.size) : Math.trunc(first);
  if (count < 1 || count >= all.size)
    throw new TersorError(
      "bad-data",
      `${dataset.name}: cannot be split: expected 1 to ${all.size - 1} of its ${all.size} samples in the first part, got ${count}. Give more data, or another share.`,
    );
  const order = permutation(all.size, seed);
  const ascending = (part: readonly number[]) => [...part].sort((a, b) => a - b);
  return [select(all, ascending(order.slice(0, count))), select(all, ascending(order.slice(count)))];
}

/** The samples at these indices, in this order. */
export function select(dataset: IndexedDataset, indices: readonly number[]): IndexedDataset {
  return indexedDataset({
    ...aboutOf(dataset),
    size: indices.length,
    at: (index) => dataset.at(indices[index] as number),
    idOf: (index) => dataset.idOf?.(indices[index] as number) ?? `#${indices[index]}`,
  });
}

function aboutOf({ name, synthetic, skipped, classes }: Dataset) {
  return {
    name,
    ...(synthetic ? { synthetic } : {}),
    ...(skipped ? { skipped: skipped as Map<string, string> } : {}),
    ...(classes ? { classes } : {}),
  };
}

function permutation(size: number, seed: number): number[] {
  return new Rng(seed, "shuffle").shuffle(iota(size));
}

function iota(size: number): number[] {
  return Array.from({ length: size }, (_, i) => i);
}

function firstOf(skipped: ReadonlyMap<string, string> | undefined): string {
  return skipped?.values().next().value ?? "no reason is known.";
}
