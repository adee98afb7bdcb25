/** @file Tests of the files that steps keep: what was there stays whole when the disk is full. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it, vi } from "vitest";
import { temporaryFolder } from "../../../test/cli.ts";
import { FileGuard } from "./file-guard.ts";
import { stepFiles } from "./step-files.ts";

const disk = vi.hoisted(() => ({ left: Number.POSITIVE_INFINITY }));

vi.mock("node:fs", async (load) => {
  const real = await load<typeof import("node:fs")>();
  const writeSync = (file: number, bytes: Uint8Array, offset: number) => {
    if (disk.left <= 0) throw Object.assign(new Error("ENOSPC: no space left on device"), { code: "ENOSPC" });
    const part = Math.min(disk.left, bytes.length - offset);
    disk.left -= part;
    return real.writeSync(file, bytes, offset, part);
  };
  return { ...real, writeSync };
});

it("a full disk leaves the file that was there, and nothing beside it", async () => {
  const folder = temporaryFolder();
  const { read, write } = stepFiles(folder, new FileGuard());
  await write("checkpoint", Uint8Array.of(1, 2, 3));
  disk.left = 2;
  await expect(write("checkpoint", new Uint8Array(100))).rejects.toThrow(
    "checkpoint\": can't be written: the disk is full. What was there before is still whole.",
  );
  disk.left = Number.POSITIVE_INFINITY;
  expect(readdirSync(folder)).toEqual(["checkpoint"]);
  expect(await read("checkpoint")).toEqual(Buffer.of(1, 2, 3));
});

it("a file that is not there is undefined, and text is added at the end", async () => {
  const folder = temporaryFolder();
  const { read, append } = stepFiles(folder, new FileGuard());
  expect(await read("log")).toBeUndefined();
  writeFileSync(join(folder, "log"), "a\n");
  await append("log", "b\n");
  expect(readFileSync(join(folder, "log"), "utf8")).toBe("a\nb\n");
});
