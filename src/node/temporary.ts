/** @file Names of temporary files and folders, which say whose they are: those of processes that were killed are removed. */
import { readdirSync, rmSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { fnv1a64 } from "../util/hash.ts";

/** Processes of other machines, which may share a folder, can't be asked after. */
const host = fnv1a64([new TextEncoder().encode(hostname())]).slice(0, 8);
const form = /^\.tersor-([0-9a-f]{8})-(\d+)-/;
const cleaned = new Set<string>();

/** A name that no other file has, hidden. */
export function temporaryName(): string {
  return `.tersor-${host}-${process.pid}-${crypto.randomUUID()}`;
}

/** Removes what killed processes left in a folder; looks once. */
export function removeStale(folder: string): void {
  if (cleaned.has(folder)) return;
  cleaned.add(folder);
  let names: string[];
  try {
    names = readdirSync(folder);
  } catch {
    return;
  }
  for (const name of names) {
    const [, owner, pid] = form.exec(name) ?? [];
    if (owner === host && pid !== undefined && !isAlive(Number(pid)))
      rmSync(join(folder, name), { recursive: true, force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}
