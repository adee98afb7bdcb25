/** @file Tensors out of the file: every storage form that ONNX allows, checked against dims and file size. */
import { limits } from "../../proto/limits.ts";
import type { SparseTensorProto, TensorProto } from "../../proto/messages.ts";
import { byteSize, type DType, dtypeInfo, dtypeOfCode } from "../../tensor/dtype.ts";
import { elementCount, stringTensor, Tensor } from "../../tensor/tensor.ts";
import { type ByteSource, MemorySource, SliceSource } from "../../util/bytes.ts";
import { messageOf, TersorError } from "../../util/errors.ts";
import type { SparseTensor } from "../attribute.ts";
import { withExtra } from "./extras.ts";

/** Opens a file that holds external data; `location` is the path as the model states it, relative to the model. */
export type ExternalDataResolver = (location: string) => ByteSource;

const EXTERNAL = 1;

/** Decodes a tensor without reading its data where that can wait. @throws bad-model, limit-exceeded. */
export function decodeTensor(proto: TensorProto, subject: string, external: ExternalDataResolver): Tensor {
  const { name, docString, metadataProps, unknown } = proto;
  return withExtra(decodeData(proto, subject, external), { name, docString, metadataProps, unknown });
}

function decodeData(proto: TensorProto, subject: string, external: ExternalDataResolver): Tensor {
  const dtype = dtypeOfCode(proto.dataType ?? 0, subject);
  const dims = decodeDims(proto.dims ?? [], subject);
  if (dtype === "string") {
    const strings = proto.stringData ?? [];
    checkSize(subject, `${elementCount(dims)} strings for ${dtype} [${dims}]`, elementCount(dims), strings.length);
    return stringTensor(dims, strings);
  }
  const expected = byteSize(dtype, elementCount(dims));
  const bytes =
    proto.dataLocation === EXTERNAL ? externalRange(proto, expected, subject, external) : inlineBytes(proto, dtype);
  checkSize(subject, `${expected} bytes for ${dtype} [${dims}]`, expected, bytes.byteLength);
  return new Tensor(dtype, dims, bytes);
}

export function decodeSparse(proto: SparseTensorProto, subject: string, external: ExternalDataResolver): SparseTensor {
  if (!proto.values || !proto.indices)
    throw new TersorError("bad-model", `${subject}: a sparse tensor needs values and indices. The file is damaged.`);
  const values = decodeTensor(proto.values, `${subject} values`, external);
  const indices = decodeTensor(proto.indices, `${subject} indices`, external);
  const dims = decodeDims(proto.dims ?? [], subject);
  const shape = `${indices.dims}`;
  if (indices.dtype !== "int64" || (shape !== `${values.size}` && shape !== `${values.size},${dims.length}`))
    throw new TersorError(
      "bad-model",
      `${subject}: expected sparse indices int64 [${values.size}] or [${values.size},${dims.length}], got ${indices.dtype} [${shape}]. The file is damaged.`,
    );
  return { values, indices, dims };
}

function decodeDims(dims: readonly bigint[], subject: string): number[] {
  if (dims.length > limits.rank)
    throw new TersorError("limit-exceeded", `${subject}: rank ${dims.length} is above ${limits.rank}.`);
  const numbers = dims.map(Number);
  const bad = numbers.find((dim) => !(dim >= 0));
  if (bad !== undefined)
    throw new TersorError("bad-model", `${subject}: expected dims of 0 or more, got [${numbers}].`);
  if (!(elementCount(numbers) <= Number.MAX_SAFE_INTEGER) || numbers.some((dim) => dim > Number.MAX_SAFE_INTEGER))
    throw new TersorError("limit-exceeded", `${subject}: dims [${numbers}] multiply to more than 2^53 elements.`);
  return numbers;
}

function checkSize(subject: string, what: string, expected: number, actual: number): void {
  if (expected !== actual)
    throw new TersorError(
      "bad-model",
      `${subject}: dims and data disagree: expected ${what}, got ${actual}. The file is damaged.`,
    );
}

function inlineBytes(proto: TensorProto, dtype: DType): ByteSource {
  const { rawData } = proto;
  if (rawData?.byteLength) return rawData;
  return typedField(proto, dtype) ?? new MemorySource(new Uint8Array(0));
}

/** float_data, int32_data … as raw little-endian bytes; undefined when the field of this dtype is absent. */
function typedField(proto: TensorProto, dtype: DType): ByteSource | undefined {
  if (dtype === "float32" || dtype === "complex64") return proto.floatData;
  if (dtype === "float64" || dtype === "complex128") return proto.doubleData;
  if (dtype === "int64") return proto.int64Data && memory(proto.int64Data);
  if (dtype === "uint64") return proto.uint64Data && memory(proto.uint64Data);
  if (dtype === "uint32") return proto.uint64Data && memory(Uint32Array.from(proto.uint64Data, Number));
  const { int32Data } = proto;
  if (!int32Data) return undefined;
  const { bits } = dtypeInfo(dtype);
  if (bits === 32) return memory(int32Data);
  return memory(bits === 16 ? Uint16Array.from(int32Data) : Uint8Array.from(int32Data));
}

function memory(array: ArrayBufferView): ByteSource {
  return new MemorySource(new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
}

function externalRange(
  proto: TensorProto,
  expected: number,
  subject: string,
  external: ExternalDataResolver,
): ByteSource {
  const entries = new Map((proto.externalData ?? []).map(({ key, value }) => [key, value]));
  const location = entries.get("location");
  if (!location) throw new TersorError("bad-model", `${subject}: external data has no location. The file is damaged.`);
  const offset = wholeNumber(entries.get("offset") ?? "0", `${subject}: external data offset`);
  const length = wholeNumber(entries.get("length") ?? String(expected), `${subject}: external data length`);
  const file = openExternal(location, subject, external);
  if (offset + length > file.byteLength)
    throw new TersorError(
      "bad-model",
      `${subject}: external data "${location}": expected at least ${offset + length} bytes, got ${file.byteLength}. The file is cut short or belongs to another model.`,
    );
  return new SliceSource(file, offset, length);
}

function openExternal(location: string, subject: string, external: ExternalDataResolver): ByteSource {
  try {
    return external(location);
  } catch (error) {
    if (!(error instanceof TersorError)) throw error;
    const message = `${subject}: external data ${JSON.stringify(location)}: ${messageOf(error)}`;
    throw new TersorError(error.code, message, { cause: error });
  }
}

function wholeNumber(text: string, subject: string): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(value)) return value;
  throw new TersorError("bad-model", `${subject}: expected a whole number, got "${text}". The file is damaged.`);
}
