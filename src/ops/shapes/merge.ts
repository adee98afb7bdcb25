/** @file Types of a value that may come from several places, or that are known from two sources. */
import type { Dim, Shape, ValueType } from "../../ir/types.ts";
import { tensorType, typeToString } from "../../ir/types.ts";
import { canonicalDim, sameDim } from "../symbolic/dim.ts";
import type { MaybeType } from "./call.ts";

/** What holds for both of two types: the type of a value that is the one or the other. */
export function eitherType(a: MaybeType, b: MaybeType): MaybeType {
  if (!a || !b) return undefined;
  if ("element" in a || "element" in b) {
    if (!("element" in a) || !("element" in b) || a.kind !== b.kind) return undefined;
    const element = eitherType(a.element, b.element);
    return element && { kind: a.kind, element };
  }
  if (a.kind === "map" || b.kind === "map") return typeToString(a) === typeToString(b) ? a : undefined;
  if (a.kind !== b.kind || a.dtype !== b.dtype) return undefined;
  if (!a.shape || !b.shape || a.shape.length !== b.shape.length) return tensorType(a.dtype);
  const other = b.shape;
  return { ...a, shape: a.shape.map((dim, i) => (sameDim(dim, other[i] ?? null) ? dim : null)) };
}

/**
 * All that is known of a value from inference and from what the file declares. Where they contradict each other
 * inference wins and `contradicts` is told.
 */
export function combinedType(inferred: MaybeType, declared: MaybeType, contradicts: () => void): MaybeType {
  if (!inferred || !declared) return inferred ?? declared;
  if ("element" in inferred && "element" in declared && inferred.kind === declared.kind) {
    const element = combinedType(inferred.element, declared.element, contradicts);
    return element ? { kind: inferred.kind, element } : inferred;
  }
  if (!isTensor(inferred) || !isTensor(declared)) {
    if (typeToString(inferred) !== typeToString(declared)) contradicts();
    return inferred;
  }
  if (inferred.dtype !== declared.dtype) {
    contradicts();
    return inferred;
  }
  if (!inferred.shape || !declared.shape)
    return {
      ...inferred,
      ...((inferred.shape ?? declared.shape) && { shape: (inferred.shape ?? declared.shape) as Shape }),
    };
  if (inferred.shape.length !== declared.shape.length) {
    contradicts();
    return inferred;
  }
  const other = declared.shape;
  return { ...inferred, shape: inferred.shape.map((dim, i) => combinedDim(dim, other[i] ?? null, contradicts)) };
}

function combinedDim(inferred: Dim, declared: Dim, contradicts: () => void): Dim {
  if (inferred === null) return canonicalDim(declared);
  if (typeof inferred === "number" && typeof declared === "number" && inferred !== declared) contradicts();
  return inferred;
}

function isTensor(type: ValueType): type is Extract<ValueType, { dtype: unknown }> {
  return type.kind === "tensor" || type.kind === "sparse-tensor";
}
