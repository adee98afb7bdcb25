/** @file Names that a mistyped one may have meant. */
import { distance } from "fastest-levenshtein";

/** Up to `limit` of the `known` names that resemble `name`, closest first. Letter case does not count. */
export function nearestNames(name: string, known: Iterable<string>, limit = 3): readonly string[] {
  const tolerance = Math.max(1, Math.floor(name.length / 3));
  return [...known]
    .map((candidate) => ({ candidate, distance: distance(name.toLowerCase(), candidate.toLowerCase()) }))
    .filter((row) => row.distance <= tolerance)
    .sort((a, b) => a.distance - b.distance || (a.candidate < b.candidate ? -1 : 1))
    .slice(0, limit)
    .map((row) => row.candidate);
}
