/** @file What is known to be untrue, each with its reason. An entry that no row shows any more fails the test: it has to go. */
import type { Row } from "./rows.ts";

export interface Known {
  readonly plan: string;
  readonly when: (row: Row) => boolean;
  readonly fault: RegExp;
  readonly reason: string;
}

export const known: readonly Known[] = [];
