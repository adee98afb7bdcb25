/** @file Encodes a message as a list of parts: small bytes in memory, and the sources of large payloads, not yet read. */
import type { ByteSource } from "../util/bytes.ts";
import { type FieldSpec, fieldsOf, isMessage, type Message, type MessageName } from "./messages.ts";

/** What to write, in order. The total size is known before any source is read. */
export interface EncodedMessage {
  readonly parts: readonly (Uint8Array | ByteSource)[];
  readonly byteLength: number;
}

const VARINT = 0;
const LENGTH = 2;
const FIXED32 = 5;
const BUFFER = 1 << 14;
const utf8 = new TextEncoder();

/** Encodes a message by the table; fields in the table's order, then what the message keeps in `unknown`. */
export function encodeMessage(message: Message, name: MessageName): EncodedMessage {
  const sizes = new Map<object, number>();
  const byteLength = sizeOfMessage(message, name, sizes);
  const writer = new Writer();
  writeMessage(message, name, sizes, writer);
  return { parts: writer.finish(), byteLength };
}

/** Bytes of a message; `sizes` remembers it for each message inside. */
function sizeOfMessage(message: Message, name: MessageName, sizes: Map<object, number>): number {
  const known = sizes.get(message);
  if (known !== undefined) return known;
  let size = message.unknown?.byteLength ?? 0;
  for (const field of fieldsOf(name).values()) {
    const value = message[field.name];
    if (value === undefined) continue;
    if (!field.repeated) size += sizeOfItem(field, value, sizes);
    else if (isPacked(field)) size += sizeOfPacked(field, value as unknown[]);
    else for (const item of value as unknown[]) size += sizeOfItem(field, item, sizes);
  }
  sizes.set(message, size);
  return size;
}

function sizeOfItem(field: FieldSpec, item: unknown, sizes: Map<object, number>): number {
  const tag = sizeOfVarint(field.number * 8);
  if (isMessage(field.kind)) return tag + delimited(sizeOfMessage(item as Message, field.kind, sizes));
  const scalar = scalarOf(field);
  const length = scalar.size(item as never);
  return tag + (scalar.wire === LENGTH ? delimited(length) : length);
}

/** A packed field with its tag; nothing when it is empty. */
function sizeOfPacked(field: FieldSpec, values: readonly unknown[]): number {
  const length = lengthOfPacked(scalarOf(field), values);
  return length > 0 ? sizeOfVarint(field.number * 8) + delimited(length) : 0;
}

function writeMessage(message: Message, name: MessageName, sizes: ReadonlyMap<object, number>, writer: Writer): void {
  for (const field of fieldsOf(name).values()) {
    const value = message[field.name];
    if (value === undefined) continue;
    if (!field.repeated) writeItem(field, value, sizes, writer);
    else if (isPacked(field)) writePacked(field, value as unknown[], writer);
    else for (const item of value as unknown[]) writeItem(field, item, sizes, writer);
  }
  if (message.unknown) writer.bytes(message.unknown);
}

function writeItem(field: FieldSpec, item: unknown, sizes: ReadonlyMap<object, number>, writer: Writer): void {
  if (isMessage(field.kind)) {
    writer.varint(field.number * 8 + LENGTH);
    writer.varint(sizes.get(item as object) as number);
    writeMessage(item as Message, field.kind, sizes, writer);
    return;
  }
  const scalar = scalarOf(field);
  writer.varint(field.number * 8 + scalar.wire);
  if (scalar.wire === LENGTH) writer.varint(scalar.size(item as never));
  scalar.write(writer, item as never);
}

function writePacked(field: FieldSpec, values: readonly unknown[], writer: Writer): void {
  const scalar = scalarOf(field);
  const length = lengthOfPacked(scalar, values);
  if (length === 0) return;
  writer.varint(field.number * 8 + LENGTH);
  writer.varint(length);
  for (const value of values) scalar.write(writer, value as never);
}

/** Repeated numbers are packed: ONNX asks for it where it matters, and readers accept both everywhere. */
function isPacked(field: FieldSpec): boolean {
  return !isMessage(field.kind) && scalarOf(field).wire !== LENGTH;
}

function lengthOfPacked(scalar: Scalar, values: readonly unknown[]): number {
  let length = 0;
  for (const value of values) length += scalar.size(value as never);
  return length;
}

function delimited(length: number): number {
  return sizeOfVarint(length) + length;
}

function sizeOfVarint(value: number): number {
  let size = 1;
  for (let rest = value; rest >= 0x80; rest /= 128) size++;
  return size;
}

/** Bytes of a 64-bit integer as a varint; negative ones take ten. */
function sizeOfInt64(value: bigint): number {
  if (value < 0n) return 10;
  if (value <= Number.MAX_SAFE_INTEGER) return sizeOfVarint(Number(value));
  return value < 1n << 56n ? 8 : 9;
}

function sizeOfString(text: string): number {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) >= 0x80) return utf8.encode(text).byteLength;
  return text.length;
}

/** Gathers small bytes into parts, between sources. */
class Writer {
  readonly #parts: (Uint8Array | ByteSource)[] = [];
  #buffer = new Uint8Array(BUFFER);
  #view = new DataView(this.#buffer.buffer);
  #from = 0;
  #at = 0;

  finish(): readonly (Uint8Array | ByteSource)[] {
    this.#flush();
    return this.#parts;
  }

  varint(value: number): void {
    this.#reserve(10);
    let rest = value;
    for (; rest >= 0x80; rest = Math.floor(rest / 128)) this.#buffer[this.#at++] = (rest % 128) | 0x80;
    this.#buffer[this.#at++] = rest;
  }

  int64(value: bigint): void {
    let rest = BigInt.asUintN(64, value);
    this.#reserve(10);
    for (; rest > Number.MAX_SAFE_INTEGER; rest >>= 7n) this.#buffer[this.#at++] = Number(rest & 0x7fn) | 0x80;
    this.varint(Number(rest));
  }

  float(value: number): void {
    this.#reserve(4);
    this.#view.setFloat32(this.#at, value, true);
    this.#at += 4;
  }

  string(text: string): void {
    this.#reserve(sizeOfString(text));
    this.#at += utf8.encodeInto(text, this.#buffer.subarray(this.#at)).written;
  }

  bytes(bytes: Uint8Array): void {
    this.#reserve(bytes.byteLength);
    this.#buffer.set(bytes, this.#at);
    this.#at += bytes.byteLength;
  }

  source(source: ByteSource): void {
    if (source.byteLength === 0) return;
    this.#flush();
    this.#parts.push(source);
  }

  #reserve(length: number): void {
    if (this.#at + length <= this.#buffer.byteLength) return;
    this.#flush();
    this.#buffer = new Uint8Array(Math.max(BUFFER, length));
    this.#view = new DataView(this.#buffer.buffer);
    this.#from = 0;
    this.#at = 0;
  }

  #flush(): void {
    if (this.#at > this.#from) this.#parts.push(this.#buffer.subarray(this.#from, this.#at));
    this.#from = this.#at;
  }
}

/** How a kind of field is written; `size` leaves the length prefix of LENGTH fields out. */
interface Scalar {
  readonly wire: number;
  size(value: never): number;
  write(writer: Writer, value: never): void;
}

const bytesScalar: Scalar = {
  wire: LENGTH,
  size: (value: Uint8Array) => value.byteLength,
  write: (writer, value: Uint8Array) => writer.bytes(value),
};

const scalars: { readonly [kind in FieldSpec["kind"]]?: Scalar } = {
  int64: { wire: VARINT, size: sizeOfInt64, write: (writer, value: bigint) => writer.int64(value) },
  int32: {
    wire: VARINT,
    size: (value: number) => sizeOfInt64(BigInt(value)),
    write: (writer, value: number) => writer.int64(BigInt(value)),
  },
  float: { wire: FIXED32, size: () => 4, write: (writer, value: number) => writer.float(value) },
  string: { wire: LENGTH, size: sizeOfString, write: (writer, value: string) => writer.string(value) },
  bytes: bytesScalar,
  lazy: {
    wire: LENGTH,
    size: (value: ByteSource) => value.byteLength,
    write: (writer, value: ByteSource) => writer.source(value),
  },
};

function scalarOf({ name, kind }: FieldSpec): Scalar {
  const scalar = scalars[kind];
  if (!scalar) throw new TypeError(`${name}: written as raw_data, never as ${kind}`);
  return scalar;
}
