/** @file What a run reads and what it writes: never the same file, by whatever name, and never what would change under it. */
import { type BigIntStats, lstatSync, realpathSync, type Stats, statSync } from "node:fs";
import { basename, dirname, join, resolve, sep } from "node:path";
import { TersorError } from "../../util/errors.ts";

/** A place that a run writes to. */
interface Written {
  readonly what: string;
  /** As the user spells it. */
  readonly path: string;
}

interface FileState {
  readonly path: string;
  readonly size: bigint;
  readonly mtimeNs: bigint;
}

/** Files in folders of data that are samples or their labels. */
const inDataFolder = /\.(jpe?g|png|webp|gif|avif|tiff?|bmp|svg|wave?)$|(^|[/\\])labels\.(json|csv|txt)$/i;

/** Files are told apart by device and inode, so that links have no name of their own; what is not there yet by its place. */
export class FileGuard {
  readonly #written = new Map<string, Written>();
  readonly #read = new Map<string, string>();
  readonly #watched = new Map<string, FileState>();

  /**
   * @param what names the path in messages: "output", "log"
   * @throws bad-recipe for what is read too, for what something else is written to, and for what is no regular file
   */
  writes(path: string, what: string): void {
    for (const key of keysOf(path)) {
      const input = this.#read.get(key);
      if (input !== undefined) throw overwritten({ what, path }, input);
      const other = this.#written.get(key);
      if (other && other.what !== what)
        throw new TersorError(
          "bad-recipe",
          `${what} "${path}": is the ${other.what} "${other.path}" too: one would replace the other. Choose another ${what}.`,
        );
      this.#written.set(key, { what, path });
    }
    checkReplaceable(path, what);
  }

  /** @param isWatched whether {@link checkUnchanged} looks at it @throws bad-recipe for what is written too */
  reads(path: string, isWatched = false): void {
    this.check(path);
    const [key] = keysOf(path);
    if (key === undefined) return;
    this.#read.set(key, path);
    const stat = isWatched ? statOf(path) : undefined;
    if (stat) this.#watched.set(resolve(path), { path, size: stat.size, mtimeNs: stat.mtimeNs });
  }

  /** @throws bad-recipe for what is written too, and for a folder whose data is written to */
  check(path: string): void {
    for (const key of keysOf(path)) {
      const written = this.#written.get(key);
      if (written) throw overwritten(written, path);
    }
    if (!statOf(path)?.isDirectory()) return;
    const folder = realpathSync(path) + sep;
    for (const written of this.#written.values()) {
      const place = realPath(written.path);
      if (place?.startsWith(folder) && inDataFolder.test(place)) throw overwritten(written, place);
    }
  }

  /** @throws bad-data when a watched file is not what it was when it was opened */
  checkUnchanged(): void {
    for (const [absolute, { path, size, mtimeNs }] of this.#watched) {
      const now = statOf(absolute);
      const [key] = now ? keysOf(absolute) : [];
      const isSame = now && key !== undefined && this.#read.has(key) && now.size === size && now.mtimeNs === mtimeNs;
      if (!isSame)
        throw new TersorError(
          "bad-data",
          `${path}: changed while it was read: expected ${size} bytes as at the beginning, got ${now ? `${now.size} bytes of another time` : "nothing there"}. Nothing was written: run it again when the file is at rest.`,
        );
    }
  }
}

function overwritten({ what, path }: Written, input: string): TersorError {
  return new TersorError(
    "bad-recipe",
    `${what} "${path}": is the input file "${input}" itself. Inputs are never overwritten: choose another ${what}.`,
  );
}

/** What is written is renamed into place, which would put a file where a folder, a link or a device was. @throws bad-recipe */
export function checkReplaceable(path: string, what: string): void {
  const kind = path === "-" ? "stdout" : kindInTheWay(path);
  if (kind === undefined) return;
  throw new TersorError(
    "bad-recipe",
    `${what} "${path}": expected a file or nothing there, got ${kind}. Name another ${what}.`,
  );
}

/** What is at a path that is no regular file. */
function kindInTheWay(path: string): string | undefined {
  let stat: Stats;
  try {
    stat = lstatSync(path);
  } catch {
    // Nothing is there, or can be: to write there says why.
    return undefined;
  }
  if (stat.isFile()) return undefined;
  if (stat.isSymbolicLink()) return "a symbolic link";
  return stat.isDirectory() ? "a folder" : "a device, pipe or socket";
}

/** Undefined where nothing is, or can be. */
function statOf(path: string): BigIntStats | undefined {
  try {
    return statSync(path, { bigint: true });
  } catch {
    return undefined;
  }
}

/** By inode where something is there, and by place: the real folder and the name. */
function keysOf(path: string): string[] {
  const stat = statOf(path);
  const place = realPath(path);
  return [...(stat ? [`${stat.dev}:${stat.ino}`] : []), ...(place === undefined ? [] : [place])];
}

/** Undefined where its folder is not there. */
function realPath(path: string): string | undefined {
  const absolute = resolve(path);
  try {
    return join(realpathSync(dirname(absolute)), basename(absolute));
  } catch {
    return undefined;
  }
}
