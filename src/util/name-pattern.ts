/** @file Patterns that pick things by name: a name, a glob in which "/" is a character like any other, an index, a range of indices. */
import picomatch from "picomatch";
import { TersorError } from "./errors.ts";
import { nearestNames } from "./nearest.ts";

/** Something that a pattern may pick. */
export interface Named {
  readonly index: number;
  readonly names: readonly string[];
}

export function namePattern(pattern: string): (item: Named) => boolean {
  const range = /^(\d+)(?:-(\d+))?$/.exec(pattern);
  if (range) {
    const [first, last] = [Number(range[1]), Number(range[2] ?? range[1])];
    return ({ index }) => index >= first && index <= last;
  }
  const flat = (text: string) => text.replaceAll("/", "\u0001");
  const glob = picomatch(flat(pattern), { dot: true, nonegate: true });
  return ({ names }) => names.some((name) => name === pattern || glob(flat(name)));
}

/** The items that a pattern picks. @throws bad-recipe when there are none, naming the nearest */
export function pickByName<T extends Named>(pattern: string, items: readonly T[], what: string): T[] {
  const found = items.filter(namePattern(pattern));
  if (found.length > 0) return found;
  if (items.length === 0)
    throw new TersorError("bad-recipe", `${what} "${pattern}": the model has no ${what} to choose from.`);
  const near = nearestNames(
    pattern,
    items.flatMap(({ names }) => names.slice(0, 1)),
  ).map((name) => `"${name}"`);
  throw new TersorError(
    "bad-recipe",
    `${what} "${pattern}": no such ${what}: expected a name, glob, operator type or index from 0 to ${items.length - 1}.${near.length > 0 ? ` Nearest: ${near.join(", ")}.` : ""}`,
  );
}
