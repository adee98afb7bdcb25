/** @file What goes at once, single weights or blocks of them, and which of them are least. */
import { kernels } from "../../kernels/index.ts";

/** A matrix cut into units: the number of units, and the unit of an element. */
export interface Units {
  readonly count: number;
  unitOf(row: number, column: number): number;
}

export function unitsOf(
  rows: number,
  columns: number,
  block?: { readonly rows: number; readonly columns: number },
): Units {
  if (!block) return { count: rows * columns, unitOf: (row, column) => row * columns + column };
  const across = Math.ceil(columns / block.columns);
  return {
    count: Math.ceil(rows / block.rows) * across,
    unitOf: (row, column) => Math.floor(row / block.rows) * across + Math.floor(column / block.columns),
  };
}

/** Mean saliency of every unit. */
export function unitScores(saliency: Float32Array, rows: number, columns: number, units: Units): Float32Array {
  if (units.count === saliency.length) return saliency;
  const [sums, sizes] = [new Float64Array(units.count), new Float64Array(units.count)];
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) {
      const unit = units.unitOf(row, column);
      sums[unit] = (sums[unit] as number) + (saliency[row * columns + column] as number);
      sizes[unit] = (sizes[unit] as number) + 1;
    }
  return Float32Array.from(sums, (sum, unit) => sum / (sizes[unit] as number));
}

/** Where to draw the line so that exactly `count` scores lie below it: all less than `limit`, and the first `ties` of those equal to it. */
export interface Line {
  readonly limit: number;
  readonly ties: number;
}

const CHUNK = 1 << 16;

/** Scores that a first guess of the line is made of; where there are not many more, it is not worth it. */
const SAMPLED = 1 << 18;

/** About the line below which a share of all scores lies: from scores at equal distances. */
function guessedLine(scores: Iterable<Float32Array>, share: number, total: number): number {
  const step = Math.ceil(total / SAMPLED) | 1;
  const sample = new Float32Array(Math.ceil(total / step));
  let [next, at] = [0, 0];
  for (const part of scores) {
    for (; next < part.length; next += step) sample[at++] = part[next] as number;
    next -= part.length;
  }
  const { memory } = kernels();
  return memory.scope(() => {
    const x = memory.alloc32(at);
    memory.f32(x, at).set(sample.subarray(0, at));
    return kernels().selectAbs(x, at, Math.min(at - 1, Math.floor(share * at)));
  });
}

/** The line below which the `count` least of all scores lie. `each` gives the scores, which are not negative, in the same order every time. */
export function lineBelow(each: () => Iterable<Float32Array>, count: number, total: number): Line {
  if (count <= 0) return { limit: 0, ties: 0 };
  const { memory } = kernels();
  const guess = total > 4 * SAMPLED ? guessedLine(each(), count / total, total) : undefined;
  const { value, below: less } = memory.scope(() => {
    const buffer = memory.alloc32(CHUNK);
    return kernels().selectAbsAcross(
      (visit) => {
        for (const scores of each())
          for (let at = 0; at < scores.length; at += CHUNK) {
            const part = scores.subarray(at, at + CHUNK);
            memory.f32(buffer, part.length).set(part);
            visit(buffer, part.length);
          }
      },
      Math.min(count, total) - 1,
      guess,
    );
  });
  return { limit: value, ties: count - less };
}

/** Units below a line: 1 for those that go. Uses up ties from the front; returns how many of them are left. */
export function below(
  scores: Float32Array,
  { limit, ties }: Line,
): { readonly gone: Uint8Array; readonly left: number } {
  let left = ties;
  const gone = new Uint8Array(scores.length);
  for (let i = 0; i < scores.length; i++) {
    const score = scores[i] as number;
    // Not in a branch: which way it goes can't be guessed.
    gone[i] = Number(score < limit);
    if (score === limit && left > 0) {
      gone[i] = 1;
      left--;
    }
  }
  return { gone, left };
}

/**
 * N:M: of every M inputs in a row, at one place of the kernel, the N most salient stay; of fewer at the end, the same share, rounded up.
 * Of equals the first stays.
 */
export function patternGone(
  saliency: Float32Array,
  { rows, columns, inner }: { readonly rows: number; readonly columns: number; readonly inner: number },
  { n, m }: { readonly n: number; readonly m: number },
): Uint8Array {
  const gone = new Uint8Array(saliency.length);
  const inputs = columns / inner;
  for (let row = 0; row < rows; row++)
    for (let place = 0; place < inner; place++)
      for (let first = 0; first < inputs; first += m) {
        const size = Math.min(m, inputs - first);
        const at = Array.from({ length: size }, (_, i) => row * columns + (first + i) * inner + place);
        at.sort((a, b) => (saliency[b] as number) - (saliency[a] as number) || a - b);
        for (const index of at.slice(Math.ceil((size * n) / m))) gone[index] = 1;
      }
  return gone;
}
