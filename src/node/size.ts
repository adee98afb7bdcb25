/** @file What a model's files weigh: on disk, and as a server would send them. */
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import type { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { constants, createBrotliCompress, createGzip } from "node:zlib";
import { messageOf, TersorError } from "../util/errors.ts";

export interface FileSize {
  /** Bytes on disk. */
  readonly bytes: number;
  /** Bytes after gzip, level 9. */
  readonly gzip: number;
  /** Bytes after brotli. */
  readonly brotli: number;
  /** The brotli quality that was used, 11 being the best; large files get a lower one for the time it takes. */
  readonly brotliQuality: number;
}

/**
 * Quality by size. Weights of a network took 4 to 6 s per MiB at 11, 0.1 to 1 s at 9 and 0.04 s at 5, for results within
 * 1.5 % of each other.
 */
const brotliQualities = [
  { below: 1 << 18, quality: 11 },
  { below: 16 << 20, quality: 9 },
  { below: Number.POSITIVE_INFINITY, quality: 5 },
] as const;

export interface SizeOptions {
  /** Brotli quality, 0 to 11, instead of the one that the size decides. Give two models that are compared the same. */
  readonly brotliQuality?: number;
  readonly signal?: AbortSignal;
}

/**
 * Sizes of a model's files (the .onnx and its external data) together; each is compressed by itself, streamed.
 * @throws bad-model when a file cannot be read; aborted.
 */
export async function measureSize(paths: readonly string[], options: SizeOptions = {}): Promise<FileSize> {
  const lengths = await Promise.all(paths.map((path) => guard(path, async () => (await stat(path)).size)));
  const bytes = sum(lengths);
  const quality = options.brotliQuality ?? brotliQualityFor(bytes);
  const gzips: number[] = [];
  const brotlis: number[] = [];
  for (const [index, path] of paths.entries()) {
    const brotli = createBrotliCompress({
      params: {
        [constants.BROTLI_PARAM_QUALITY]: quality,
        // The largest window that every browser accepts.
        [constants.BROTLI_PARAM_LGWIN]: constants.BROTLI_MAX_WINDOW_BITS,
        [constants.BROTLI_PARAM_SIZE_HINT]: Math.min(lengths[index] ?? 0, 2 ** 31 - 1),
      },
    });
    // Both at once: zlib works on threads of its own.
    const [gzip, small] = await Promise.all([
      compressedLength(path, createGzip({ level: 9 }), options.signal),
      compressedLength(path, brotli, options.signal),
    ]);
    gzips.push(gzip);
    brotlis.push(small);
  }
  return { bytes, gzip: sum(gzips), brotli: sum(brotlis), brotliQuality: quality };
}

/** The brotli quality that suits so many bytes. */
export function brotliQualityFor(bytes: number): number {
  return brotliQualities.find(({ below }) => bytes < below)?.quality ?? 5;
}

function compressedLength(path: string, stream: Transform, signal: AbortSignal | undefined) {
  return guard(path, async () => {
    let length = 0;
    const count = async (chunks: AsyncIterable<Uint8Array>) => {
      for await (const chunk of chunks) length += chunk.byteLength;
    };
    const file = createReadStream(path, { highWaterMark: 1 << 20, ...(signal ? { signal } : {}) });
    await pipeline(file, stream, count);
    return length;
  });
}

async function guard<T>(path: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof Error && error.name === "AbortError")
      throw new TersorError("aborted", `${path}: measuring its size was stopped.`, { cause: error });
    throw new TersorError("bad-model", `${path}: cannot be read: ${messageOf(error)}.`, { cause: error });
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
