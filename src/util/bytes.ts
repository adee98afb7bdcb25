/** @file Random-access bytes: where tensors live, and where they are written to. All reads are synchronous. */
import { invariant } from "./errors.ts";

/**
 * Bytes that are read on demand: a range of a file, a range of a Blob (in a worker), memory, or the result of a
 * computation. A source is immutable: reading the same range twice gives the same bytes.
 */
export interface ByteSource {
  /** Length in bytes, known before anything is read. */
  readonly byteLength: number;
  /**
   * Reads `length` bytes from `offset`. With `into`, fills its first `length` bytes and returns that part of it;
   * without, the result may alias the source's memory and must not be written to.
   */
  read(offset: number, length: number, into?: Uint8Array): Uint8Array;
  /**
   * All bytes in order, in chunks of the source's choice; a chunk is valid only until the next one is asked for.
   * Sources that compute their bytes implement it so that the whole never has to be in memory.
   */
  chunks?(): Iterable<Uint8Array>;
}

/** Where an encoder writes: bytes appended in order. The chunk may be reused by the caller after `write` returns. */
export interface ByteSink {
  write(chunk: Uint8Array): void;
}

const STREAM_CHUNK = 1 << 20;

/** A source over bytes in memory; they are not copied and must not change afterwards. */
export class MemorySource implements ByteSource {
  readonly bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  get byteLength(): number {
    return this.bytes.byteLength;
  }

  read(offset: number, length: number, into?: Uint8Array): Uint8Array {
    checkRange(this, offset, length);
    const part = this.bytes.subarray(offset, offset + length);
    if (!into) return part;
    into.set(part);
    return into.subarray(0, length);
  }
}

/** A range of another source. */
export class SliceSource implements ByteSource {
  readonly parent: ByteSource;
  readonly offset: number;
  readonly byteLength: number;

  constructor(parent: ByteSource, offset: number, byteLength: number) {
    checkRange(parent, offset, byteLength);
    const nested = parent instanceof SliceSource;
    this.parent = nested ? parent.parent : parent;
    this.offset = nested ? parent.offset + offset : offset;
    this.byteLength = byteLength;
  }

  read(offset: number, length: number, into?: Uint8Array): Uint8Array {
    checkRange(this, offset, length);
    return this.parent.read(this.offset + offset, length, into);
  }
}

/** Bytes that are computed when they are read. The computation must give the same bytes every time. */
export class ComputedSource implements ByteSource {
  readonly byteLength: number;
  readonly chunks: () => Iterable<Uint8Array>;
  #all: Uint8Array | undefined;

  /** @param chunks computes all bytes in order; a chunk may be reused after the next one is asked for. */
  constructor(byteLength: number, chunks: () => Iterable<Uint8Array>) {
    this.byteLength = byteLength;
    this.chunks = chunks;
  }

  /** Random access computes everything and keeps it. */
  read(offset: number, length: number, into?: Uint8Array): Uint8Array {
    this.#all ??= readAll(this);
    return new MemorySource(this.#all).read(offset, length, into);
  }
}

/** All bytes of a source at once. May alias its memory. */
export function readAll(source: ByteSource): Uint8Array {
  if (!source.chunks) return source.read(0, source.byteLength);
  const all = new Uint8Array(source.byteLength);
  let at = 0;
  for (const chunk of source.chunks()) {
    all.set(chunk, at);
    at += chunk.byteLength;
  }
  invariant(at === all.byteLength, `a source of ${all.byteLength} bytes gave ${at}`);
  return all;
}

/** All bytes of a source in order, chunk by chunk; a chunk is valid only until the next one is asked for. */
export function chunksOf(source: ByteSource): Iterable<Uint8Array> {
  return source.chunks ? source.chunks() : windows(source);
}

function* windows(source: ByteSource): Iterable<Uint8Array> {
  const inMemory = source instanceof MemorySource;
  const window = inMemory ? undefined : new Uint8Array(Math.min(STREAM_CHUNK, source.byteLength));
  for (let at = 0; at < source.byteLength; ) {
    const length = Math.min(STREAM_CHUNK, source.byteLength - at);
    yield source.read(at, length, window);
    at += length;
  }
}

/** A sink that gathers what is written into one array. */
export class MemorySink implements ByteSink {
  #bytes: Uint8Array;
  #length = 0;

  constructor(capacity = 1024) {
    this.#bytes = new Uint8Array(capacity);
  }

  write(chunk: Uint8Array): void {
    const need = this.#length + chunk.byteLength;
    if (need > this.#bytes.byteLength) {
      const grown = new Uint8Array(Math.max(need, this.#bytes.byteLength * 2));
      grown.set(this.#bytes.subarray(0, this.#length));
      this.#bytes = grown;
    }
    this.#bytes.set(chunk, this.#length);
    this.#length = need;
  }

  /** What was written so far, without a copy. */
  bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }
}

function checkRange(source: ByteSource, offset: number, length: number): void {
  invariant(
    offset >= 0 && length >= 0 && offset + length <= source.byteLength,
    `read of ${length} bytes at ${offset} from a source of ${source.byteLength}`,
  );
}
