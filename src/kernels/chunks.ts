/**
 * @file How work is cut into kernel calls. A call that runs long stays in the engine's baseline compiler to its end, so calls
 * are kept to some ten thousand elements; no result depends on where the cuts are.
 */

/** `count` contiguous slices of `runLength` elements each. */
export interface Runs {
  readonly runLength: number;
  readonly count: number;
}

/** A block [rows, n] with one slice per column; its rows are `stride` elements apart (n if absent). */
export interface Columns {
  readonly rows: number;
  readonly n: number;
  readonly stride?: number;
}

/** Elements per call. Sums are defined over blocks of this size: it is part of the format of no file, but of the results' bits. */
export const CHUNK = 65536;

/** Visits whole runs while they fit a chunk, else parts of one run; `element` and `run` are the first ones of the part. */
export function eachRunChunk(
  { runLength, count }: Runs,
  chunk: number,
  visit: (element: number, run: number, part: Runs) => void,
): void {
  if (runLength === 0) return;
  if (runLength <= chunk) {
    const perCall = Math.floor(chunk / runLength);
    for (let run = 0; run < count; run += perCall) {
      visit(run * runLength, run, { runLength, count: Math.min(perCall, count - run) });
    }
    return;
  }
  for (let run = 0; run < count; run++) {
    for (let at = 0; at < runLength; at += chunk) {
      visit(run * runLength + at, run, { runLength: Math.min(chunk, runLength - at), count: 1 });
    }
  }
}

/** Visits blocks of at most `maxRows` x `maxColumns`, all rows of a strip of columns before the next strip. */
export function eachColumnChunk(
  { rows, n }: Columns,
  maxRows: number,
  maxColumns: number,
  visit: (row: number, column: number, rows: number, n: number) => void,
): void {
  for (let column = 0; column < n; column += maxColumns) {
    const width = Math.min(maxColumns, n - column);
    for (let row = 0; row < rows; row += maxRows) visit(row, column, Math.min(maxRows, rows - row), width);
  }
}
