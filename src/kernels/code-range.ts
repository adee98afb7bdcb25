/** @file The integers that codes may be. */

/** The range of integer codes, inclusive, within [-128, 127] or [0, 255]. */
export interface CodeRange {
  readonly qmin: number;
  readonly qmax: number;
}
