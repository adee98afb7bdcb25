/** @file The table of content rules: the operators through which small tensors are followed. */
import { arithmetic } from "./arithmetic.ts";
import { movement } from "./movement.ts";
import type { ContentRule } from "./rule.ts";

const table: ReadonlyMap<string, ContentRule> = new Map(Object.entries({ ...arithmetic, ...movement }));

/** The rule of an operator, undefined when its results are not followed. */
export function contentRule(domain: string, opType: string): ContentRule | undefined {
  return domain === "" ? table.get(opType) : undefined;
}
