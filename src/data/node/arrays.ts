/** @file Data formats of plain arrays: .npy, .npz, and raw binary files described by options. */
import { z } from "zod";
import { byteSize, type DType } from "../../tensor/dtype.ts";
import { elementCount, viewAs } from "../../tensor/tensor.ts";
import { TersorError } from "../../util/errors.ts";
import { decodeNpy, decodeNpyHeader, decodeNpz } from "../npy.ts";
import { arrayOptions, classesOption, commonOptions, dtypeOption, nextTokenOption } from "../options.ts";
import { matchArrays, type Rows, rowDataset, rowsOf } from "../rows.ts";
import { checkFile, nameOf, readBytes, readRange, statOf } from "./files.ts";
import { classesOf, defineFormat, type OpenContext } from "./format.ts";

/** Longest .npy header that is looked for; NumPy's own are below 1 KB for arrays of numbers. */
const npyHeaderWindow = 1 << 16;

/** Rows of a .npy file: row by row from the file, or at once where its order is not that of the machine. */
async function npyRows(path: string): Promise<Rows> {
  const { byteLength } = await statOf(path);
  const header = decodeNpyHeader(readRange(path, 0, Math.min(byteLength, npyHeaderWindow)), path);
  if (header.isFortran || header.isBigEndian || header.dims.length === 0)
    return rowsOf(decodeNpy(await readBytes(path), path), nameOf(path));
  const { dtype, dims, offset } = header;
  return fileRows(path, dtype, dims.slice(1), offset, dims[0]);
}

/** Rows of a file that holds nothing else from `offset` on. @throws bad-data when its length does not fit. */
async function fileRows(
  path: string,
  dtype: DType,
  dims: readonly number[],
  offset: number,
  expected?: number,
): Promise<Rows> {
  // A pipe or device has no length: it would be taken for empty.
  checkFile(path);
  const { byteLength } = await statOf(path);
  const step = byteSize(dtype, elementCount(dims));
  const count = (byteLength - offset) / step;
  if (!Number.isInteger(count) || count < 0 || (expected !== undefined && count !== expected))
    throw new TersorError(
      "bad-data",
      `${path}: wrong length: expected ${expected ?? "a whole number of"} rows of ${step} bytes (${dtype} [${dims}]) after byte ${offset}, got ${byteLength - offset} bytes.`,
    );
  const at = (index: number) => ({ dtype, dims, data: viewAs(dtype, readRange(path, offset + index * step, step)) });
  return { name: nameOf(path), count, at };
}

export const npyFormat = defineFormat({
  name: "npy",
  summary: "A NumPy array whose first axis counts samples.",
  options: z.strictObject({
    ...commonOptions,
    ...arrayOptions,
    labels: z.string().optional().describe("A .npy file of labels."),
    classes: classesOption,
    nextToken: nextTokenOption,
  }),
  matches: (path) => path.endsWith(".npy"),
  async open(options, context) {
    const path = context.resolve(options.path);
    const arrays = { [nameOf(path)]: await npyRows(path) };
    return rowDataset({
      ...common(context, nameOf(path)),
      arrays: withOptions(options.nextToken ? arrays : matchArrays(arrays, context.inputs, path), options),
      labels: options.labels === undefined ? undefined : await npyRows(context.resolve(options.labels)),
      classes: await classesOf(options.classes, context),
      nextToken: options.nextToken,
    });
  },
});

/** Names that hold the labels of an .npz file when the options name none. */
const labelNames = ["labels", "label", "y"];

export const npzFormat = defineFormat({
  name: "npz",
  summary: "NumPy arrays, one per input by name, and labels.",
  options: z.strictObject({
    ...commonOptions,
    ...arrayOptions,
    labels: z
      .string()
      .optional()
      .describe(`Name of the array of labels (${labelNames.join(", ")} when absent).`),
    classes: classesOption,
  }),
  matches: (path) => path.endsWith(".npz"),
  async open(options, context) {
    const path = context.resolve(options.path);
    const all = decodeNpz(await readBytes(path), path);
    const isInput = (name: string) => context.inputs.some((input) => input.name === name);
    const labelName = options.labels ?? labelNames.find((name) => Object.hasOwn(all, name) && !isInput(name));
    const labels = labelName !== undefined && Object.hasOwn(all, labelName) ? all[labelName] : undefined;
    if (options.labels !== undefined && !labels)
      throw new TersorError(
        "bad-data",
        `${path}: has no array of labels "${options.labels}": it holds ${Object.keys(all).join(", ") || "nothing"}.`,
      );
    const others = Object.entries(all).filter(([name]) => name !== labelName);
    const arrays = Object.fromEntries(
      others.map(([name, tensor]) => [name, rowsOf(tensor, `${nameOf(path)}:${name}`)]),
    );
    return rowDataset({
      ...common(context, nameOf(path)),
      arrays: withOptions(matchArrays(arrays, context.inputs, path), options),
      labels: labels && rowsOf(labels, `${nameOf(path)}:${labelName}`),
      classes: await classesOf(options.classes, context),
    });
  },
});

const rawArray = {
  dtype: dtypeOption.describe("Element type in the file (little-endian)."),
  dims: z.array(z.int().nonnegative()).default([]).describe("Dims of one sample."),
  offset: z.int().nonnegative().default(0).describe("Bytes before the first sample."),
};

const rawOptions = z.strictObject({
  ...commonOptions,
  ...arrayOptions,
  ...rawArray,
  input: z.string().optional().describe("The model's input that it belongs to; needed where there are several."),
  more: z
    .array(z.strictObject({ path: z.string(), input: z.string(), ...arrayOptions, ...rawArray }))
    .default([])
    .describe("The other inputs, each from a file of its own."),
  labels: z
    .strictObject({ path: z.string(), ...rawArray })
    .optional()
    .describe("Labels, row by row."),
  classes: classesOption,
  nextToken: nextTokenOption,
});

export const rawFormat = defineFormat({
  name: "raw",
  summary: "A binary file of samples, one after another, as the options or a header beside it (FILE.json) describe it.",
  options: rawOptions,
  matches: (path) => /\.(bin|raw|dat|u8|i8|i16|f32)$/.test(path),
  async open(options, context) {
    const path = context.resolve(options.path);
    const rowsAt = ({ path, dtype, dims, offset }: Pick<typeof options, "path" | "dtype" | "dims" | "offset">) =>
      fileRows(context.resolve(path), dtype, dims, offset);
    const named = options.input === undefined && options.more.length === 0 ? nameOf(path) : (options.input ?? "");
    const entries = [{ ...options, input: named }, ...options.more].map(
      async (each) => [each.input, { rows: await rowsAt(each), options: each }] as const,
    );
    const arrays = Object.fromEntries(await Promise.all(entries));
    return rowDataset({
      ...common(context, nameOf(path)),
      arrays: options.nextToken ? arrays : matchArrays(arrays, context.inputs, path),
      labels: options.labels && (await rowsAt(options.labels)),
      classes: await classesOf(options.classes, context),
      nextToken: options.nextToken,
    });
  },
});

function common({ inputs, skipped }: OpenContext, name: string) {
  return { name, inputs, ...(skipped ? { skipped } : {}) };
}

function withOptions<T>(arrays: Readonly<Record<string, Rows>>, options: T) {
  return Object.fromEntries(Object.entries(arrays).map(([name, rows]) => [name, { rows, options }]));
}
