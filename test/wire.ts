/** @file Bytes of ONNX files for tests: from protobuf messages, and field by field where a test needs what no encoder writes. */

import type { Model } from "../src/ir/model.ts";
import { decodeModel } from "../src/ir/serde/decode-model.ts";
import { encodeModel } from "../src/ir/serde/encode-model.ts";
import { decodeMessage } from "../src/proto/decode.ts";
import { type EncodedMessage, encodeMessage } from "../src/proto/encode.ts";
import type { GraphProto, Message, MessageName, ModelProto } from "../src/proto/messages.ts";
import { writeTo } from "../src/proto/write.ts";
import { MemorySink, MemorySource } from "../src/util/bytes.ts";

export function bytesOfMessage(message: EncodedMessage): Uint8Array<ArrayBuffer> {
  const sink = new MemorySink();
  writeTo(message, sink);
  return sink.bytes().slice();
}

export function encodeProto(proto: object, name: MessageName): Uint8Array<ArrayBuffer> {
  return bytesOfMessage(encodeMessage(proto as Message, name));
}

/** A file with this graph; IR version 10, opset 21 unless `header` says otherwise. */
export function fileOf(graph: GraphProto, header: Partial<ModelProto> = {}): Uint8Array<ArrayBuffer> {
  const opsetImport = [{ domain: "", version: 21n }];
  return encodeProto({ irVersion: 10n, opsetImport, graph: { name: "g", ...graph }, ...header }, "ModelProto");
}

export function decode(bytes: Uint8Array): Model {
  return decodeModel(new MemorySource(bytes));
}

/** The bytes of the model in one file. */
export function encode(model: Model): Uint8Array<ArrayBuffer> {
  return bytesOfMessage(encodeModel(model, { external: "never" }).model);
}

/** The message in a file that was decoded to a model and encoded again. */
export function throughIr(bytes: Uint8Array): ModelProto {
  return decodeMessage(new MemorySource(encode(decode(bytes))), "ModelProto") as ModelProto;
}

/** A varint, longer than it need be when `pad` asks for a length. */
export function varint(value: number | bigint, pad = 0): number[] {
  const out: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  do {
    out.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  } while (rest > 0n || out.length < pad);
  out[out.length - 1] = (out.at(-1) as number) & 0x7f;
  return out;
}

export const wire = {
  varint: (field: number, value: number | bigint) => [...varint(field * 8), ...varint(value)],
  fixed64: (field: number, bytes: Iterable<number>) => [...varint(field * 8 + 1), ...bytes],
  bytes: (field: number, bytes: Iterable<number>) => {
    const body = [...bytes];
    return [...varint(field * 8 + 2), ...varint(body.length), ...body];
  },
  fixed32: (field: number, bytes: Iterable<number>) => [...varint(field * 8 + 5), ...bytes],
  text: (field: number, text: string) => wire.bytes(field, new TextEncoder().encode(text)),
};
