/** @file Batches: samples joined along the batch axis, with a policy for unequal shapes, and outputs taken apart again. */
import { byteSize } from "../tensor/dtype.ts";
import { type HostTensor, rowOf } from "../tensor/host-tensor.ts";
import { elementCount, type TypedArray } from "../tensor/tensor.ts";
import { largestOf } from "../util/append.ts";
import { TersorError } from "../util/errors.ts";
import type { Dataset, Sample } from "./dataset.ts";
import type { InputInfo } from "./fit-input.ts";
import { dataLimits } from "./limits.ts";

export interface Batch {
  /** The real samples; `inputs` has more rows than that where the last batch was filled up. */
  readonly samples: readonly Sample[];
  readonly inputs: Readonly<Record<string, HostTensor>>;
}

export interface BatchOptions {
  /** Samples in a batch. */
  readonly size: number;
  /**
   * What to do when the shapes of two samples differ behind the batch axis. "error" (default); "split": end the batch
   * early; or pad each axis at its end to the longest, with a value for all inputs or one per input.
   */
  readonly pad?: "error" | "split" | number | Readonly<Record<string, number>>;
  /** A last batch that is short: "keep" it (default), "drop" it, or "fill" it with copies of its last sample (for models with a fixed batch). */
  readonly last?: "keep" | "drop" | "fill";
}

/** @throws bad-data where samples differ in input names or types, or in shape without a policy for it. */
export async function* batches(dataset: Dataset, options: BatchOptions): AsyncGenerator<Batch> {
  const { size, pad = "error", last = "keep" } = options;
  let samples: Sample[] = [];
  for await (const sample of dataset) {
    const [first] = samples;
    if (!first) checkBatch(sample, size, dataset.name);
    if (pad === "split" && first && !sameShapes(first, sample)) {
      yield { samples, inputs: join(samples, pad, dataset.name) };
      samples = [];
    }
    samples.push(sample);
    if (samples.length < size) continue;
    yield { samples, inputs: join(samples, pad, dataset.name) };
    samples = [];
  }
  const end = samples.at(-1);
  if (!end || last === "drop") return;
  const rows = last === "fill" ? [...samples, ...Array<Sample>(size - samples.length).fill(end)] : samples;
  yield { samples, inputs: join(rows, pad, dataset.name) };
}

/** @throws limit-exceeded for more samples at once than memory holds */
function checkBatch({ inputs }: Sample, rows: number, name: string): void {
  const bytes =
    rows * Object.values(inputs).reduce((sum, { dtype, dims }) => sum + byteSize(dtype, elementCount(dims)), 0);
  if (rows <= dataLimits.batchRows && bytes <= dataLimits.batchBytes) return;
  throw new TersorError(
    "limit-exceeded",
    `${name}: ${rows} samples at once are too many: expected at most ${dataLimits.batchRows} of ${dataLimits.batchBytes} bytes together, got ${bytes} bytes. Give smaller sizes with --shapes, or a smaller batch.`,
  );
}

/** Rows that a model wants at once, where its inputs agree on a number above 1. */
export function fixedBatch(inputs: readonly InputInfo[]): number | undefined {
  const size = inputs[0]?.dims[0];
  return typeof size === "number" && size > 1 && inputs.every(({ dims }) => dims[0] === size) ? size : undefined;
}

/**
 * The outputs of each sample of a batch, as views with a leading dim of 1. An output without a batch axis goes to
 * every sample as it is; `rows` is the number of rows that were fed.
 */
export function unbatch(
  outputs: Readonly<Record<string, HostTensor>>,
  rows: number,
): readonly Readonly<Record<string, HostTensor>>[] {
  if (rows === 1) return [outputs];
  const pick = (index: number) => (tensor: HostTensor) => (tensor.dims[0] === rows ? rowOf(tensor, index) : tensor);
  return Array.from({ length: rows }, (_, index) => mapValues(outputs, pick(index)));
}

function join(samples: readonly Sample[], pad: NonNullable<BatchOptions["pad"]>, name: string) {
  const [first] = samples;
  if (!first || samples.length === 1) return first?.inputs ?? {};
  return Object.fromEntries(
    Object.keys(first.inputs).map((input) => {
      const parts = samples.map((sample) => partOf(sample, input, first, name));
      const value = typeof pad === "object" ? pad[input] : pad;
      return [input, concat(parts, samples, input, typeof value === "number" ? value : undefined)];
    }),
  );
}

function partOf(sample: Sample, input: string, first: Sample, name: string): HostTensor {
  const part = sample.inputs[input];
  const model = first.inputs[input] as HostTensor;
  if (part && part.dtype === model.dtype && part.dims.length === model.dims.length) return part;
  throw new TersorError(
    "bad-data",
    `${name}: sample "${sample.id}": input "${input}" cannot join a batch: expected ${model.dtype} of rank ${model.dims.length} as in "${first.id}", got ${part ? `${part.dtype} [${part.dims}]` : "nothing"}.`,
  );
}

function concat(parts: readonly HostTensor[], samples: readonly Sample[], input: string, pad: number | undefined) {
  const [first] = parts as [HostTensor];
  const dims = first.dims.map((_, axis) => largestOf(parts.map((part) => part.dims[axis] as number)));
  const rows = parts.reduce((sum, part) => sum + (part.dims[0] ?? 1), 0);
  const odd = parts.findIndex((part) => part.dims.some((dim, axis) => axis > 0 && dim !== first.dims[axis]));
  if (odd >= 0 && pad === undefined)
    throw new TersorError(
      "bad-data",
      `sample "${samples[odd]?.id}": input "${input}" cannot join a batch: expected [${first.dims}] as in "${samples[0]?.id}", got [${parts[odd]?.dims}]. Use batch size 1, give a padding value, or make the samples equal.`,
    );
  dims[0] = rows;
  const data = like(first.data, elementCount(dims), pad ?? 0);
  let row = 0;
  for (const part of parts) {
    place(part, data, dims, row);
    row += part.dims[0] ?? 1;
  }
  return { dtype: first.dtype, dims, data };
}

/** Copies `part` into `into` [dims] from row `row` of axis 0 on, line by line along the last axis. */
function place(part: HostTensor, into: TypedArray | string[], dims: readonly number[], row: number): void {
  const count = elementCount(part.dims);
  const same = part.dims.every((dim, axis) => axis === 0 || dim === dims[axis]);
  const line = same ? count : (part.dims.at(-1) ?? 1);
  if (count === 0) return;
  const at = part.dims.map((_, axis) => (axis === 0 ? row : 0));
  for (let from = 0; from < count; from += line) {
    let to = 0;
    for (let axis = 0; axis < dims.length; axis++) to = to * (dims[axis] as number) + (at[axis] as number);
    copy(part.data, from, line, into, to);
    for (let axis = dims.length - 2; axis >= 0; axis--) {
      const begin = axis === 0 ? row : 0;
      at[axis] = (at[axis] as number) + 1;
      if ((at[axis] as number) - begin < (part.dims[axis] as number) || axis === 0) break;
      at[axis] = 0;
    }
  }
}

function copy(from: HostTensor["data"], start: number, count: number, into: HostTensor["data"], at: number): void {
  if (Array.isArray(from) || Array.isArray(into)) {
    for (let i = 0; i < count; i++) into[at + i] = from[start + i] as never;
    return;
  }
  into.set(from.subarray(start, start + count) as never, at);
}

function like(data: HostTensor["data"], length: number, value: number): HostTensor["data"] {
  if (Array.isArray(data)) return new Array<string>(length).fill("");
  if (data instanceof BigInt64Array) return new BigInt64Array(length).fill(BigInt(value));
  if (data instanceof BigUint64Array) return new BigUint64Array(length).fill(BigInt(value));
  const Type = data.constructor as new (length: number) => Exclude<TypedArray, BigInt64Array | BigUint64Array>;
  return new Type(length).fill(value);
}

function sameShapes(a: Sample, b: Sample): boolean {
  return Object.entries(a.inputs).every(([name, { dims }]) => {
    const other = b.inputs[name]?.dims;
    return other?.length === dims.length && dims.every((dim, axis) => axis === 0 || dim === other[axis]);
  });
}

function mapValues<T, R>(record: Readonly<Record<string, T>>, map: (value: T) => R): Record<string, R> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, map(value)]));
}
