/** @file What a cause of lost accuracy is, and what a row of the table of causes looks like. */

import { digits } from "./digits.ts";
import type { Evidence } from "./evidence.ts";

/** severe: the layer's SQNR is below 20 dB because of it. warning: below 27 dB, or the model is not what was wanted. */
export type Severity = "severe" | "warning" | "note";

/** One likely reason why a changed model is worse, or not what was wanted. */
export interface Cause {
  /** The row of the table: `channel-outlier`. */
  readonly kind: string;
  /** A few words, for tables. */
  readonly title: string;
  readonly severity: Severity;
  /** Estimated noise-to-signal ratio (energies) that it adds to what reads the value; Infinity where nothing is left of the signal. */
  readonly noise: number;
  /** The layer that suffers, by the name of its output; absent where the cause is one of the whole model. */
  readonly layer?: string;
  /** The value or constant at fault. */
  readonly value: string;
  /** What is wrong, with numbers, and what to do. */
  readonly message: string;
}

/** What the test of a row found. */
export interface Finding {
  readonly value: string;
  readonly layer?: string | undefined;
  readonly noise: number;
  /** What is wrong, with numbers; becomes a sentence. */
  readonly what: string;
  /** The severity where noise does not tell. */
  readonly severity?: Severity;
}

/** A row of the table. */
export interface CauseRow {
  readonly kind: string;
  readonly title: string;
  /** What to do about it: a sentence. */
  readonly advice: string;
  /** Kinds that follow from this one, and are named after it. */
  readonly explains?: readonly string[];
  test(evidence: Evidence): readonly Finding[];
}

/** Noise-to-signal ratios: 20 dB and 27 dB. */
export const SEVERE = 0.01;
export const WARNING = 0.002;
/** Below this nothing is worth a word: 40 dB. */
export const LEAST = 0.0001;

export function severityOf(noise: number): Severity {
  if (noise >= SEVERE) return "severe";
  return noise >= WARNING ? "warning" : "note";
}

/** A range in messages. */
export const span = (min: number, max: number): string => `${digits(min)} to ${digits(max)}`;
/** The first few of a list of channels, with their number where there are more. */
export function some(list: readonly (number | string)[], limit = 5): string {
  const shown = list.slice(0, limit).join(", ");
  return list.length > limit ? `${shown} and ${list.length - limit} more` : shown;
}
