/** @file Constants behind operators that only change how they are stored. */
import type { Value } from "../../ir/value.ts";

/** Operators that hand on a constant, index by index. */
const passing = new Set(["Identity", "Cast", "DequantizeLinear", "QuantizeLinear"]);

export interface StoredConstant {
  /** The initializer. */
  readonly value: Value;
  /** What its readers get, where that is not what is stored. */
  readonly behind: readonly string[];
}

/** The initializer that a value is a form of; undefined for what is computed. */
export function storedConstant(value: Value): StoredConstant | undefined {
  const behind: string[] = [];
  let at = value;
  // A graph has no cycles; the limit is for those that are not checked yet.
  for (let i = 0; i < 8; i++) {
    if (at.tensor) return { value: at, behind };
    const { producer } = at;
    const next = producer?.domain === "" && passing.has(producer.opType) ? producer.inputs[0] : undefined;
    if (!producer || !next) return undefined;
    behind.push(producer.opType);
    at = next;
  }
  return undefined;
}
