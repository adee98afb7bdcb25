/** @file Reading lines: greedy CTC decoding, and the edit distance between texts. */
import { distance } from "fastest-levenshtein";
import { describeTensor, type HostTensor, numbersOf } from "../tensor/host-tensor.ts";
import { TersorError } from "../util/errors.ts";

/**
 * The text that scores [1, steps, classes] or [steps, classes] spell: the best class of each step, repeats merged,
 * blanks left out (best path decoding, Graves et al. 2006, https://doi.org/10.1145/1143844.1143891).
 * @param charset the text of each class; the blank's is not used
 * @throws bad-data when the charset does not have one entry per class; `subject` opens the message.
 */
export function decodeCtc(scores: HostTensor, charset: readonly string[], blank: number, subject: string): string {
  const classes = scores.dims.at(-1) ?? 0;
  const batch = scores.dims.length === 3 ? scores.dims[0] : 1;
  if (scores.dims.length < 2 || scores.dims.length > 3 || batch !== 1)
    throw new TersorError(
      "bad-data",
      `${subject}: not scores of a line: expected [1, steps, classes], got ${describeTensor(scores)}.`,
    );
  if (classes !== charset.length)
    throw new TersorError(
      "bad-data",
      `${subject}: the charset does not fit: expected ${classes} entries (the blank and a closing space counted), got ${charset.length}.`,
    );
  const data = numbersOf(scores, subject);
  let text = "";
  let previous = blank;
  for (let start = 0; start < data.length; start += classes) {
    let best = 0;
    for (let i = 1; i < classes; i++) if ((data[start + i] as number) > (data[start + best] as number)) best = i;
    if (best !== previous && best !== blank) text += charset[best];
    previous = best;
  }
  return text;
}

/**
 * The classes of a charset file: a character (or more) a line.
 * @param options where the blank stands ("first" when absent), and whether a space follows the lines
 */
export function parseCharset(
  text: string,
  options: { readonly blank?: "first" | "last" | "none"; readonly space?: boolean } = {},
): string[] {
  const { blank = "first", space = false } = options;
  const lines = text.split(/\r?\n/);
  if (lines.at(-1) === "") lines.pop();
  if (space) lines.push(" ");
  if (blank === "first") lines.unshift("");
  if (blank === "last") lines.push("");
  return lines;
}

/** Insertions, deletions and substitutions of code points between two texts (Levenshtein). */
export function editDistance(a: string, b: string): number {
  return distance(...denseUnits(a, b));
}

/**
 * The library counts UTF-16 units. Where a text has code points of two units, each distinct code point of the pair
 * becomes one unit instead, which leaves the distance as it is.
 */
function denseUnits(a: string, b: string): [string, string] {
  if (!/[\ud800-\udfff]/.test(a + b)) return [a, b];
  const units = new Map<string, string>();
  const translate = (text: string) =>
    Array.from(text, (point) => {
      const unit = units.get(point) ?? String.fromCharCode(units.size);
      units.set(point, unit);
      return unit;
    }).join("");
  return [translate(a), translate(b)];
}
