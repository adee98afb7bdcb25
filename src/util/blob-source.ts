/** @file A Blob (a file that a browser's user picked, a download) as a random-access source. */
import { type ByteSource, MemorySource } from "./bytes.ts";
import { messageOf, TersorError } from "./errors.ts";

interface SyncReader {
  readAsArrayBuffer(blob: Blob): ArrayBuffer;
}

/** The browsers' synchronous reader; only workers have it. */
function syncReader(): SyncReader | undefined {
  const { FileReaderSync } = globalThis as { FileReaderSync?: new () => SyncReader };
  return FileReaderSync && new FileReaderSync();
}

/** Ranges of a Blob, read when asked for. Made by {@link openBlob}. */
export class BlobSource implements ByteSource {
  readonly blob: Blob;
  readonly #reader: SyncReader;

  constructor(blob: Blob, reader: SyncReader) {
    this.blob = blob;
    this.#reader = reader;
  }

  get byteLength(): number {
    return this.blob.size;
  }

  /** @throws bad-data when the file behind the Blob changed or is gone. */
  read(offset: number, length: number, into?: Uint8Array): Uint8Array {
    let bytes: Uint8Array;
    try {
      bytes = new Uint8Array(this.#reader.readAsArrayBuffer(this.blob.slice(offset, offset + length)));
    } catch (error) {
      throw new TersorError("bad-data", `file: can't be read (${messageOf(error)}). It changed or was removed.`, {
        cause: error,
      });
    }
    if (bytes.byteLength !== length)
      throw new TersorError("bad-data", `file: expected ${length} bytes at ${offset}, got ${bytes.byteLength}.`);
    if (!into) return bytes;
    into.set(bytes);
    return into.subarray(0, length);
  }
}

/** Opens a Blob: in a worker it is read range by range; elsewhere, where no synchronous read exists, it is loaded whole. */
export async function openBlob(blob: Blob): Promise<ByteSource> {
  const reader = syncReader();
  return reader ? new BlobSource(blob, reader) : new MemorySource(new Uint8Array(await blob.arrayBuffer()));
}
