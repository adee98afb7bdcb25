/** @file Encodes a message as a list of parts: small bytes in memory, and the sources of large payloads, not yet read. */
import { type ByteSource, MemorySink } from "../util/bytes.ts";
import { type FieldSpec, fieldsOf, isMessage, type Message, type MessageName } from "./messages.ts";

/** What to write, in order. The total size is known before any source is read. */
export interface EncodedMessage {
  readonly parts: readonly (Uint8Array | ByteSource)[];
  readonly byteLength: number;
}

const VARINT = 0;
const LENGTH = 2;
const FIXED32 = 5;
const utf8 = new TextEncoder();

/** Encodes a message by the table; fields in the table's order, then what the message keeps in `unknown`. */
export function encodeMessage(message: Message, name: MessageName): EncodedMessage {
  const encoder = new Encoder();
  encoder.message(message, name);
  return encoder.finish();
}

/** Field values prepared for writing: strings as bytes, lengths known. */
interface Prepared {
  readonly byteLength: number;
  write(encoder: Encoder): void;
}

class Encoder {
  readonly #parts: (Uint8Array | ByteSource)[] = [];
  #byteLength = 0;
  #small = new MemorySink(1 << 12);
  readonly #prepared = new Map<object, Prepared>();

  message(message: Message, name: MessageName): void {
    this.#prepare(message, name).write(this);
  }

  finish(): EncodedMessage {
    this.#flush();
    return { parts: this.#parts, byteLength: this.#byteLength };
  }

  small(bytes: Uint8Array): void {
    this.#small.write(bytes);
  }

  varint(value: number | bigint): void {
    this.#small.write(varintBytes(value));
  }

  source(source: ByteSource): void {
    this.#flush();
    this.#parts.push(source);
    this.#byteLength += source.byteLength;
  }

  #flush(): void {
    const bytes = this.#small.bytes();
    if (bytes.byteLength === 0) return;
    this.#parts.push(bytes);
    this.#byteLength += bytes.byteLength;
    this.#small = new MemorySink(1 << 12);
  }

  #prepare(message: Message, name: MessageName): Prepared {
    const known = this.#prepared.get(message);
    if (known) return known;
    const fields: Prepared[] = [];
    for (const [number, field] of fieldsOf(name)) {
      const value = message[field.name];
      if (value !== undefined) this.#prepareField(fields, number, field, value);
    }
    const { unknown } = message;
    if (unknown) fields.push({ byteLength: unknown.byteLength, write: (encoder) => encoder.small(unknown) });
    const prepared = {
      byteLength: fields.reduce((sum, field) => sum + field.byteLength, 0),
      write: (encoder: Encoder) => {
        for (const field of fields) field.write(encoder);
      },
    };
    this.#prepared.set(message, prepared);
    return prepared;
  }

  #prepareField(fields: Prepared[], number: number, field: FieldSpec, value: unknown): void {
    const { kind, repeated } = field;
    const items = repeated ? (value as unknown[]) : [value];
    if (isMessage(kind)) {
      for (const item of items) {
        const inner = this.#prepare(item as Message, kind);
        fields.push(delimited(number, inner.byteLength, (encoder) => inner.write(encoder)));
      }
      return;
    }
    const scalar = scalars[kind];
    if (!scalar) throw new TypeError(`${field.name}: written as raw_data, never as ${kind}`);
    if (repeated && scalar.wire !== LENGTH) {
      // proto3 packs repeated numbers; ONNX is proto2 with [packed = true] where it matters, and readers accept both.
      const packed = items.map((item) => scalar.bytes(item as never));
      const total = packed.reduce((sum, bytes) => sum + bytes.byteLength, 0);
      if (total > 0)
        fields.push(
          delimited(number, total, (encoder) => {
            for (const bytes of packed) encoder.small(bytes);
          }),
        );
      return;
    }
    for (const item of items) fields.push(scalarField(number, scalar, item));
  }
}

function scalarField(number: number, scalar: Scalar, item: unknown): Prepared {
  if (isSource(item)) return delimited(number, item.byteLength, (encoder) => encoder.source(item));
  const bytes = scalar.bytes(item as never);
  if (scalar.wire === LENGTH) return delimited(number, bytes.byteLength, (encoder) => encoder.small(bytes));
  const tag = varintBytes(number * 8 + scalar.wire);
  return {
    byteLength: tag.byteLength + bytes.byteLength,
    write: (encoder) => {
      encoder.small(tag);
      encoder.small(bytes);
    },
  };
}

function delimited(number: number, length: number, write: (encoder: Encoder) => void): Prepared {
  const tag = varintBytes(number * 8 + LENGTH);
  const size = varintBytes(length);
  return {
    byteLength: tag.byteLength + size.byteLength + length,
    write: (encoder) => {
      encoder.small(tag);
      encoder.small(size);
      write(encoder);
    },
  };
}

interface Scalar {
  readonly wire: number;
  bytes(value: never): Uint8Array;
}

const scalars: { readonly [kind in FieldSpec["kind"]]?: Scalar } = {
  int64: { wire: VARINT, bytes: (value: bigint) => varintBytes(value) },
  int32: { wire: VARINT, bytes: (value: number) => varintBytes(BigInt(value)) },
  float: { wire: FIXED32, bytes: (value: number) => new Uint8Array(Float32Array.of(value).buffer) },
  string: { wire: LENGTH, bytes: (value: string) => utf8.encode(value) },
  bytes: { wire: LENGTH, bytes: (value: Uint8Array) => value },
  lazy: { wire: LENGTH, bytes: (value: Uint8Array) => value },
};

function isSource(value: unknown): value is ByteSource {
  return typeof value === "object" && value !== null && "read" in value;
}

/** A varint; negative bigints take ten bytes, as protobuf's int64 and int32 do. */
function varintBytes(value: number | bigint): Uint8Array {
  const out: number[] = [];
  if (typeof value === "number" || (value >= 0n && value <= Number.MAX_SAFE_INTEGER)) {
    let rest = Number(value);
    while (rest >= 0x80) {
      out.push((rest % 128) | 0x80);
      rest = Math.floor(rest / 128);
    }
    out.push(rest);
  } else {
    let rest = BigInt.asUintN(64, value);
    while (rest >= 0x80n) {
      out.push(Number(rest & 0x7fn) | 0x80);
      rest >>= 7n;
    }
    out.push(Number(rest));
  }
  return Uint8Array.from(out);
}
