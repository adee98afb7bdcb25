/** @file What a target can't hold, said before a user finds out. */
import type { Target } from "./target.ts";

/** Sizes of a model's constants in bytes, by name. */
export type ConstantSizes = ReadonlyMap<string, number>;

/** A note for each limit of the target that a model exceeds. */
export function exceededLimits({ name, limits }: Target, sizes: ConstantSizes): string[] {
  const total = [...sizes.values()].reduce((sum, size) => sum + size, 0);
  const { modelBytes = Number.POSITIVE_INFINITY, tensorBytes = Number.POSITIVE_INFINITY } = limits;
  const { memoryBytes = Number.POSITIVE_INFINITY } = limits;
  const notes: string[] = [];
  if (total > memoryBytes)
    notes.push(`${mega(total)} of weights: more than the ${mega(memoryBytes)} of memory that ${name} has`);
  if (total > modelBytes)
    notes.push(`${mega(total)} of weights: above ${mega(modelBytes)} a file needs external data on ${name}`);
  for (const [tensor, size] of sizes)
    if (size > tensorBytes)
      notes.push(`"${tensor}" has ${mega(size)}: ${name} may hold no more than ${mega(tensorBytes)} in one tensor`);
  return notes;
}

const mega = (bytes: number) => `${Math.round(bytes / 2 ** 20).toLocaleString("en")} MiB`;
