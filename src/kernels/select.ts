/** @file Selection: the k-th smallest magnitude of any number of elements, exactly, by counting. */

import { invariant } from "../util/errors.ts";
import type { Arena } from "./arena.ts";
import { CHUNK } from "./chunks.ts";
import type { Pointer } from "./pointer.ts";
import type { RawKernels } from "./raw.ts";

/** Visits all elements, in any pieces. */
export type VisitAll = (visit: (x: Pointer, n: number) => void) => void;

/** Magnitudes that are told apart at once; half of them lie on either side of a guess, within about a hundredth of it. */
const SPAN = 65536;

/**
 * First by the upper 16 bits of all magnitudes, then by the lower ones of those that share them. A guess saves the first pass: what lies
 * below the magnitudes around it is counted along with the second.
 */
export function selectAcross(
  raw: RawKernels,
  memory: Arena,
  each: VisitAll,
  k: number,
  guess: number | undefined,
): { readonly value: number; readonly below: number } {
  return memory.scope(() => {
    const bins = memory.alloc32(SPAN);
    const count = (call: (at: Pointer, n: number) => void) => {
      memory.u32(bins, SPAN).fill(0);
      each((x, n) => {
        for (let at = 0; at < n; at += CHUNK) call(x + at * 4, Math.min(CHUNK, n - at));
      });
      return memory.u32(bins, SPAN);
    };
    /** The bin of element `rank`, and how many are in the bins before; undefined where it is behind them all. */
    const find = (counts: Uint32Array, rank: number) => {
      let before = 0;
      for (let bin = 0; bin < counts.length; bin++) {
        const next = before + (counts[bin] as number);
        if (rank < next) return { bin, before };
        before = next;
      }
      return undefined;
    };
    /** Element k, if it is among the magnitudes from this one on. */
    const among = (from: number) => {
      let less = 0;
      const counts = count((at, n) => {
        less += raw.histogramFrom(at, n, from, bins);
      });
      const found = k < less ? undefined : find(counts, k - less);
      if (!found) return undefined;
      memory.u32(bins, 1)[0] = from + found.bin;
      return { value: memory.f32(bins, 1)[0] as number, below: less + found.before };
    };
    const near = guess === undefined ? undefined : among(Math.max(0, bitsOf(memory, bins, guess) - SPAN / 2));
    if (near) return near;
    const upper = find(
      count((at, n) => raw.histogramTop(at, n, bins)),
      k,
    );
    const found = upper && among(upper.bin << 15);
    invariant(found, `selection of element ${k} of fewer`);
    return found;
  });
}

function bitsOf(memory: Arena, scratch: Pointer, x: number): number {
  memory.f32(scratch, 1)[0] = Math.abs(x);
  return memory.u32(scratch, 1)[0] as number;
}
