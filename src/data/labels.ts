/** @file Class names: labels as they are written to labels as metrics want them. */
import { messageOf, TersorError } from "../util/errors.ts";
import { parseJson } from "../util/json.ts";

/**
 * The label of a sample from what a file says: with `classes` the index of its name (an index below their number is
 * taken as it is), without them the value itself.
 * @throws bad-data when it is none of the classes; `subject` opens the message.
 */
export function parseLabel(
  value: string | number,
  classes: readonly string[] | undefined,
  subject: string,
): number | string {
  if (!classes) return value;
  const index = classes.indexOf(String(value));
  if (index >= 0) return index;
  const number = Number(value);
  if (Number.isInteger(number) && value !== "" && number >= 0 && number < classes.length) return number;
  throw new TersorError(
    "bad-data",
    `${subject}: label out of range: expected one of ${classes.length} classes (${shortened(classes)}) or an index from 0 to ${classes.length - 1}, got ${JSON.stringify(value)}.`,
  );
}

/** Labels from a text file, which does not tell numbers from text: numbers where every one of them is written as one. */
export function readLabels(texts: readonly string[]): readonly (number | string)[] {
  return texts.every((text) => /^-?(0|[1-9]\d{0,14})(\.\d+)?$/.test(text)) ? texts.map(Number) : texts;
}

/** Names in the order in which they become indices: by value where all are whole numbers, else by code unit. */
export function sortClasses(names: Iterable<string>): string[] {
  const sorted = [...new Set(names)].sort();
  return sorted.every((name) => /^\d+$/.test(name)) ? sorted.sort((a, b) => Number(a) - Number(b)) : sorted;
}

/** Class names from a file's text: a JSON array, or a name a line. @throws bad-data for other JSON. */
export function parseClasses(text: string, subject: string): string[] {
  if (!/^\s*[[{]/.test(text)) return text.split(/\r\n|\n|\r/).filter((line) => line !== "");
  try {
    const names: unknown = parseJson(text);
    if (Array.isArray(names) && names.every((name) => typeof name === "string")) return names;
  } catch (error) {
    throw new TersorError("bad-data", `${subject}: not readable as JSON: ${messageOf(error)}.`, { cause: error });
  }
  throw new TersorError("bad-data", `${subject}: expected an array of class names, or a name a line, got other JSON.`);
}

function shortened(names: readonly string[]): string {
  return names.length <= 5 ? names.join(", ") : `${names.slice(0, 5).join(", ")}, …`;
}
