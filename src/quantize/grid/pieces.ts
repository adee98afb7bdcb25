/** @file Cuts a tensor into pieces that fit the processor's cache and meet the slices' bounds. */
import type { Slices } from "./slices.ts";

/** Elements of one piece: 1 MiB of float32. */
const PIECE = 1 << 18;

/** A range of elements: either runs (whole ones, or a part of one) or rows of one block of columns. */
export interface Piece {
  /** First element. */
  readonly start: number;
  readonly length: number;
  /** Slice of the first run, or of the first column. */
  readonly slice: number;
  /** Runs [rows, n] or columns [rows, n]. */
  readonly rows: number;
  readonly n: number;
}

/** All pieces in order. `rowMultiple` keeps the rows of a piece of columns a multiple, except in a block's last. */
export function* piecesOf(slices: Slices, rowMultiple = 1): Iterable<Piece> {
  const { form, blocks, rows, n } = slices;
  if (n === 0) return;
  if (form === "runs" && n > PIECE) {
    for (let run = 0; run < rows; run++)
      for (let at = 0; at < n; at += PIECE) {
        const length = Math.min(PIECE, n - at);
        yield { start: run * n + at, length, slice: run, rows: 1, n: length };
      }
    return;
  }
  const perPiece = Math.max(1, Math.floor(PIECE / n / rowMultiple)) * rowMultiple;
  for (let block = 0; block < blocks; block++)
    for (let row = 0; row < rows; row += perPiece) {
      const count = Math.min(perPiece, rows - row);
      const slice = form === "runs" ? row : block * n;
      yield { start: (block * rows + row) * n, length: count * n, slice, rows: count, n };
    }
}
