import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { afterAll, describe, expect, it } from "vitest";
import { brotliQualityFor, measureSize } from "./size.ts";

const folder = mkdtempSync(join(tmpdir(), "tersor-size-"));
afterAll(() => rmSync(folder, { recursive: true }));

const file = (name: string, bytes: Uint8Array) => {
  writeFileSync(join(folder, name), bytes);
  return join(folder, name);
};
const repetitive = Uint8Array.from({ length: 100_000 }, (_, i) => i % 251);

describe("measureSize", () => {
  it("adds the sizes of a model's files, each compressed by itself", async () => {
    const paths = [file("a", repetitive), file("b", new Uint8Array(10))];
    const size = await measureSize(paths);
    const gzip = gzipSync(repetitive, { level: 9 }).length + gzipSync(new Uint8Array(10), { level: 9 }).length;
    expect(size).toMatchObject({ bytes: 100_010, gzip, brotliQuality: 11 });
    expect(Math.abs(size.brotli - brotliCompressSync(repetitive).length)).toBeLessThan(100);
  });

  it("uses a lower brotli quality for large files, and says which", async () => {
    expect([1 << 17, 1 << 20, 8 << 20, 1 << 30].map(brotliQualityFor)).toEqual([11, 9, 9, 5]);
    expect((await measureSize([file("c", repetitive)], { brotliQuality: 4 })).brotliQuality).toBe(4);
  });

  it("names a file that is missing, and stops when asked to", async () => {
    await expect(measureSize([join(folder, "nothing")])).rejects.toMatchObject({ code: "bad-model" });
    const signal = AbortSignal.abort();
    await expect(measureSize([file("d", repetitive)], { signal })).rejects.toMatchObject({ code: "aborted" });
  });
});
