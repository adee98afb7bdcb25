/** @file Parser of types and constants: `float[N,3]`, `seq(int64)`, `float[2] {1, 2}`. */
import { type DType, dtypeOfText } from "../../tensor/dtype.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import type { SparseTensor } from "../attribute.ts";
import { type Dim, staticShape, type TensorType, tensorType, typeToString, type ValueType } from "../types.ts";
import { numberOfToken, tensorFromTokens } from "./elements.ts";
import type { Token } from "./lexer.ts";
import { typeWords } from "./literals.ts";
import type { Reader } from "./reader.ts";

/** Whether a type comes next; a type word that a name would stand for is quoted. */
export function atType({ lexer }: Reader): boolean {
  return lexer.next.kind === "name" && typeWords.has(lexer.next.text);
}

export function parseType(reader: Reader): ValueType {
  const { lexer } = reader;
  const token = lexer.next;
  const word = reader.word("a type");
  const dtype = dtypeOfText(word);
  if (dtype) return parseTensorType(reader, dtype);
  const rule = Object.hasOwn(compound, word) ? compound[word] : undefined;
  if (!rule) throw lexer.expected("a type", token);
  return reader.nest(() => {
    reader.expect("(");
    const type = rule(reader);
    reader.expect(")");
    return type;
  });
}

const compound: Readonly<Record<string, (reader: Reader) => ValueType>> = {
  seq: (reader) => ({ kind: "sequence", element: parseType(reader) }),
  optional: (reader) => ({ kind: "optional", element: parseType(reader) }),
  map: (reader) => {
    const key = parseDType(reader);
    reader.expect(",");
    return { kind: "map", key, value: parseType(reader) };
  },
  sparse_tensor: (reader) => ({ ...parseTensorType(reader, parseDType(reader)), kind: "sparse-tensor" }),
};

function parseDType({ lexer }: Reader): DType {
  const dtype = lexer.next.kind === "name" ? dtypeOfText(lexer.next.text) : undefined;
  if (!dtype) throw lexer.expected("an element type");
  lexer.take();
  return dtype;
}

/** ONNX: `float` is a scalar, `float[]` has an unknown rank. */
function parseTensorType(reader: Reader, dtype: DType): TensorType {
  if (!reader.at("[")) return tensorType(dtype, []);
  const dims = reader.list("[", () => parseDim(reader), "]");
  return tensorType(dtype, dims.length > 0 ? dims : undefined);
}

function parseDim(reader: Reader): Dim {
  if (reader.lexer.takeIf("?")) return null;
  if (reader.atName()) return reader.name("a dimension").text;
  return Number(reader.integer('a dimension (a number, a name or "?")'));
}

/** The elements of a tensor of a known type: in braces, or the hash that stands for them. */
export function parseTensorData(reader: Reader, type: ValueType, at: Token): Tensor {
  const { lexer } = reader;
  const dims = staticShape(type);
  if (type.kind !== "tensor" || !dims || dims.some((dim) => dim < 0))
    throw lexer.error(`expected a tensor type with fixed dimensions, got ${typeToString(type)}.`, at);
  if (reader.at("["))
    throw lexer.error("external data can't be read from text: expected the elements in braces. Load the .onnx file.");
  reader.expect("{");
  if (lexer.next.kind === "hash") {
    const tensor = supply(reader, type, dims, lexer.take());
    reader.expect("}");
    return tensor;
  }
  const tokens: Token[] = [];
  if (!lexer.takeIf("}")) {
    do tokens.push(lexer.take());
    while (lexer.takeIf(","));
    if (!reader.at("}")) throw lexer.expected('"," or "}"');
    const odd = tokens.find((token) => token.bytes === undefined && numberOfToken(token) === undefined);
    if (odd) throw lexer.expected("a number or a string", odd);
    lexer.take();
  }
  return tensorFromTokens(reader, type.dtype, dims, tokens);
}

function supply(reader: Reader, type: TensorType, dims: readonly number[], hash: Token): Tensor {
  const tensor = reader.tensors(hash.text);
  if (!tensor)
    throw reader.lexer.error(
      `the elements of this tensor were left out (…${hash.text}). Print with elideAbove: Infinity, or pass options.tensors.`,
      hash,
    );
  if (tensor.dtype === type.dtype && `${tensor.dims}` === `${dims}`) return tensor;
  const got = typeToString(tensorType(tensor.dtype, tensor.dims));
  throw reader.lexer.error(
    `wrong tensor supplied for …${hash.text}: expected ${typeToString(type)}, got ${got}.`,
    hash,
  );
}

/** `{ float[2] {1, 2}, int64[2] {0, 5} }`: values, then indices. */
export function parseSparseData(reader: Reader, type: TensorType, at: Token): SparseTensor {
  const dims = staticShape({ ...type, kind: "tensor" });
  if (!dims) throw reader.lexer.error(`expected fixed dimensions, got ${typeToString(type)}.`, at);
  reader.expect("{");
  const valuesAt = reader.lexer.next;
  const values = parseTensorData(reader, parseType(reader), valuesAt);
  if (values.dtype !== type.dtype)
    throw reader.lexer.error(`sparse values: expected ${type.dtype}, got ${values.dtype}.`, valuesAt);
  reader.expect(",");
  const indicesAt = reader.lexer.next;
  const indices = parseTensorData(reader, parseType(reader), indicesAt);
  if (indices.dtype !== "int64")
    throw reader.lexer.error(`sparse indices: expected int64, got ${indices.dtype}.`, indicesAt);
  reader.expect("}");
  return { values, indices, dims };
}
