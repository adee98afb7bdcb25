/** @file Cursor: reads protobuf framing from a random-access source through one small window. */
import { type ByteSource, MemorySource } from "../util/bytes.ts";
import { TersorError } from "../util/errors.ts";

const WINDOW = 1 << 16;
// A byte order mark is part of a name.
const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });

/** Numbers are accumulated in doubles or bigints, never in 32 bits: lengths may pass 2^31. */
export class Cursor {
  pos = 0;
  readonly source: ByteSource;
  readonly #scratch: Uint8Array | undefined;
  #window: Uint8Array = new Uint8Array(0);
  #start = 0;
  #view = new DataView(this.#window.buffer);

  constructor(source: ByteSource) {
    this.source = source;
    if (source instanceof MemorySource) this.#setWindow(0, source.bytes);
    else this.#scratch = new Uint8Array(WINDOW);
  }

  /** An error at a position of the file, the present one by default. */
  error(problem: string, at = this.pos): TersorError {
    return new TersorError("bad-model", `byte ${at}: ${problem}. The file is damaged or is not an ONNX model.`);
  }

  byte(end: number): number {
    if (this.pos >= end) throw this.error("expected more bytes, got the end of the message");
    this.#need(1);
    return this.#window[this.pos++ - this.#start] as number;
  }

  /** An unsigned varint as a double; for tags, lengths, enums. */
  varint(end: number): number {
    const first = this.byte(end);
    if (first < 0x80) return first;
    const value = Number(BigInt.asUintN(64, this.#longVarint(first, end)));
    if (value > Number.MAX_SAFE_INTEGER) throw this.error(`expected a number below 2^53, got ${value}`);
    return value;
  }

  /** A varint as signed 64-bit. */
  int64(end: number): bigint {
    const first = this.byte(end);
    return first < 0x80 ? BigInt(first) : BigInt.asIntN(64, this.#longVarint(first, end));
  }

  float(end: number): number {
    return this.#fixed(4, end).getFloat32(this.pos - 4 - this.#start, true);
  }

  /** Reads `length` bytes into fresh memory. */
  bytes(length: number, end: number): Uint8Array {
    this.checkLength(length, end);
    const out = this.#peek(length).slice();
    this.pos += length;
    return out;
  }

  string(length: number, end: number): string {
    this.checkLength(length, end);
    const text = utf8.decode(this.#peek(length));
    this.pos += length;
    return text;
  }

  skip(length: number, end: number): void {
    this.checkLength(length, end);
    this.pos += length;
  }

  checkLength(length: number, end: number): void {
    if (length > end - this.pos)
      throw this.error(`expected ${length} bytes, got ${end - this.pos} before the end of the message or file`);
  }

  #longVarint(first: number, end: number): bigint {
    const start = this.pos - 1;
    let low = first & 0x7f;
    let scale = 128;
    for (let i = 1; i < 7; i++) {
      const byte = this.byte(end);
      low += (byte & 0x7f) * scale;
      if (byte < 0x80) return BigInt(low);
      scale *= 128;
    }
    let value = BigInt(low);
    for (let i = 7n; i < 10n; i++) {
      const byte = this.byte(end);
      value |= BigInt(byte & 0x7f) << (7n * i);
      if (byte < 0x80) return value;
    }
    throw this.error("expected a varint of at most 10 bytes, got a longer one", start);
  }

  #fixed(width: number, end: number): DataView {
    this.checkLength(width, end);
    this.#need(width);
    this.pos += width;
    return this.#view;
  }

  /** The next `length` bytes, without moving: a view of the window where they fit. */
  #peek(length: number): Uint8Array {
    if (length > WINDOW && this.#scratch) return this.source.read(this.pos, length);
    this.#need(length);
    const at = this.pos - this.#start;
    return this.#window.subarray(at, at + length);
  }

  #need(length: number): void {
    const inside = this.pos >= this.#start && this.pos + length <= this.#start + this.#window.byteLength;
    if (inside || !this.#scratch) return;
    const size = Math.min(WINDOW, this.source.byteLength - this.pos);
    this.#setWindow(this.pos, this.source.read(this.pos, size, this.#scratch));
  }

  #setWindow(start: number, window: Uint8Array): void {
    this.#start = start;
    this.#window = window;
    this.#view = new DataView(window.buffer, window.byteOffset, window.byteLength);
  }
}
