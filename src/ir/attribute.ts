/** @file Node attributes. Integers are kept as 64-bit; the accessors on Node give numbers. */
import type { Tensor } from "../tensor/tensor.ts";
import type { Graph } from "./graph.ts";
import type { ValueType } from "./types.ts";

/** A sparse constant in coordinate form: `indices` int64 [nnz] or [nnz, rank], of a tensor with `dims`. */
export interface SparseTensor {
  readonly values: Tensor;
  readonly indices: Tensor;
  readonly dims: readonly number[];
}

export type AttributeValue =
  | { readonly type: "float"; readonly value: number }
  | { readonly type: "int"; readonly value: bigint }
  | { readonly type: "string"; readonly value: Uint8Array }
  | { readonly type: "tensor"; readonly value: Tensor }
  | { readonly type: "graph"; readonly value: Graph }
  | { readonly type: "sparse-tensor"; readonly value: SparseTensor }
  | { readonly type: "type"; readonly value: ValueType }
  | { readonly type: "floats"; readonly value: readonly number[] }
  | { readonly type: "ints"; readonly value: readonly bigint[] }
  | { readonly type: "strings"; readonly value: readonly Uint8Array[] }
  | { readonly type: "tensors"; readonly value: readonly Tensor[] }
  | { readonly type: "graphs"; readonly value: readonly Graph[] }
  | { readonly type: "sparse-tensors"; readonly value: readonly SparseTensor[] }
  | { readonly type: "types"; readonly value: readonly ValueType[] };

export type AttributeType = AttributeValue["type"];

/** In a function body an attribute may stand for one of the function's own: `value` is then absent. */
export interface AttributeReference {
  readonly type: AttributeType;
  readonly reference: string;
}

export type Attribute = AttributeValue | AttributeReference;

export function isReference(attribute: Attribute): attribute is AttributeReference {
  return "reference" in attribute;
}

const utf8 = new TextEncoder();

/** Constructors, so that a node reads `{ axis: attr.int(1), mode: attr.string("nearest") }`. */
export const attr = {
  int: (value: number | bigint): AttributeValue => ({ type: "int", value: BigInt(value) }),
  ints: (value: readonly (number | bigint)[]): AttributeValue => ({ type: "ints", value: value.map(BigInt) }),
  float: (value: number): AttributeValue => ({ type: "float", value }),
  floats: (value: readonly number[]): AttributeValue => ({ type: "floats", value }),
  string: (value: string): AttributeValue => ({ type: "string", value: utf8.encode(value) }),
  strings: (value: readonly string[]): AttributeValue => ({
    type: "strings",
    value: value.map((text) => utf8.encode(text)),
  }),
  tensor: (value: Tensor): AttributeValue => ({ type: "tensor", value }),
  graph: (value: Graph): AttributeValue => ({ type: "graph", value }),
} as const;
