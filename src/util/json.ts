/** @file JSON from files that may be anything: what would overflow the stack, or a number, is refused with a position. */

/** Deepest nesting. Recipes, data and tokenizers have a dozen levels. */
const DEPTH = 512;

/** As JSON.parse. @throws an Error for what is no JSON, is nested too deep, or has a number that a double can't hold */
export function parseJson(text: string): unknown {
  checkDepth(text);
  const value: unknown = JSON.parse(text);
  // Few texts have what may be such a number, and then often within a string: only these are looked through.
  if (mayOverflow.test(text)) checkFinite(value);
  return value;
}

const mayOverflow = /[eE]\+?\d{3}|\d{300}/;

function checkDepth(text: string): void {
  let depth = 0;
  let inString = false;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (inString) {
      if (code === BACKSLASH) i++;
      else if (code === QUOTE) inString = false;
    } else if (code === QUOTE) inString = true;
    else if (code === OPEN_LIST || code === OPEN_OBJECT) {
      if (++depth > DEPTH) throw new Error(`nested more than ${DEPTH} deep at position ${i}`);
    } else if (code === CLOSE_LIST || code === CLOSE_OBJECT) depth--;
  }
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_LIST = 0x5b;
const CLOSE_LIST = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

function checkFinite(value: unknown): void {
  if (value === Number.POSITIVE_INFINITY || value === Number.NEGATIVE_INFINITY)
    throw new Error("a number is larger than a double can hold (1.8e308)");
  if (typeof value === "object" && value !== null) for (const inner of Object.values(value)) checkFinite(inner);
}
