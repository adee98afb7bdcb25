/** @file Opens regular files and nothing else, in Node: what a device, pipe or socket gives may never begin, or never end. */
import { closeSync, constants, fstatSync, openSync, readFileSync, type Stats, statSync } from "node:fs";

/** The code of the error for what is no file; Node's own errors have codes of the same kind. */
export const NOT_REGULAR = "ENOTREG";

/** The descriptor of a file that is open for reading. @throws an error with a code, as Node's own: NOT_REGULAR or EISDIR too */
export function openRegular(path: string): number {
  // Before opening: to open a pipe would wait for its other end. And after it: the path may have been given to a pipe meanwhile.
  checkRegular(statSync(path));
  const fd = openSync(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
  try {
    checkRegular(fstatSync(fd));
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** All bytes of a file. @throws as {@link openRegular} */
export function readRegular(path: string): Uint8Array {
  const fd = openRegular(path);
  try {
    return readFileSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** @throws for everything but a regular file, with the code NOT_REGULAR or EISDIR */
export function checkRegular(stat: Stats): void {
  if (stat.isFile()) return;
  const isFolder = stat.isDirectory();
  const message = `expected a file, got a ${isFolder ? "folder" : "device, pipe or socket"}`;
  throw Object.assign(new Error(message), { code: isFolder ? "EISDIR" : NOT_REGULAR });
}
