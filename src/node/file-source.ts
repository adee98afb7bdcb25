/** @file Files as random-access sources. */
import { closeSync, fstatSync, readSync } from "node:fs";
import type { TensorFile } from "../ir/model.ts";
import type { ByteSource } from "../util/bytes.ts";
import { messageOf, TersorError } from "../util/errors.ts";
import { NOT_REGULAR, openRegular } from "../util/regular-file.ts";

/** One readSync call may not exceed 2^31 − 1 bytes. */
const MAX_READ = 1 << 30;
const closer = new FinalizationRegistry<number>((fd) => closeSync(fd));

/** A file, opened once and read by position; closed by `close()` or when nothing refers to it any more. */
export class FileSource implements ByteSource, TensorFile {
  readonly path: string;
  readonly byteLength: number;
  readonly #fd: number;
  readonly #mtimeNs: bigint;
  #closed = false;

  /** @throws bad-data when the file can't be opened or is not a regular file. */
  constructor(path: string) {
    this.path = path;
    try {
      this.#fd = openRegular(path);
    } catch (error) {
      throw new TersorError("bad-data", `${path}: ${reason(error)}`, { cause: error });
    }
    const { size, mtimeNs } = fstatSync(this.#fd, { bigint: true });
    this.byteLength = Number(size);
    this.#mtimeNs = mtimeNs;
    closer.register(this, this.#fd, this);
  }

  /** @throws bad-data when the file became shorter or can't be read. */
  read(offset: number, length: number, into?: Uint8Array): Uint8Array {
    const out = into ? into.subarray(0, length) : new Uint8Array(length);
    for (let done = 0; done < length; ) {
      const got = this.#readSome(out, done, Math.min(MAX_READ, length - done), offset + done);
      if (got === 0)
        throw new TersorError(
          "bad-data",
          `${this.path}: expected ${length} bytes at ${offset}, got ${done}. The file changed while it was read.`,
        );
      done += got;
    }
    return out;
  }

  checkUnchanged(): void {
    if (this.#closed) return;
    const { size, mtimeNs } = fstatSync(this.#fd, { bigint: true });
    if (Number(size) === this.byteLength && mtimeNs === this.#mtimeNs) return;
    throw new TersorError(
      "bad-data",
      `${this.path}: changed while it was read: expected ${this.byteLength} bytes as at the beginning, got ${size} bytes of another time. Nothing was written: run it again when the file is at rest.`,
    );
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    closer.unregister(this);
    closeSync(this.#fd);
  }

  #readSome(out: Uint8Array, at: number, length: number, position: number): number {
    if (this.#closed)
      throw new TersorError("bad-data", `${this.path}: read after its model was closed. Load it again.`);
    try {
      return readSync(this.#fd, out, at, length, position);
    } catch (error) {
      throw new TersorError("bad-data", `${this.path}: can't be read: ${reason(error)}`, { cause: error });
    }
  }
}

const reasons: Readonly<Record<string, string>> = {
  ENOENT: "no such file or folder. Check the path.",
  EACCES: "permission denied.",
  EPERM: "permission denied.",
  ENOTDIR: "a part of the path is a file, not a folder.",
  ENOSPC: "the disk is full.",
  EDQUOT: "the disk quota is used up.",
  EFBIG: "the file would be larger than this process may write.",
  EROFS: "the file system is read-only.",
  EISDIR: "expected a file, got a folder.",
  ELOOP: "the symbolic links run in a circle.",
  ENAMETOOLONG: "the name is too long.",
  EMFILE: "too many files are open.",
  [NOT_REGULAR]: "expected a file, got a device, pipe or socket.",
};

/** A file-system error in words. */
export function reason(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code ?? "";
  return reasons[code] ?? `${messageOf(error)}.`;
}
