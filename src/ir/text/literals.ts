/** @file How the textual format spells names, strings and numbers. */
import { dtypes } from "../../tensor/dtype.ts";

const utf8 = new TextEncoder();
const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Words that open a type. */
export const typeWords: ReadonlySet<string> = new Set([
  ...dtypes.map((row) => row.text),
  "seq",
  "map",
  "optional",
  "sparse_tensor",
  "opaque",
]);

const floatWord = /^(?:nan|inf|infinity)$/i;
const identifier = /^[A-Za-z_][A-Za-z0-9_]*$/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not appear raw in text
const unprintable = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u2028\u2029\ufeff]/;

/** The value of a word that is a number (`nan`, `inf`, `infinity`, in any case), if it is one. */
export function floatOfWord(word: string): number | undefined {
  if (!floatWord.test(word)) return undefined;
  return /^nan$/i.test(word) ? Number.NaN : Number.POSITIVE_INFINITY;
}

/** A name: bare where ONNX reads it as an identifier in every place, else quoted. */
export function nameToText(name: string): string {
  return identifier.test(name) && !typeWords.has(name) && !floatWord.test(name) ? name : stringToText(name);
}

/** A dotted name: bare where all its parts may be, else quoted as a whole. */
export function qualifiedToText(name: string): string {
  return name.split(".").every((part) => nameToText(part) === part) ? name : stringToText(name);
}

/**
 * A string in quotes, as ONNX writes it: a backslash stands before `"` and `\`, line breaks are kept. Bytes that are not
 * printable UTF-8 become `x"…"` in hex, which ONNX lacks (it has no escape that would not change its meaning there).
 */
export function stringToText(value: string | Uint8Array): string {
  const text = typeof value === "string" ? value : decode(value);
  if (text !== undefined && !unprintable.test(text)) return `"${text.replace(/["\\]/g, "\\$&")}"`;
  return bytesToText(typeof value === "string" ? utf8.encode(value) : value);
}

/** Bytes in hex: `x"00ff"`. */
export function bytesToText(bytes: Uint8Array): string {
  return `x"${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}"`;
}

/** The shortest decimal that reads back as the same float32. */
export function float32ToText(value: number): string {
  const single = Math.fround(value);
  if (!Number.isFinite(single) || (Number.isInteger(single) && Math.abs(single) <= 2 ** 24))
    return float64ToText(single);
  for (let digits = 1; digits < 9; digits++) {
    const short = Number(single.toPrecision(digits));
    if (Math.fround(short) === single) return float64ToText(short);
  }
  return float64ToText(Number(single.toPrecision(9)));
}

/** The shortest decimal that reads back as the same float64; whole numbers too large for an integer literal get an exponent. */
export function float64ToText(value: number): string {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  if (Object.is(value, -0)) return "-0.0";
  return Math.abs(value) >= 1e15 ? value.toExponential() : String(value);
}

function decode(bytes: Uint8Array): string | undefined {
  try {
    return strictUtf8.decode(bytes);
  } catch {
    return undefined;
  }
}
