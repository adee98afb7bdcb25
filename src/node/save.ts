/** @file Writes model files: whole or not at all. */
import { closeSync, existsSync, openSync, realpathSync, renameSync, rmSync, writeSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { setImmediate } from "node:timers/promises";
import type { Model } from "../ir/model.ts";
import { type EncodeOptions, encodeModel } from "../ir/serde/encode-model.ts";
import type { EncodedMessage } from "../proto/encode.ts";
import { chunksOf } from "../util/bytes.ts";
import { TersorError } from "../util/errors.ts";
import { reason } from "./file-source.ts";

export interface SaveOptions extends Pick<EncodeOptions, "external"> {
  readonly signal?: AbortSignal;
  /** Bytes written so far, and in all. */
  onProgress?(done: number, total: number): void;
}

export interface SavedFiles {
  readonly path: string;
  /** The external data file, when one was written. */
  readonly dataPath?: string;
  readonly bytes: number;
}

const BUFFER = 1 << 20;
/** How long to work between two looks at the event loop, ms. */
const SLICE = 40;

/**
 * Writes a model, with an external data file `<name>.data` beside it above 2 GB. Everything is written under temporary
 * names and renamed at the end, so that an error or an abort leaves nothing behind. Lets the event loop run in between.
 * @throws bad-data when the place can't be written; aborted.
 */
export async function saveModel(model: Model, path: string, options: SaveOptions = {}): Promise<SavedFiles> {
  const location = `${basename(path)}.data`;
  const encoded = encodeModel(model, { location, ...(options.external && { external: options.external }) });
  const { data } = encoded;
  const total = encoded.model.byteLength + (data?.byteLength ?? 0);
  const temporary = (name: string) => join(dirname(path), `.${name}.${process.pid}.tmp`);
  const files = [
    ...(data ? [{ message: data as EncodedMessage, target: join(dirname(path), location) }] : []),
    { message: encoded.model, target: path },
  ].map((file) => ({ ...file, temp: temporary(basename(file.target)) }));
  let done = 0;
  const progress = (bytes: number) => {
    done += bytes;
    options.onProgress?.(done, total);
  };
  try {
    for (const { message, temp } of files) await write(message, temp, progress, options.signal);
    for (const { temp, target } of files) renameSync(temp, target);
  } catch (error) {
    for (const { temp } of files) rmSync(temp, { force: true });
    if (error instanceof TersorError) throw error;
    if ((error as NodeJS.ErrnoException).syscall)
      throw new TersorError("bad-data", `${path}: can't be written: ${reason(error)}`, { cause: error });
    throw error;
  }
  return { path, bytes: total, ...(data && { dataPath: join(dirname(path), location) }) };
}

async function write(
  message: EncodedMessage,
  path: string,
  progress: (bytes: number) => void,
  signal?: AbortSignal,
): Promise<void> {
  const fd = openSync(path, "w");
  try {
    const buffer = new Uint8Array(BUFFER);
    let filled = 0;
    const flush = () => {
      writeAll(fd, buffer.subarray(0, filled));
      progress(filled);
      filled = 0;
    };
    let pause = performance.now() + SLICE;
    for (const part of message.parts) {
      for (const chunk of part instanceof Uint8Array ? [part] : chunksOf(part)) {
        if (filled + chunk.byteLength > BUFFER) flush();
        if (chunk.byteLength > BUFFER) {
          writeAll(fd, chunk);
          progress(chunk.byteLength);
        } else {
          buffer.set(chunk, filled);
          filled += chunk.byteLength;
        }
        if (performance.now() > pause) {
          await setImmediate();
          if (signal?.aborted) throw new TersorError("aborted", "interrupted: nothing was written.");
          pause = performance.now() + SLICE;
        }
      }
    }
    flush();
  } finally {
    closeSync(fd);
  }
}

function writeAll(fd: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.byteLength; ) done += writeSync(fd, bytes, done, bytes.byteLength - done);
}

/** Whether two paths name the same existing file. */
export function isSameFile(a: string, b: string): boolean {
  return existsSync(a) && existsSync(b) && realpathSync(a) === realpathSync(b);
}
