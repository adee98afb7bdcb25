/** @file The element types of ONNX, one row each. Codes: onnx.proto3, TensorProto.DataType. */
import { TersorError } from "../util/errors.ts";

export type FloatDType = "float32" | "float64" | "float16" | "bfloat16" | Float8DType | "float4e2m1" | "float8e8m0";
export type Float8DType = "float8e4m3fn" | "float8e4m3fnuz" | "float8e5m2" | "float8e5m2fnuz";
export type IntDType =
  | "int2"
  | "int4"
  | "int8"
  | "int16"
  | "int32"
  | "int64"
  | "uint2"
  | "uint4"
  | "uint8"
  | "uint16"
  | "uint32"
  | "uint64";
export type DType = FloatDType | IntDType | "bool" | "string" | "complex64" | "complex128";

export interface DTypeInfo {
  readonly name: DType;
  /** TensorProto.DataType. */
  readonly code: number;
  /** Bits of one element in raw_data; below 8, elements are packed first-element-in-low-bits. 0 for strings. */
  readonly bits: number;
  /** The name that ONNX' textual format uses. */
  readonly text: string;
  /** Integer range, inclusive; absent for other kinds and for 64 bits. */
  readonly range?: readonly [number, number];
  readonly kind: "float" | "int" | "uint" | "bool" | "string" | "complex";
}

const rows: readonly DTypeInfo[] = [
  { name: "float32", code: 1, bits: 32, text: "float", kind: "float" },
  { name: "uint8", code: 2, bits: 8, text: "uint8", kind: "uint", range: [0, 255] },
  { name: "int8", code: 3, bits: 8, text: "int8", kind: "int", range: [-128, 127] },
  { name: "uint16", code: 4, bits: 16, text: "uint16", kind: "uint", range: [0, 65535] },
  { name: "int16", code: 5, bits: 16, text: "int16", kind: "int", range: [-32768, 32767] },
  { name: "int32", code: 6, bits: 32, text: "int32", kind: "int", range: [-2147483648, 2147483647] },
  { name: "int64", code: 7, bits: 64, text: "int64", kind: "int" },
  { name: "string", code: 8, bits: 0, text: "string", kind: "string" },
  { name: "bool", code: 9, bits: 8, text: "bool", kind: "bool" },
  { name: "float16", code: 10, bits: 16, text: "float16", kind: "float" },
  { name: "float64", code: 11, bits: 64, text: "double", kind: "float" },
  { name: "uint32", code: 12, bits: 32, text: "uint32", kind: "uint", range: [0, 4294967295] },
  { name: "uint64", code: 13, bits: 64, text: "uint64", kind: "uint" },
  { name: "complex64", code: 14, bits: 64, text: "complex64", kind: "complex" },
  { name: "complex128", code: 15, bits: 128, text: "complex128", kind: "complex" },
  { name: "bfloat16", code: 16, bits: 16, text: "bfloat16", kind: "float" },
  { name: "float8e4m3fn", code: 17, bits: 8, text: "float8e4m3fn", kind: "float" },
  { name: "float8e4m3fnuz", code: 18, bits: 8, text: "float8e4m3fnuz", kind: "float" },
  { name: "float8e5m2", code: 19, bits: 8, text: "float8e5m2", kind: "float" },
  { name: "float8e5m2fnuz", code: 20, bits: 8, text: "float8e5m2fnuz", kind: "float" },
  { name: "uint4", code: 21, bits: 4, text: "uint4", kind: "uint", range: [0, 15] },
  { name: "int4", code: 22, bits: 4, text: "int4", kind: "int", range: [-8, 7] },
  { name: "float4e2m1", code: 23, bits: 4, text: "float4e2m1", kind: "float" },
  { name: "float8e8m0", code: 24, bits: 8, text: "float8e8m0", kind: "float" },
  { name: "uint2", code: 25, bits: 2, text: "uint2", kind: "uint", range: [0, 3] },
  { name: "int2", code: 26, bits: 2, text: "int2", kind: "int", range: [-2, 1] },
];

const byName = new Map(rows.map((row) => [row.name, row]));
const byCode = new Map(rows.map((row) => [row.code, row]));
const byText = new Map(rows.map((row) => [row.text, row]));

/** Every element type. */
export const dtypes: readonly DTypeInfo[] = rows;

/** The row of a type. */
export function dtypeInfo(dtype: DType): DTypeInfo {
  return byName.get(dtype) as DTypeInfo;
}

/** The type with a TensorProto.DataType code. @throws bad-model for a code that no ONNX release defines; `subject` opens the message. */
export function dtypeOfCode(code: number, subject: string): DType {
  const row = byCode.get(code);
  if (row) return row.name;
  throw new TersorError(
    "bad-model",
    `${subject}: unknown element type: expected a TensorProto.DataType code from 1 to 26, got ${code}. The file is damaged or newer than this Tersor.`,
  );
}

/** The type with this name in the textual format, if there is one. */
export function dtypeOfText(text: string): DType | undefined {
  return byText.get(text)?.name;
}

/** Whether a string names a type, for option parsing. */
export function isDType(name: string): name is DType {
  return byName.has(name as DType);
}

/** Bytes that `count` elements occupy in raw_data (packed types round up to a whole byte). */
export function byteSize(dtype: DType, count: number): number {
  return Math.ceil((count * dtypeInfo(dtype).bits) / 8);
}
