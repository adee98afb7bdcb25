/** @file Numbers in texts of the diagnosis. */

/** Numbers in messages. */
export const digits = (x: number): string => String(Number(x.toPrecision(3)));
