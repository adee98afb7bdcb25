/** @file Decodes a protobuf message by the table; large payloads stay in the source as ranges. */
import { type ByteSource, MemorySink, MemorySource, readAll, SliceSource } from "../util/bytes.ts";
import { TersorError } from "../util/errors.ts";
import { Cursor } from "./cursor.ts";
import { limits } from "./limits.ts";
import { type FieldSpec, fieldsOf, isMessage, type Message, type MessageName, type ScalarKind } from "./messages.ts";

/** Payloads up to this size are copied while the window holds them; larger ones stay where they are. */
const COPY_UP_TO = 4096;

const VARINT = 0;
const FIXED64 = 1;
const LENGTH = 2;
const FIXED32 = 5;

/** Memory that a message and all that the IR makes of it take, about (measured); see limits.structureBytes. */
const messageCost: { readonly [name in MessageName]?: number } = { NodeProto: 1500, TensorProto: 1000 };
const OTHER_MESSAGE_COST = 250;
const VALUE_COST = 40;

/**
 * Decodes the whole source as one message. Fields that the table does not know are kept in `unknown` on their message.
 * Unlike protobuf, which merges them, a field that stands twice in a message and is a message itself is refused.
 * @throws bad-model with the byte position; limit-exceeded for depth and for the memory that the structure would take.
 */
export function decodeMessage(source: ByteSource, name: MessageName): Message {
  const decoder = new Decoder(source);
  return decoder.message(name, source.byteLength, 0);
}

class Decoder {
  readonly #cursor: Cursor;
  #cost = 0;

  constructor(source: ByteSource) {
    this.#cursor = new Cursor(source);
  }

  message(name: MessageName, end: number, depth: number): Message {
    const cursor = this.#cursor;
    if (depth > limits.depth)
      throw new TersorError("limit-exceeded", `byte ${cursor.pos}: messages nested more than ${limits.depth} deep.`);
    this.#charge(messageCost[name] ?? OTHER_MESSAGE_COST);
    const fields = fieldsOf(name);
    const out: Message = {};
    let unknown: MemorySink | undefined;
    while (cursor.pos < end) {
      const start = cursor.pos;
      const tag = cursor.varint(end);
      const number = Math.floor(tag / 8);
      const wire = tag % 8;
      const field = fields.get(number);
      if (number === 0) throw cursor.error("expected a field number, got 0", start);
      if (field) this.#field(out, name, field, wire, end, depth);
      else {
        this.#skip(wire, end);
        const length = cursor.pos - start;
        this.#charge(length);
        cursor.pos = start;
        unknown ??= new MemorySink(length);
        unknown.write(cursor.bytes(length, end));
      }
    }
    for (const field of listFields[name] ?? []) out[field] &&= (out[field] as List).finish();
    if (unknown) out.unknown = unknown.bytes().slice();
    return out;
  }

  #field(out: Message, owner: MessageName, field: FieldSpec, wire: number, end: number, depth: number): void {
    const cursor = this.#cursor;
    const { name, kind, repeated } = field;
    const expected = isMessage(kind) ? LENGTH : wireTypes[kind];
    const packed = wire === LENGTH && expected !== LENGTH && (repeated || (!isMessage(kind) && isList(kind)));
    if (wire !== expected && !packed)
      throw cursor.error(`${owner}.${name}: expected wire type ${expected}, got ${wire}`);
    let stop = end;
    if (wire === LENGTH) {
      const length = cursor.varint(end);
      cursor.checkLength(length, end);
      stop = cursor.pos + length;
    }
    if (packed && cursor.pos === stop) return;
    if (isMessage(kind)) {
      if (!repeated && out[name]) throw cursor.error(`${owner}.${name}: expected once, got a second one`);
      const value = this.message(kind, stop, depth + 1);
      if (repeated) append(out, name, value);
      else out[name] = value;
    } else if (isList(kind)) {
      const list = (out[name] as List | undefined) ?? lists[kind]();
      out[name] = list;
      if (!packed && list.width) stop = cursor.pos + list.width;
      if (packed && list.width && (stop - cursor.pos) % list.width !== 0)
        throw cursor.error(`${owner}.${name}: expected a multiple of ${list.width} bytes, got ${stop - cursor.pos}`);
      this.#charge(list.add(cursor, stop, packed));
    } else {
      const read = scalars[kind];
      if (expected === LENGTH && kind !== "lazy") this.#charge(stop - cursor.pos);
      if (!repeated) out[name] = read(cursor, stop);
      else
        do {
          this.#charge(VALUE_COST);
          append(out, name, read(cursor, stop));
        } while (packed && cursor.pos < stop);
    }
    if (wire === LENGTH && cursor.pos !== stop)
      throw cursor.error(`${owner}.${name}: expected to end at byte ${stop}, got ${cursor.pos}`);
  }

  #charge(bytes: number): void {
    this.#cost += bytes;
    if (this.#cost > limits.structureBytes)
      throw new TersorError(
        "limit-exceeded",
        `byte ${this.#cursor.pos}: the structure alone would take more than ${limits.structureBytes} bytes of memory.`,
      );
  }

  #skip(wire: number, end: number): void {
    const cursor = this.#cursor;
    if (wire === VARINT) cursor.int64(end);
    else if (wire === FIXED64) cursor.skip(8, end);
    else if (wire === FIXED32) cursor.skip(4, end);
    else if (wire === LENGTH) cursor.skip(cursor.varint(end), end);
    else throw cursor.error(`expected wire type 0, 1, 2 or 5, got ${wire}`);
  }
}

function append(out: Message, name: string, value: unknown): void {
  const list = out[name] as unknown[] | undefined;
  if (list) list.push(value);
  else out[name] = [value];
}

/** Fields that are gathered in a {@link List} while their message is read. */
const listFields: { readonly [name in MessageName]?: readonly string[] } = {
  TensorProto: ["floatData", "doubleData", "int32Data", "int64Data", "uint64Data"],
};

type ListKind = "floats32" | "floats64" | "int32s" | "int64s" | "uint64s";

function isList(kind: ScalarKind): kind is ListKind {
  return kind in lists;
}

const wireTypes: Readonly<Record<ScalarKind, number>> = {
  int64: VARINT,
  int32: VARINT,
  float: FIXED32,
  string: LENGTH,
  bytes: LENGTH,
  lazy: LENGTH,
  floats32: FIXED32,
  floats64: FIXED64,
  int32s: VARINT,
  int64s: VARINT,
  uint64s: VARINT,
};

const scalars = {
  int64: (cursor: Cursor, end: number) => cursor.int64(end),
  int32: (cursor: Cursor, end: number) => Number(BigInt.asIntN(32, cursor.int64(end))),
  float: (cursor: Cursor, end: number) => cursor.float(end),
  string: (cursor: Cursor, end: number) => {
    if (end - cursor.pos > limits.stringBytes)
      throw new TersorError(
        "limit-exceeded",
        `byte ${cursor.pos}: expected a string of at most ${limits.stringBytes} bytes, got ${end - cursor.pos}.`,
      );
    return cursor.string(end - cursor.pos, end);
  },
  bytes: (cursor: Cursor, end: number) => cursor.bytes(end - cursor.pos, end),
  lazy: (cursor: Cursor, end: number) => range(cursor, end),
};

/** Gathers one repeated field that may come in packed chunks, single elements or both. */
interface List {
  /** Bytes of one element when fixed; 0 for varints. */
  readonly width: number;
  /** Returns the memory it took. */
  add(cursor: Cursor, end: number, packed: boolean): number;
  finish(): unknown;
}

/** Fixed-width elements: one packed chunk stays a range of the source; anything else is copied together. */
class FixedList implements List {
  readonly width: number;
  #range: ByteSource | undefined;
  #sink: MemorySink | undefined;

  constructor(width: number) {
    this.width = width;
  }

  add(cursor: Cursor, end: number): number {
    if (!this.#range) {
      this.#range = range(cursor, end);
      return 0;
    }
    const length = end - cursor.pos;
    const gathered = this.#sink ? 0 : this.#range.byteLength;
    if (!this.#sink) {
      this.#sink = new MemorySink();
      this.#sink.write(readAll(this.#range));
    }
    this.#sink.write(cursor.bytes(length, end));
    return gathered + length;
  }

  finish(): ByteSource {
    return this.#sink ? new MemorySource(this.#sink.bytes()) : (this.#range as ByteSource);
  }
}

type IntArray = Int32Array | BigInt64Array | BigUint64Array;

/** Varint elements, decoded into a typed array that doubles as it grows. */
class VarintList implements List {
  readonly width = 0;
  readonly #make: (length: number) => IntArray;
  #array: IntArray;
  #length = 0;

  constructor(make: (length: number) => IntArray) {
    this.#make = make;
    this.#array = make(8);
  }

  add(cursor: Cursor, end: number, packed: boolean): number {
    const before = this.#length;
    do {
      if (this.#length === this.#array.length) {
        const grown = this.#make(this.#length * 2);
        grown.set(this.#array as never);
        this.#array = grown;
      }
      const value = cursor.int64(end);
      this.#array[this.#length++] = this.#array instanceof Int32Array ? Number(BigInt.asIntN(32, value)) : value;
    } while (packed && cursor.pos < end);
    return (this.#length - before) * this.#array.BYTES_PER_ELEMENT;
  }

  finish(): IntArray {
    return this.#array.slice(0, this.#length);
  }
}

const lists: Readonly<Record<ListKind, () => List>> = {
  floats32: () => new FixedList(4),
  floats64: () => new FixedList(8),
  int32s: () => new VarintList((n) => new Int32Array(n)),
  int64s: () => new VarintList((n) => new BigInt64Array(n)),
  uint64s: () => new VarintList((n) => new BigUint64Array(n)),
};

/** The bytes from here to `end`: copied when few, else a range of the source. */
function range(cursor: Cursor, end: number): ByteSource {
  const length = end - cursor.pos;
  if (length <= COPY_UP_TO) return new MemorySource(cursor.bytes(length, end));
  const source = new SliceSource(cursor.source, cursor.pos, length);
  cursor.skip(length, end);
  return source;
}
