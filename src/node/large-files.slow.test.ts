/** @file Tests of files above 2 GB, made sparse so that they take no room: read lazily, offsets beyond 32 bits. */
import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { fileOf, varint } from "../../test/wire.ts";
import type { Model } from "../ir/model.ts";
import { encodeModel } from "../ir/serde/encode-model.ts";
import { loadModel } from "./load.ts";

const GB = 2 ** 30;
let folder: string;
const at = (name: string) => join(folder, name);
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tersor-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

/** Writes pieces at their places; what lies between is a hole. */
function writeSparse(path: string, size: number, pieces: readonly (readonly [at: number, bytes: Uint8Array])[]): void {
  const fd = openSync(path, "w");
  ftruncateSync(fd, size);
  for (const [position, bytes] of pieces) writeSync(fd, bytes, 0, bytes.length, position);
  closeSync(fd);
}

function loadsInLittleMemory(): Model {
  const before = process.memoryUsage.rss();
  const model = loadModel(at("m.onnx"));
  expect(process.memoryUsage.rss() - before).toBeLessThan(100 * 2 ** 20);
  return model;
}

const lastBytes = (model: Model, name: string) => {
  const bytes = model.graph.find(name)?.tensor?.bytes;
  return [...(bytes?.read(bytes.byteLength - 4, 4) ?? [])];
};
const tag = (field: number, length: number) => Uint8Array.from([...varint(field * 8 + 2), ...varint(length)]);
const concat = (...parts: Uint8Array[]) => Uint8Array.from(parts.flatMap((part) => [...part]));

describe("files above 2 GB", () => {
  it.each([3, 6])("a model file with %d GB of raw_data, and another tensor behind it", (gigabytes) => {
    const size = gigabytes * GB;
    const text = (value: string) => concat(tag(8, value.length), new TextEncoder().encode(value));
    const dims = Uint8Array.from([8, ...varint(size), 16, 2]);
    const rawHead = tag(9, size);
    const tensorLength = dims.length + text("w").length + rawHead.length + size;
    const small = concat(Uint8Array.from([8, 4, 16, 2]), text("after"), tag(9, 4), Uint8Array.of(9, 8, 7, 6));
    const behind = concat(tag(5, small.length), small);
    const tensorHead = tag(5, tensorLength);
    const graphHead = tag(7, tensorHead.length + tensorLength + behind.length);
    const head = concat(Uint8Array.of(8, 10), graphHead, tensorHead, dims, text("w"), rawHead);
    const end = head.length + size;
    writeSparse(at("m.onnx"), end + behind.length, [
      [0, head],
      [end - 4, Uint8Array.of(1, 2, 3, 4)],
      [end, behind],
    ]);
    const model = loadsInLittleMemory();
    expect(model.graph.find("w")?.tensor?.dims).toEqual([size]);
    expect(lastBytes(model, "w")).toEqual([1, 2, 3, 4]);
    expect(lastBytes(model, "after")).toEqual([9, 8, 7, 6]);
    const encoded = encodeModel(model);
    expect(encoded.model.byteLength, "by itself, what is too large for one file gets another").toBeLessThan(200);
    expect(encoded.data[0]?.byteLength).toBe(size);
  });

  it("external data beyond 2^32", () => {
    const offset = 5 * GB;
    writeSparse(at("m.data"), offset + 100, [[offset + 96, Uint8Array.of(4, 3, 2, 1)]]);
    const externalData = [
      { key: "location", value: "m.data" },
      { key: "offset", value: String(offset) },
    ];
    writeFileSync(
      at("m.onnx"),
      fileOf({ initializer: [{ name: "w", dims: [100n], dataType: 2, dataLocation: 1, externalData }] }),
    );
    expect(lastBytes(loadsInLittleMemory(), "w")).toEqual([4, 3, 2, 1]);
  });
});
