/** @file Data formats of texts with a tokenizer: CSV, TSV, and plain text by lines or in windows for language models. */
import { z } from "zod";
import { TersorError } from "../../util/errors.ts";
import { indexedDataset, type Sample } from "../dataset.ts";
import { parseDelimited } from "../delimited.ts";
import { parseLabel, readLabels } from "../labels.ts";
import { classesOption, commonOptions, tokenizerOptions } from "../options.ts";
import { TextTokenizer } from "../tokenizer.ts";
import { inputsOfTokens, type Window } from "../tokens.ts";
import { nameOf, readText } from "./files.ts";
import { classesOf, defineFormat, type OpenContext } from "./format.ts";

type TokenizerOptions = z.infer<z.ZodObject<typeof tokenizerOptions>>;

/** The tokenizer that the options name, if they do. */
export async function openTokenizer(
  { tokenizer }: TokenizerOptions,
  context: OpenContext,
): Promise<TextTokenizer | undefined> {
  if (tokenizer === undefined) return undefined;
  const path = context.resolve(tokenizer);
  return new TextTokenizer(await readText(path), path);
}

async function needTokenizer(options: TokenizerOptions, context: OpenContext, path: string): Promise<TextTokenizer> {
  const tokenizer = await openTokenizer(options, context);
  if (tokenizer) return tokenizer;
  throw new TersorError("bad-data", `${path}: text needs a tokenizer: expected option "tokenizer" (tokenizer.json).`);
}

const column = z.union([z.int().nonnegative(), z.string()]);
const tableOptions = z.strictObject({
  ...commonOptions,
  ...tokenizerOptions,
  header: z
    .boolean()
    .optional()
    .describe("Whether the first record names the columns; true where a column is given by name."),
  textColumn: column.optional().describe("Name, or number from 0."),
  pairColumn: column.optional().describe("The second text of a pair."),
  labelColumn: column.optional().describe("Name, or number from 0."),
  classes: classesOption,
});
type TableOptions = z.infer<typeof tableOptions>;

const tableFormat = (name: "csv" | "tsv", separator: "," | "\t") =>
  defineFormat({
    name,
    summary: `Texts and labels in ${name.toUpperCase()} columns.`,
    options: tableOptions,
    matches: (path) => path.endsWith(`.${name}`),
    async open(options: TableOptions, context) {
      const path = context.resolve(options.path);
      const records = parseDelimited(await readText(path), { separator }, path);
      const table = columnsOf(records, options, path, context.skipped);
      const classes = await classesOf(options.classes, context);
      const tokenizer = await needTokenizer(options, context, path);
      const labels = table.labels && readLabels(table.labels);
      const idOf = (index: number) => `${nameOf(path)}#${table.rows[index]}`;
      return indexedDataset({
        name: nameOf(path),
        size: table.texts.length,
        idOf,
        ...(context.skipped ? { skipped: context.skipped } : {}),
        at(index): Sample {
          const subject = `${path}: record ${(table.rows[index] as number) + 1}`;
          const tokens = tokenizer.encode(table.texts[index] as string, table.pairs?.[index], options);
          const label = labels ? { label: parseLabel(labels[index] as string | number, classes, subject) } : {};
          return { id: idOf(index), inputs: inputsOfTokens(tokens, context.inputs, subject), ...label };
        },
      });
    },
  });

export const csvFormat = tableFormat("csv", ",");
export const tsvFormat = tableFormat("tsv", "\t");

interface Columns {
  /** Numbers of the records from 0, without the header. */
  readonly rows: readonly number[];
  readonly texts: readonly string[];
  readonly pairs: readonly string[] | undefined;
  readonly labels: readonly string[] | undefined;
}

/** Two columns without a header are text and label. Records that lack a column go to `skipped` where there is one. */
function columnsOf(
  records: readonly (readonly string[])[],
  options: TableOptions,
  path: string,
  skipped: Map<string, string> | undefined,
): Columns {
  const { textColumn, pairColumn, labelColumn } = options;
  const isNamed = [textColumn, pairColumn, labelColumn].some((each) => typeof each === "string");
  const hasHeader = options.header ?? isNamed;
  const names = hasHeader ? (records[0] ?? []) : [];
  const rows = hasHeader ? records.slice(1) : records;
  if (rows.length === 0) throw new TersorError("bad-data", `${path}: holds no samples.`);
  const place = (column: string | number) => {
    const at = typeof column === "number" ? column : names.indexOf(column);
    if (at >= 0) return at;
    throw new TersorError("bad-data", `${path}: has no column "${column}": expected one of ${names.join(", ")}.`);
  };
  const isPlainPair = !hasHeader && textColumn === undefined && rows.every((row) => row.length === 2);
  const label = labelColumn ?? (isPlainPair ? 1 : undefined);
  const wanted = [textColumn ?? 0, pairColumn, label].map((column) =>
    column === undefined ? undefined : place(column),
  );
  const good = rows.flatMap((row, index) => {
    const missing = wanted.find((at) => at !== undefined && row[at] === undefined);
    if (missing === undefined) return [index];
    const why = `${path}: record ${index + 1}: no column ${missing}: it has ${row.length} columns.`;
    if (!skipped) throw new TersorError("bad-data", why);
    skipped.set(`${nameOf(path)}#${index}`, why);
    return [];
  });
  if (good.length === 0) throw new TersorError("bad-data", `${path}: none of its ${rows.length} records can be read.`);
  const [texts, pairs, labels] = wanted.map((at) =>
    at === undefined ? undefined : good.map((index) => rows[index]?.[at] ?? ""),
  );
  return { rows: good, texts: texts ?? [], pairs, labels };
}

export const textFormat = defineFormat({
  name: "text",
  summary: "Plain text: a sample a line, or, with a window, runs of tokens and their successors for a language model.",
  options: z.strictObject({
    ...commonOptions,
    ...tokenizerOptions,
    window: z.int().positive().optional().describe("Tokens of a window; the label is the next token at each place."),
  }),
  matches: (path) => /\.(txt|text|md)$/.test(path),
  async open(options, context) {
    const path = context.resolve(options.path);
    const text = await readText(path);
    const tokenizer = await needTokenizer(options, context, path);
    const lines = text.split(/\r\n|\n|\r/).filter((line) => line.trim() !== "");
    if (lines.length === 0) throw new TersorError("bad-data", `${path}: holds no text.`);
    const idOf = (index: number) => `${nameOf(path)}#${index}`;
    const about = { name: nameOf(path), idOf, ...(context.skipped ? { skipped: context.skipped } : {}) };
    if (options.window !== undefined) {
      const windows = tokenizer.windows(text, options.window);
      return indexedDataset({
        ...about,
        size: windows.length,
        at(index): Sample {
          const { tokens, label } = windows[index] as Window;
          return { id: idOf(index), inputs: inputsOfTokens(tokens, context.inputs, idOf(index)), label };
        },
      });
    }
    return indexedDataset({
      ...about,
      size: lines.length,
      at(index): Sample {
        const tokens = tokenizer.encode(lines[index] as string, undefined, options);
        return { id: idOf(index), inputs: inputsOfTokens(tokens, context.inputs, idOf(index)) };
      },
    });
  },
});
