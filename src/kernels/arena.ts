/** @file The one memory that kernels work in: grown on demand, handed out by moving a pointer, reused for every tensor. */
import { invariant, TersorError } from "../util/errors.ts";
import type { Pointer } from "./pointer.ts";
import { type Views, viewsOf } from "./raw.ts";
import type { WasmMemory } from "./web-assembly.ts";

/** Something whose buffer can be made larger; growing may replace the buffer. */
export interface GrowableMemory {
  readonly buffer: ArrayBuffer;
  /** Makes the buffer at least `byteLength` bytes, keeping its contents. Throws RangeError when the system refuses. */
  growTo(byteLength: number): void;
}

const PAGE = 65536;
/** One page below 4 GiB, so that the address behind the last byte still fits 32 bits. */
const MAX_BYTES = 2 ** 32 - PAGE;
/** Address 0 stays unused; the wasm module keeps nothing of its own in memory. */
const FIRST = 64;
const ALIGNMENT = 64;

/** Memory of a WebAssembly instance. */
export function wasmMemory(memory: WasmMemory): GrowableMemory {
  return {
    get buffer() {
      return memory.buffer;
    },
    growTo(byteLength) {
      memory.grow(Math.ceil(byteLength / PAGE) - memory.buffer.byteLength / PAGE);
    },
  };
}

/** Plain memory for the reference kernels. Copies when it grows, so it grows by doubling. */
export function plainMemory(): GrowableMemory {
  let buffer = new ArrayBuffer(PAGE);
  return {
    get buffer() {
      return buffer;
    },
    growTo(byteLength) {
      const wanted = Math.min(Math.max(byteLength, buffer.byteLength * 2), MAX_BYTES);
      const grown = new ArrayBuffer(Math.ceil(wanted / 8) * 8);
      new Uint8Array(grown).set(new Uint8Array(buffer));
      buffer = grown;
    },
  };
}

/**
 * Hands out memory in order and takes it back in reverse: {@link mark}, {@link alloc} …, {@link release}.
 * A view (`f32`, `u8`, …) is valid until the next `alloc`, which may replace the buffer; ask for it again.
 */
export class Arena {
  readonly #memory: GrowableMemory;
  readonly #limit: number;
  #next = FIRST;
  #views: Views;

  /** @param limit bytes that may be used at once; at most (and by default) 4 GiB less one page */
  constructor(memory: GrowableMemory, limit = MAX_BYTES) {
    this.#memory = memory;
    this.#limit = Math.min(limit, MAX_BYTES);
    this.#views = viewsOf(memory.buffer);
  }

  /** The current end of what is in use, for {@link release}. */
  mark(): Pointer {
    return this.#next;
  }

  /** Takes back everything that was allocated since `mark`. */
  release(mark: Pointer): void {
    invariant(mark >= FIRST && mark <= this.#next, `release of ${mark} with ${this.#next} in use`);
    this.#next = mark;
  }

  /** Runs `work` and takes back what it allocated, also when it throws. */
  scope<T>(work: () => T): T {
    const mark = this.#next;
    try {
      return work();
    } finally {
      this.#next = mark;
    }
  }

  /**
   * `bytes` bytes of memory, 64-byte aligned, with whatever was there before.
   * @throws limit-exceeded beyond the limit or what the system gives
   */
  alloc(bytes: number): Pointer {
    invariant(bytes >= 0, `allocation of ${bytes} bytes`);
    const start = this.#next;
    const end = Math.ceil((start + bytes) / ALIGNMENT) * ALIGNMENT;
    if (end > Math.min(this.#memory.buffer.byteLength, this.#limit)) this.#grow(end, bytes);
    this.#next = end;
    return start;
  }

  /** `count` elements of four bytes (f32, i32, u32). */
  alloc32(count: number): Pointer {
    return this.alloc(count * 4);
  }

  /** Views of the whole memory as it is now. */
  views(): Views {
    if (this.#views.u8.buffer !== this.#memory.buffer) this.#views = viewsOf(this.#memory.buffer);
    return this.#views;
  }

  u8(at: Pointer, count: number): Uint8Array {
    return new Uint8Array(this.#memory.buffer, at, count);
  }

  i8(at: Pointer, count: number): Int8Array {
    return new Int8Array(this.#memory.buffer, at, count);
  }

  u16(at: Pointer, count: number): Uint16Array {
    return new Uint16Array(this.#memory.buffer, at, count);
  }

  i32(at: Pointer, count: number): Int32Array {
    return new Int32Array(this.#memory.buffer, at, count);
  }

  u32(at: Pointer, count: number): Uint32Array {
    return new Uint32Array(this.#memory.buffer, at, count);
  }

  f32(at: Pointer, count: number): Float32Array {
    return new Float32Array(this.#memory.buffer, at, count);
  }

  f64(at: Pointer, count: number): Float64Array {
    return new Float64Array(this.#memory.buffer, at, count);
  }

  #grow(end: number, bytes: number): void {
    const refuse = (cause?: unknown) =>
      new TersorError(
        "limit-exceeded",
        `kernels: not enough memory: expected at most ${this.#limit} bytes in use, got ${end} (${bytes} more). Process the tensor in parts.`,
        cause === undefined ? undefined : { cause },
      );
    if (end > this.#limit) throw refuse();
    try {
      this.#memory.growTo(end);
    } catch (error) {
      throw refuse(error);
    }
  }
}
