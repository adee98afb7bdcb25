/** @file What was left out of the data, as a person reads it. */
import type { SkippedData } from "../../recipe/node/context.ts";
import { type Palette, plural, printable } from "./render.ts";

const NAMES = 5;

/** A paragraph with how many samples and which; empty where all were read. */
export function skippedText(skipped: readonly SkippedData[], colors: Palette): string {
  const lines = skipped.map(({ data, samples }) => {
    const names = samples.slice(0, NAMES).map(({ id }) => printable(id));
    const more = samples.length > NAMES ? `, … ${samples.length - NAMES} more` : "";
    return `  ${plural(samples.length, "sample")} of ${printable(data)}: ${names.join(", ")}${more}`;
  });
  return lines.length > 0 ? [colors.bold("Left out as unreadable"), ...lines].join("\n") : "";
}
