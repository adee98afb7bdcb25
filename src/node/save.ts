/** @file Writes model files: whole or not at all. */
import { closeSync, openSync, renameSync, rmSync, statSync, writeSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { setImmediate } from "node:timers/promises";
import type { Model } from "../ir/model.ts";
import { type EncodeOptions, encodeModel } from "../ir/serde/encode-model.ts";
import type { EncodedMessage } from "../proto/encode.ts";
import { chunksOfMessage } from "../proto/write.ts";
import { TersorError } from "../util/errors.ts";
import { reason } from "./file-source.ts";
import { removeStale, temporaryName } from "./temporary.ts";

export interface SaveOptions extends Pick<EncodeOptions, "external" | "maxBytes" | "maxDataBytes"> {
  readonly signal?: AbortSignal;
  /** What the name of the first external data file adds to the model's. Default ".data". */
  readonly dataSuffix?: string;
  /** What messages call the file; its path when absent. */
  readonly name?: string;
  /** Bytes written so far, and in all. */
  onProgress?(done: number, total: number): void;
}

export interface SavedFiles {
  readonly path: string;
  /** The external data files, none when everything is in the model. */
  readonly dataPaths: readonly string[];
  readonly bytes: number;
}

/** Chunks below DIRECT bytes are gathered, so that a write is worth its call. */
const BUFFER = 1 << 20;
const DIRECT = 1 << 16;
/** How long to work between two looks at the event loop, ms. */
const SLICE = 40;

/**
 * Writes a model, with an external data file `<name>.data` beside it above 2 GB. Everything is written under temporary
 * names and renamed at the end, so that an error or an abort leaves nothing behind; the model itself comes last. May
 * replace the file that the model was loaded from. Lets the event loop run in between.
 * @throws bad-data when the place can't be written; aborted; limit-exceeded, see encodeModel.
 */
export async function saveModel(model: Model, path: string, options: SaveOptions = {}): Promise<SavedFiles> {
  const { signal, onProgress, dataSuffix = ".data", name = path, ...encoding } = options;
  const location = `${basename(path)}${dataSuffix}`;
  const { model: main, data } = encodeModel(model, { ...encoding, location });
  const dataPaths = data.map((file) => join(dirname(path), file.location));
  const bytes = data.reduce((sum, file) => sum + file.byteLength, main.byteLength);
  removeStale(dirname(path));
  const id = temporaryName();
  const files = [
    ...data.map((message: EncodedMessage, i) => ({
      message,
      target: dataPaths[i] as string,
      temp: join(dirname(path), `${id}.data${i}`),
    })),
    { message: main, target: path, temp: join(dirname(path), `${id}.onnx`) },
  ];
  let done = 0;
  const progress = (count: number) => {
    done += count;
    onProgress?.(done, bytes);
  };
  const begun: string[] = [];
  try {
    for (const { target } of files) checkReplaceable(target);
    for (const { message, temp } of files) {
      checkAborted(signal);
      const fd = openSync(temp, "wx");
      begun.push(temp);
      await write(message, fd, progress, signal).finally(() => closeSync(fd));
    }
    checkAborted(signal);
    for (const file of model.files) file.checkUnchanged();
    for (const { temp, target } of files) renameSync(temp, target);
  } catch (error) {
    for (const temp of begun) rmSync(temp, { force: true });
    if ((error as NodeJS.ErrnoException).syscall)
      throw new TersorError("bad-data", `${name}: can't be written: ${reason(error)}`, { cause: error });
    throw error;
  }
  return { path, bytes, dataPaths };
}

async function write(
  message: EncodedMessage,
  fd: number,
  progress: (bytes: number) => void,
  signal?: AbortSignal,
): Promise<void> {
  const buffer = new Uint8Array(BUFFER);
  let filled = 0;
  const put = (bytes: Uint8Array) => {
    writeAll(fd, bytes);
    progress(bytes.byteLength);
  };
  const flush = () => {
    if (filled > 0) put(buffer.subarray(0, filled));
    filled = 0;
  };
  let pause = performance.now() + SLICE;
  for (const chunk of chunksOfMessage(message)) {
    const direct = chunk.byteLength >= DIRECT;
    if (direct || filled + chunk.byteLength > BUFFER) flush();
    if (direct) put(chunk);
    else {
      buffer.set(chunk, filled);
      filled += chunk.byteLength;
    }
    if (performance.now() > pause) {
      await setImmediate();
      checkAborted(signal);
      pause = performance.now() + SLICE;
    }
  }
  flush();
}

function writeAll(fd: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.byteLength; ) done += writeSync(fd, bytes, done, bytes.byteLength - done);
}

function checkAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new TersorError("aborted", "interrupted: nothing was written.");
}

/** Known before the work rather than after it, when the data file would already be in place. */
function checkReplaceable(path: string): void {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat && !stat.isFile())
    throw new TersorError(
      "bad-data",
      `${path}: can't be written: expected a file or nothing there, got a folder or device.`,
    );
}

/** Whether two paths name the same existing file, be it through links. */
export function isSameFile(a: string, b: string): boolean {
  const [first, second] = [a, b].map((path) => statSync(path, { bigint: true, throwIfNoEntry: false }));
  return first !== undefined && second !== undefined && first.ino === second.ino && first.dev === second.dev;
}
