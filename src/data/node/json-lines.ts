/** @file Data format: JSON lines, each `{ "inputs": { name: nested arrays }, "label" }` or `{ "text", "pair", "label" }`. */
import { z } from "zod";
import { messageOf, TersorError } from "../../util/errors.ts";
import { parseJson } from "../../util/json.ts";
import { indexedDataset, type Sample } from "../dataset.ts";
import { inputsFrom, labelFrom } from "../from-values.ts";
import { anyRecord, classesOption, commonOptions, parseOptions, tokenizerOptions } from "../options.ts";
import type { TextTokenizer } from "../tokenizer.ts";
import { inputsOfTokens } from "../tokens.ts";
import { nameOf, readText } from "./files.ts";
import { classesOf, defineFormat } from "./format.ts";
import { openTokenizer } from "./text.ts";

const label = z
  .union([z.string(), z.number(), z.array(z.unknown())])
  .nullable()
  .optional();
const line = z.union([
  z.strictObject({ id: z.string().optional(), inputs: anyRecord, label }),
  z.strictObject({ id: z.string().optional(), text: z.string(), pair: z.string().optional(), label }),
]);
const options = z.strictObject({ ...commonOptions, ...tokenizerOptions, classes: classesOption });

export const jsonLinesFormat = defineFormat({
  name: "jsonl",
  summary: 'A JSON object a line: {"inputs": {...}, "label": ...} or {"text": "...", "label": ...}.',
  options,
  matches: (path) => /\.(jsonl|ndjson)$/.test(path),
  async open(options, context) {
    const path = context.resolve(options.path);
    const lines = (await readText(path)).split(/\r\n|\n/);
    const filled = lines.flatMap((text, index) => (text.trim() ? [{ text, number: index + 1 }] : []));
    if (filled.length === 0) throw new TersorError("bad-data", `${path}: holds no samples.`);
    const classes = await classesOf(options.classes, context);
    const tokenizer = await openTokenizer(options, context);
    const idOf = (index: number) => `${nameOf(path)}:${filled[index]?.number}`;
    return indexedDataset({
      name: nameOf(path),
      size: filled.length,
      idOf,
      ...(context.skipped ? { skipped: context.skipped } : {}),
      at(index): Sample {
        const subject = `${path}:${filled[index]?.number}`;
        const record = parseOptions(line, parseLine(filled[index]?.text ?? "", subject), subject);
        const value = record.label === undefined || record.label === null ? undefined : record.label;
        const inputs =
          "inputs" in record
            ? inputsFrom(record.inputs, context.inputs, subject)
            : inputsOfTokens(encode(record.text, record.pair, tokenizer, options, subject), context.inputs, subject);
        const label = value === undefined ? {} : { label: labelFrom(value, classes, subject) };
        return { id: record.id ?? idOf(index), inputs, ...label };
      },
    });
  },
});

function encode(
  text: string,
  pair: string | undefined,
  tokenizer: TextTokenizer | undefined,
  options: z.infer<typeof tokenizerSchema>,
  subject: string,
) {
  if (tokenizer) return tokenizer.encode(text, pair, options);
  throw new TersorError(
    "bad-data",
    `${subject}: text needs a tokenizer: expected option "tokenizer" (tokenizer.json).`,
  );
}
const tokenizerSchema = z.strictObject(tokenizerOptions);

function parseLine(text: string, subject: string): unknown {
  try {
    return parseJson(text);
  } catch (error) {
    throw new TersorError("bad-data", `${subject}: not readable as JSON: ${messageOf(error)}.`, { cause: error });
  }
}
