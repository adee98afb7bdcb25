/** @file What is known of a value before it is computed: its type and shape. */
import { type DType, dtypeInfo } from "../tensor/dtype.ts";
import { nameToText } from "./text/literals.ts";

/** A fixed size, a named symbolic size, or nothing known. */
export type Dim = number | string | null;
export type Shape = readonly Dim[];

export interface TensorType {
  readonly kind: "tensor" | "sparse-tensor";
  readonly dtype: DType;
  /** Absent when not even the rank is known. */
  readonly shape?: Shape;
}

export type ValueType =
  | TensorType
  | { readonly kind: "sequence" | "optional"; readonly element: ValueType }
  | { readonly kind: "map"; readonly key: DType; readonly value: ValueType };

/** A tensor type; leave the shape out when the rank is unknown. */
export function tensorType(dtype: DType, shape?: Shape): TensorType {
  return shape ? { kind: "tensor", dtype, shape } : { kind: "tensor", dtype };
}

/**
 * The type as ONNX' textual format writes it: `float[N,3,224,224]`, `seq(int64[])`. A scalar is `float`, a tensor of
 * unknown rank `float[]`; no type at all is `?`.
 */
export function typeToString(type: ValueType | undefined): string {
  if (!type) return "?";
  if (type.kind === "map") return `map(${dtypeInfo(type.key).text}, ${typeToString(type.value)})`;
  if ("element" in type) return `${type.kind === "sequence" ? "seq" : "optional"}(${typeToString(type.element)})`;
  const isScalar = type.shape?.length === 0;
  const dims = type.shape?.map((dim) => (typeof dim === "string" ? nameToText(dim) : (dim ?? "?"))) ?? [];
  const text = `${dtypeInfo(type.dtype).text}${isScalar ? "" : `[${dims.join(",")}]`}`;
  return type.kind === "tensor" ? text : `sparse_tensor(${text})`;
}

/** The shape when every dim is a number, else undefined. */
export function staticShape(type: ValueType | undefined): readonly number[] | undefined {
  if (type?.kind !== "tensor" || !type.shape?.every((dim) => typeof dim === "number")) return undefined;
  return type.shape as readonly number[];
}
