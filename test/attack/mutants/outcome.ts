/** @file What is wrong with how a command ended, if anything is. */
import type { Outcome } from "./hands.ts";

const MAX_KILOBYTES = 1_500_000;

const codes = ["bad-model", "bad-data", "bad-recipe", "unsupported-op", "shape-mismatch", "limit-exceeded"];
const clear: ReadonlySet<string | undefined> = new Set([...codes, "runtime-failed"]);
/** What no sentence of ours says: the words of an engine, and places that are gone when one reads them. */
const unclear =
  /bug in Tersor|is not a function|Cannot read|Cannot convert|\[object |not iterable|call stack|\.tersor-/;

/** Undefined where a command ended in a result or in one clear error. */
export function faultOf({ gone, error, stray = [], kilobytes = 0 }: Outcome): string | undefined {
  if (gone !== undefined) return gone;
  if (stray[0]) return `thrown where nobody awaits it: ${stray[0].message}\n${stray[0].stack}`;
  if (kilobytes > MAX_KILOBYTES) return `took ${Math.round(kilobytes / 1024)} MB`;
  if (!error) return;
  if (error.name !== "TersorError" || !clear.has(error.code)) return `${error.code}: ${error.stack}`;
  return error.message.trim() === "" || unclear.test(error.message) ? `unclear: ${error.stack}` : undefined;
}
