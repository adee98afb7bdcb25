/** @file Files as random-access sources. */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import type { ByteSource } from "../util/bytes.ts";
import { messageOf, TersorError } from "../util/errors.ts";

/** One readSync call may not exceed 2^31 − 1 bytes. */
const MAX_READ = 1 << 30;
const closer = new FinalizationRegistry<number>((fd) => closeSync(fd));

/** A file, opened once and read by position; closed by `close()` or when nothing refers to it any more. */
export class FileSource implements ByteSource {
  readonly path: string;
  readonly byteLength: number;
  readonly #fd: number;

  /** @throws bad-data when the file can't be opened or is not a regular file. */
  constructor(path: string) {
    this.path = path;
    try {
      this.#fd = openSync(path, "r");
    } catch (error) {
      throw new TersorError("bad-data", `${path}: ${reason(error)}`, { cause: error });
    }
    const stat = fstatSync(this.#fd);
    if (!stat.isFile()) {
      closeSync(this.#fd);
      throw new TersorError(
        "bad-data",
        `${path}: expected a file, got ${stat.isDirectory() ? "a folder" : "a device or pipe"}.`,
      );
    }
    this.byteLength = stat.size;
    closer.register(this, this.#fd, this);
  }

  read(offset: number, length: number, into?: Uint8Array): Uint8Array {
    const out = into ? into.subarray(0, length) : new Uint8Array(length);
    for (let done = 0; done < length; ) {
      const got = readSync(this.#fd, out, done, Math.min(MAX_READ, length - done), offset + done);
      if (got === 0)
        throw new TersorError(
          "bad-data",
          `${this.path}: expected ${length} bytes at ${offset}, got ${done}. The file changed while it was read.`,
        );
      done += got;
    }
    return out;
  }

  close(): void {
    closer.unregister(this);
    closeSync(this.#fd);
  }
}

const reasons: Readonly<Record<string, string>> = {
  ENOENT: "no such file. Check the path.",
  EACCES: "permission denied.",
  ENOTDIR: "a part of the path is not a folder.",
  ENOSPC: "the disk is full.",
  EROFS: "the file system is read-only.",
  EISDIR: "expected a file, got a folder.",
};

/** A file-system error in words. */
export function reason(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code ?? "";
  return reasons[code] ?? messageOf(error);
}
