/**
 * @file Tensor elements as literals, one form per element type, as ONNX has it: floats below 32 bits are the integers of
 * their bits, bools 0 and 1, complex numbers two floats each. Elements below 8 bits, which ONNX can't print, are one integer each.
 */
import { type DType, dtypeInfo } from "../../tensor/dtype.ts";
import { floatToBfloat, floatToHalf } from "../../tensor/half.ts";
import { packBits, unpackBits } from "../../tensor/pack.ts";
import { elementCount, fromTypedArray, stringTensor, type Tensor, type TypedArray } from "../../tensor/tensor.ts";
import { chunksOf } from "../../util/bytes.ts";
import { fnv1a64 } from "../../util/hash.ts";
import type { Token } from "./lexer.ts";
import { float32ToText, float64ToText, floatOfWord, stringToText } from "./literals.ts";
import type { Reader } from "./reader.ts";

/** The key that stands for a tensor's elements when they are left out. Strings count with their lengths. */
export function hashTensor(tensor: Tensor): string {
  const chunks = tensor.strings ? delimited(tensor.strings) : chunksOf(tensor.bytes);
  return `fnv1a:${fnv1a64(chunks)}`;
}

/** The literals of all elements. */
export function elementsToText(tensor: Tensor): string[] {
  if (tensor.strings) return tensor.strings.map(stringToText);
  const { kind, bits } = dtypeInfo(tensor.dtype);
  let array: TypedArray = tensor.toTypedArray();
  if (bits < 8) array = unpackBits(array as Uint8Array, kind === "float" ? "uint4" : tensor.dtype, tensor.size);
  if (bits >= 8 && array instanceof Float32Array) return Array.from(array, float32ToText);
  if (array instanceof Float64Array) return Array.from(array, float64ToText);
  return Array.from(array as ArrayLike<number | bigint>, String);
}

/** A tensor of the elements in literals. @throws bad-model, at the literal, for a wrong kind, range or number of them. */
export function tensorFromTokens(
  reader: Reader,
  dtype: DType,
  dims: readonly number[],
  tokens: readonly Token[],
): Tensor {
  const { kind, bits } = dtypeInfo(dtype);
  const expected = elementCount(dims) * (kind === "complex" ? 2 : 1);
  if (tokens.length !== expected)
    throw reader.lexer.error(
      `tensor ${dtype} [${dims}]: wrong number of elements: expected ${expected}, got ${tokens.length}.`,
      tokens[0] ?? reader.lexer.next,
    );
  if (kind === "string") {
    return stringTensor(
      dims,
      tokens.map((token) => token.bytes ?? fail(reader, token, "a string in quotes")),
    );
  }
  const array = arrays[`${kind}${bits}`]?.(reader, tokens) ?? integers(reader, tokens, dtype);
  return fromTypedArray(dtype, dims, array);
}

/** The value of a number literal; a word such as `nan` is one. */
export function numberOfToken(token: Token): number | undefined {
  if (token.kind === "int") return Number(token.text);
  if (token.kind === "name") return floatOfWord(token.text);
  if (token.kind !== "float") return undefined;
  const word = token.text[0] === "-" ? floatOfWord(token.text.slice(1)) : undefined;
  return word === undefined ? Number(token.text) : -word;
}

const arrays: Readonly<Record<string, (reader: Reader, tokens: readonly Token[]) => TypedArray>> = {
  float32: (reader, tokens) => Float32Array.from(tokens, (token) => float(reader, token)),
  complex64: (reader, tokens) => Float32Array.from(tokens, (token) => float(reader, token)),
  float64: (reader, tokens) => Float64Array.from(tokens, (token) => float(reader, token)),
  complex128: (reader, tokens) => Float64Array.from(tokens, (token) => float(reader, token)),
  int64: (reader, tokens) => BigInt64Array.from(tokens, (token) => integer64(reader, token, BigInt.asIntN)),
  uint64: (reader, tokens) => BigUint64Array.from(tokens, (token) => integer64(reader, token, BigInt.asUintN)),
};

function integers(reader: Reader, tokens: readonly Token[], dtype: DType): TypedArray {
  const { kind, bits, range = [0, 2 ** bits - 1] } = dtypeInfo(dtype);
  const codes = tokens.map((token) => {
    const encode = halfEncoders[dtype];
    const value = numberOfToken(token);
    if (encode && value !== undefined && token.kind !== "int") return encode(value);
    if (token.kind !== "int" || value === undefined || value < range[0] || value > range[1])
      return fail(reader, token, `an integer from ${range[0]} to ${range[1]} (${dtype})`);
    return value;
  });
  if (bits < 8) return packBits(codes, dtype);
  const signed = kind === "int";
  if (bits === 8) return signed ? Int8Array.from(codes) : Uint8Array.from(codes);
  if (bits === 16) return signed ? Int16Array.from(codes) : Uint16Array.from(codes);
  return signed ? Int32Array.from(codes) : Uint32Array.from(codes);
}

/** Types of which a literal with a decimal point is the value; a literal without one is the bits, as in ONNX. */
const halfEncoders: { readonly [dtype in DType]?: (value: number) => number } = {
  float16: floatToHalf,
  bfloat16: floatToBfloat,
};

function float(reader: Reader, token: Token): number {
  return numberOfToken(token) ?? fail(reader, token, "a number");
}

function integer64(reader: Reader, token: Token, clamp: (bits: number, value: bigint) => bigint): bigint {
  const value = token.kind === "int" ? BigInt(token.text) : undefined;
  if (value === undefined || clamp(64, value) !== value) return fail(reader, token, "a 64-bit integer");
  return value;
}

function fail(reader: Reader, token: Token, what: string): never {
  throw reader.lexer.expected(what, token);
}

function* delimited(strings: readonly Uint8Array[]): Iterable<Uint8Array> {
  for (const bytes of strings) {
    yield Uint8Array.of(bytes.length, bytes.length >>> 8, bytes.length >>> 16, bytes.length >>> 24);
    yield bytes;
  }
}
