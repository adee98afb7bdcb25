/** @file Numbers of atoms, as numbers of the channels of an axis. */
import type { Analysis, PortRow } from "./analysis.ts";
import { atomsOf } from "./groups.ts";

/** A number for each index of an axis, zero for those that have none; undefined where none has one. */
export function byAtom(
  analysis: Analysis,
  port: PortRow,
  numbers: ReadonlyMap<number, number>,
): Float64Array | undefined {
  const atoms = atomsOf(analysis, port);
  return atoms.some((atom) => numbers.has(atom))
    ? Float64Array.from(atoms, (atom) => numbers.get(atom) ?? 0)
    : undefined;
}

/** Adds the numbers of an axis to those of its atoms. */
export function addByAtom(
  analysis: Analysis,
  port: PortRow,
  numbers: ArrayLike<number>,
  sums: Map<number, number>,
): void {
  for (let i = 0; i < port.size; i++) {
    const atom = analysis.atomOf(port.base + i);
    sums.set(atom, (sums.get(atom) ?? 0) + (numbers[i] as number));
  }
}
