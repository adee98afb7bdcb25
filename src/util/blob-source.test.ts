/** @file Tests of reading from and writing to Blobs, as browsers do; FileReaderSync, which only workers have, is a stub. */
import { afterEach, describe, expect, it, vi } from "vitest";
import { bytesOfMessage, encode } from "../../test/wire.ts";
import { Graph } from "../ir/graph.ts";
import { Model } from "../ir/model.ts";
import { decodeModel } from "../ir/serde/decode-model.ts";
import { encodeModel } from "../ir/serde/encode-model.ts";
import { toBlob } from "../proto/write.ts";
import { float32 } from "../tensor/tensor.ts";
import { BlobSource, openBlob } from "./blob-source.ts";
import { MemorySource, SliceSource } from "./bytes.ts";

/** A Blob whose slices can be read at once, as the stub does; counts the bytes read. */
class FakeBlob {
  static bytesRead = 0;
  readonly bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  get size(): number {
    return this.bytes.length;
  }

  slice(from: number, to: number): FakeBlob {
    return new FakeBlob(this.bytes.subarray(from, to));
  }

  async arrayBuffer(): Promise<ArrayBufferLike> {
    return this.bytes.slice().buffer;
  }
}

class StubReader {
  readAsArrayBuffer(blob: FakeBlob): ArrayBufferLike {
    FakeBlob.bytesRead += blob.size;
    return blob.bytes.slice().buffer;
  }
}

const blobOf = (bytes: Uint8Array) => new FakeBlob(bytes) as unknown as Blob;
const weights = Float32Array.from({ length: 500_000 }, (_, i) => i);
function model(): Model {
  const built = new Model(new Graph("g"));
  built.opsetImports.set("", 21);
  built.graph.addInitializer("w", float32([weights.length], weights));
  return built;
}

afterEach(() => {
  vi.unstubAllGlobals();
  FakeBlob.bytesRead = 0;
});

describe("in a worker", () => {
  it("a model is decoded without reading its tensors", async () => {
    vi.stubGlobal("FileReaderSync", StubReader);
    const source = await openBlob(blobOf(encode(model())));
    const decoded = decodeModel(source);
    expect(FakeBlob.bytesRead).toBeLessThan(200_000);
    expect(decoded.graph.find("w")?.tensor?.toFloat32()).toEqual(weights);
  });

  it("a file that changed is an error", async () => {
    const reader = {
      readAsArrayBuffer: () => {
        throw new Error("NotReadableError");
      },
    };
    expect(() => new BlobSource(blobOf(new Uint8Array(9)), reader).read(0, 9)).toThrow(
      "can't be read (NotReadableError)",
    );
    const short = { readAsArrayBuffer: () => new ArrayBuffer(4) };
    expect(() => new BlobSource(blobOf(new Uint8Array(9)), short).read(0, 9)).toThrow("expected 9 bytes at 0, got 4");
  });
});

it("on a main thread the Blob is loaded whole", async () => {
  const source = await openBlob(new Blob([encode(model())]));
  expect(source).toBeInstanceOf(MemorySource);
  expect(decodeModel(source).graph.find("w")?.tensor?.toFloat32()).toEqual(weights);
});

describe("toBlob", () => {
  it("has the bytes that a file would have, computed tensors included", async () => {
    const built = model();
    const encoded = encodeModel(built).model;
    const blob = toBlob(encoded);
    expect(Buffer.compare(new Uint8Array(await blob.arrayBuffer()), bytesOfMessage(encoded))).toBe(0);
  });

  it("refers to ranges of the Blob that the model came from", async () => {
    const bytes = encode(model());
    const original = new Blob([bytes]);
    const slice = vi.spyOn(original, "slice");
    const reader = {
      readAsArrayBuffer: () => {
        throw new Error("read");
      },
    };
    const source = new BlobSource(original, reader);
    const message = {
      parts: [bytes.subarray(0, 50), new SliceSource(source, 50, bytes.length - 50)],
      byteLength: bytes.length,
    };
    expect(Buffer.compare(new Uint8Array(await toBlob(message).arrayBuffer()), bytes)).toBe(0);
    expect(slice).toHaveBeenCalledOnce();
  });
});
