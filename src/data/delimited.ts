/** @file CSV and TSV. Source: RFC 4180; a TSV is cut at tabs and line ends alone, as its fields cannot be quoted. */
import { TersorError } from "../util/errors.ts";

export interface DelimitedOptions {
  readonly separator: "," | "\t" | ";";
}

/**
 * The records of a text. A quoted field may hold separators, line ends and doubled quotes; blank lines are left out.
 * @throws bad-data, with the line, for an open quote or text behind a closing one; `subject` (the file) opens the message.
 */
export function parseDelimited(text: string, { separator }: DelimitedOptions, subject: string): string[][] {
  const source = text.startsWith("\ufeff") ? text.slice(1) : text;
  if (separator === "\t")
    return source
      .split(/\r\n|\n|\r/)
      .filter((line) => line !== "")
      .map((line) => line.split("\t"));

  const records: string[][] = [];
  let record: string[] = [];
  let at = 0;
  while (at < source.length) {
    const field = source[at] === '"' ? quoted(source, at, separator, subject) : plain(source, at, separator);
    record.push(field.value);
    at = field.end;
    if (source[at] === separator) {
      at++;
      if (at === source.length) record.push("");
      else continue;
    }
    if (source[at] === "\r" && source[at + 1] === "\n") at++;
    at++;
    if (record.length > 1 || record[0] !== "" || field.isQuoted) records.push(record);
    record = [];
  }
  return records;
}

interface Field {
  readonly value: string;
  /** Index of the separator or line end behind it. */
  readonly end: number;
  readonly isQuoted: boolean;
}

function plain(source: string, start: number, separator: string): Field {
  let end = start;
  while (end < source.length && source[end] !== separator && source[end] !== "\n" && source[end] !== "\r") end++;
  return { value: source.slice(start, end), end, isQuoted: false };
}

function quoted(source: string, start: number, separator: string, subject: string): Field {
  const line = () => source.slice(0, start).split("\n").length;
  let value = "";
  let at = start + 1;
  for (;;) {
    const quote = source.indexOf('"', at);
    if (quote < 0) throw new TersorError("bad-data", `${subject}:${line()}: a quoted field has no closing quote.`);
    value += source.slice(at, quote);
    at = quote + 1;
    if (source[at] !== '"') break;
    value += '"';
    at++;
  }
  const next = source[at];
  if (next === undefined || next === separator || next === "\n" || next === "\r")
    return { value, end: at, isQuoted: true };
  throw new TersorError(
    "bad-data",
    `${subject}:${line()}: text behind a closing quote: expected ${JSON.stringify(separator)} or a line end, got ${JSON.stringify(next)}. Double the quotes within a quoted field.`,
  );
}
