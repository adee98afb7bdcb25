/** @file Rows of arrays to samples: normalization, layout, labels and next-token windows, for .npy, .npz and raw files. */
import { type HostTensor, numbersOf, rowOf } from "../tensor/host-tensor.ts";
import { TersorError } from "../util/errors.ts";
import { type IndexedDataset, indexedDataset, type Label, type Sample } from "./dataset.ts";
import { fitInputs, type InputInfo } from "./fit-input.ts";
import { parseLabel } from "./labels.ts";
import { type Layout, type Normalization, normalize, relayout } from "./preprocess.ts";
import { inputsOfTokens, type NextTokenOptions, nextTokens } from "./tokens.ts";

/** An array whose axis 0 counts samples; rows may still lie in a file. */
export interface Rows {
  /** The file, and the name within it. */
  readonly name: string;
  readonly count: number;
  /** Row `index`, without axis 0. */
  at(index: number): HostTensor;
}

export interface RowOptions {
  readonly zeroPoint?: number | undefined;
  readonly scale?: number | undefined;
  readonly mean?: readonly number[] | undefined;
  readonly std?: readonly number[] | undefined;
  readonly stored: Layout;
  readonly layout: Layout;
}

export interface RowSource {
  readonly name: string;
  readonly inputs: readonly InputInfo[];
  /** By input name. With `nextToken`, a single entry of any name. */
  readonly arrays: Readonly<Record<string, { readonly rows: Rows; readonly options: RowOptions }>>;
  readonly labels?: Rows | undefined;
  readonly classes?: readonly string[] | undefined;
  readonly nextToken?: NextTokenOptions | undefined;
  readonly skipped?: Map<string, string>;
}

/** Rows of a tensor in memory. @throws bad-data for a scalar. */
export function rowsOf(tensor: HostTensor, name: string): Rows {
  const [count] = tensor.dims;
  if (count === undefined)
    throw new TersorError("bad-data", `${name}: expected an array whose first axis counts samples, got a scalar.`);
  const dims = tensor.dims.slice(1);
  return { name, count, at: (index) => ({ ...rowOf(tensor, index), dims }) };
}

/** @throws bad-data when the arrays and labels do not have the same number of rows. */
export function rowDataset(source: RowSource): IndexedDataset {
  const { name, labels, skipped } = source;
  const all = [...Object.values(source.arrays).map(({ rows }) => rows), ...(labels ? [labels] : [])];
  const [first] = all;
  const odd = all.find((rows) => rows.count !== first?.count);
  if (first && odd)
    throw new TersorError(
      "bad-data",
      `${odd.name}: wrong number of rows: expected ${first.count} as in ${first.name}, got ${odd.count}.`,
    );
  if (!first || first.count === 0) throw new TersorError("bad-data", `${name}: holds no samples.`);
  const idOf = (index: number) => `${name}#${index}`;
  return indexedDataset({
    name,
    size: first.count,
    idOf,
    ...(skipped ? { skipped } : {}),
    at: (index) => sampleOf(source, index, idOf(index)),
  });
}

function sampleOf(source: RowSource, index: number, id: string): Sample {
  const { inputs, arrays, nextToken } = source;
  const entries = Object.entries(arrays);
  if (nextToken) {
    const row = entries[0]?.[1].rows.at(index) as HostTensor;
    const { tokens, label } = nextTokens(numbersOf(row, id), nextToken);
    return { id, inputs: inputsOfTokens(tokens, inputs, id), label };
  }
  const given = entries.map(([name, { rows, options }]) => [name, prepare(rows.at(index), options, id)]);
  const label = source.labels && labelOf(source.labels.at(index), source.classes, id);
  return { id, inputs: fitInputs(Object.fromEntries(given), inputs, id), ...(label === undefined ? {} : { label }) };
}

function prepare(row: HostTensor, options: RowOptions, subject: string): HostTensor {
  const { stored, layout, mean, std, zeroPoint, scale } = options;
  const isChanged = stored !== layout || [mean, std, zeroPoint, scale].some((value) => value !== undefined);
  if (!isChanged) return row;
  const values = Math.max(mean?.length ?? 1, std?.length ?? 1);
  const isPerChannel = stored !== layout || values > 1;
  const channels = isPerChannel ? ((stored === "nchw" ? row.dims[0] : row.dims.at(-1)) ?? 1) : 1;
  const normalization: Normalization = {
    ...(zeroPoint === undefined ? {} : { zeroPoint }),
    ...(scale === undefined ? {} : { scale }),
    ...(mean ? { mean } : {}),
    ...(std ? { std } : {}),
  };
  const data = normalize(numbersOf(row, subject), channels, stored, layout, normalization, subject);
  return { dtype: "float32", dims: relayout(row.dims, stored, layout), data };
}

/** A single number (or a row of one) is the label itself; anything longer one label per element. */
function labelOf(row: HostTensor, classes: readonly string[] | undefined, subject: string): Label {
  if (row.data.length !== 1) return row;
  return parseLabel(numbersOf(row, `${subject}: label`)[0] as number, classes, subject);
}

/** The arrays of a file by input: by name, or the only array for the only input. @throws bad-data when they do not fit. */
export function matchArrays<T>(
  arrays: Readonly<Record<string, T>>,
  inputs: readonly InputInfo[],
  subject: string,
): Readonly<Record<string, T>> {
  const names = Object.keys(arrays);
  const [name] = names;
  const [input] = inputs;
  if (name !== undefined && names.length === 1 && input && inputs.length === 1)
    return { [input.name]: arrays[name] as T };
  const wanted = inputs.map((each) => each.name);
  if (names.length === wanted.length && names.every((each) => wanted.includes(each))) return arrays;
  throw new TersorError(
    "bad-data",
    `${subject}: wrong arrays: expected one for each input (${wanted.join(", ")}), got ${names.join(", ") || "none"}.`,
  );
}
