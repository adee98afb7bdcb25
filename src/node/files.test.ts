/** @file Tests of model files on disk: external data in and out, what can't be read or written, and nothing half-written. */
import { execFileSync } from "node:child_process";
import {
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { bytesOfMessage, encode, fileOf } from "../../test/wire.ts";
import { Graph } from "../ir/graph.ts";
import { Model } from "../ir/model.ts";
import { encodeModel } from "../ir/serde/encode-model.ts";
import type { TensorProto } from "../proto/messages.ts";
import { float32, Tensor } from "../tensor/tensor.ts";
import type { ByteSource } from "../util/bytes.ts";
import { loadModel } from "./load.ts";
import { isSameFile, type SaveOptions, saveModel } from "./save.ts";

let folder: string;
const at = (name: string) => join(folder, name);
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tersor-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

/** A model of initializers w0, w1, … with these numbers of elements; element i of w<k> is k + i. */
function modelOf(...sizes: number[]): Model {
  const model = new Model(new Graph("g"));
  model.opsetImports.set("", 21);
  sizes.forEach((size, k) => {
    model.graph.addInitializer(
      `w${k}`,
      float32(
        [size],
        Float32Array.from({ length: size }, (_, i) => k + i),
      ),
    );
  });
  return model;
}

const contents = (model: Model) => model.graph.initializers.map((value) => [value.name, value.tensor?.toTypedArray()]);

/** A tensor of 4 MB whose data is computed when it is written. */
function computed(onChunk: (index: number) => void = () => {}): Tensor {
  const chunk = new Uint8Array(1 << 16).fill(1);
  const source: ByteSource = {
    byteLength: 1 << 22,
    read: () => {
      throw new Error("read whole");
    },
    *chunks() {
      for (let i = 0; i < 64; i++) {
        onChunk(i);
        yield chunk;
      }
    },
  };
  return new Tensor("uint8", [1 << 22], source);
}

describe("external data", () => {
  it("goes to one aligned file beside the model, and comes back", async () => {
    const model = modelOf(...new Array(300).fill(300), 2 ** 18, 5, 2 ** 18);
    const saved = await saveModel(model, at("m.onnx"), { external: "always" });
    expect(saved).toMatchObject({ path: at("m.onnx"), dataPaths: [at("m.onnx.data")] });
    expect(readdirSync(folder).sort()).toEqual(["m.onnx", "m.onnx.data"]);
    expect(saved.bytes).toBe(readFileSync(at("m.onnx")).length + readFileSync(at("m.onnx.data")).length);
    expect(contents(loadModel(at("m.onnx")))).toEqual(contents(model));
  });

  it("starts on a page when large, on a cache line when small; below 1 KB it stays inline", () => {
    const { model, data } = encodeModel(modelOf(300, 2 ** 18, 255, 256), { external: "always", location: "x.data" });
    const sizes = data[0]?.parts.map((part) => part.byteLength);
    expect(sizes).toEqual([1200, 4096 - 1200, 2 ** 20, 1024]);
    expect(Buffer.from(bytesOfMessage(model)).includes("x.data")).toBe(true);
  });

  it("goes to as many files as its limit asks for, a tensor in one", async () => {
    const model = modelOf(300, 1000, 300, 300);
    const saved = await saveModel(model, at("m.onnx"), { external: "always", dataSuffix: "_data", maxDataBytes: 2500 });
    expect(saved.dataPaths).toEqual(["m.onnx_data", "m.onnx_data_1", "m.onnx_data_2"].map(at));
    expect(saved.dataPaths.map((path) => readFileSync(path).length)).toEqual([1200, 4000, 2416]);
    expect(contents(loadModel(at("m.onnx")))).toEqual(contents(model));
  });

  it("holds bytes that tensors share once", () => {
    const model = modelOf(1000);
    const tensor = model.graph.initializers[0]?.tensor as Tensor;
    model.graph.addInitializer("twin", tensor);
    expect(encodeModel(model, { external: "always" }).data).toMatchObject([{ byteLength: 4000 }]);
  });

  it("is written by itself only above the limit", async () => {
    const model = modelOf(1000, 1000);
    expect((await saveModel(model, at("a.onnx"), { maxBytes: 10_000 })).dataPaths).toEqual([]);
    expect((await saveModel(model, at("b.onnx"), { maxBytes: 5_000 })).dataPaths).toEqual([at("b.onnx.data")]);
    await expect(saveModel(model, at("c.onnx"), { maxBytes: 5_000, external: "never" })).rejects.toThrow(
      /^model file: expected at most 5000 bytes, got 80\d\d. Let it write external data.$/,
    );
    await expect(saveModel(model, at("d.onnx"), { maxBytes: 50 })).rejects.toMatchObject({ code: "limit-exceeded" });
    expect(readdirSync(folder).sort()).toEqual(["a.onnx", "b.onnx", "b.onnx.data"]);
  });

  const external = (location: string, more: Record<string, string> = {}): Uint8Array => {
    const entries = Object.entries({ location, ...more }).map(([key, value]) => ({ key, value }));
    const tensor: TensorProto = { name: "w", dims: [4n], dataType: 2, dataLocation: 1, externalData: entries };
    return fileOf({ initializer: [tensor] });
  };
  const load = (bytes: Uint8Array) => {
    writeFileSync(at("m.onnx"), bytes);
    return loadModel(at("m.onnx"));
  };

  it("is found in a folder below, also when written in Windows' style, and through links", () => {
    mkdirSync(at("sub"));
    writeFileSync(at("sub/w.bin"), Uint8Array.of(9, 9, 1, 2, 3, 4));
    symlinkSync("sub/w.bin", at("link.bin"));
    for (const location of ["sub/w.bin", "sub\\w.bin", "./sub/../sub/w.bin", "link.bin"])
      expect([...(load(external(location, { offset: "2" })).graph.initializers[0]?.tensor?.toNumbers() ?? [])]).toEqual(
        [1, 2, 3, 4],
      );
  });

  const leaves = "path leaves the model's folder. Refusing to read it.";
  const refused: [string, Record<string, string>, string][] = [
    ["../../x", {}, leaves],
    ["sub/../../x", {}, leaves],
    ["..\\x", {}, leaves],
    ["..", {}, leaves],
    ["/etc/passwd", {}, leaves],
    ["C:\\x", {}, leaves],
    ["c:x", {}, leaves],
    ["\\\\server\\x", {}, leaves],
    ["a\0b", {}, "path holds a NUL"],
    ["", {}, "external data has no location"],
    ["missing.bin", {}, "missing.bin: no such file or folder"],
    [".", {}, "expected a file, got a folder"],
    ["w.bin", { offset: "3" }, "expected at least 7 bytes, got 6. The file is cut short or belongs to another model."],
    ["w.bin", { offset: "9007199254740991" }, "The file is cut short"],
    ["w.bin", { length: "5" }, "dims and data disagree: expected 4 bytes for uint8 [4], got 5"],
    ["w.bin", { offset: "-1" }, 'external data offset: expected a whole number, got "-1"'],
    ["w.bin", { offset: "0x1" }, 'external data offset: expected a whole number, got "0x1"'],
    ["w.bin", { length: "1e99" }, 'external data length: expected a whole number, got "1e99"'],
    ["w.bin", { length: "99999999999999999999" }, "expected a whole number"],
  ];
  it.each(refused)("at %j %j is refused", (location, more, message) => {
    writeFileSync(at("w.bin"), new Uint8Array(6));
    expect(() => load(external(location, more))).toThrow(message);
    expect(() => load(external(location, more))).toThrow(`${at("m.onnx")}: initializer "w": `);
  });
});

describe("a place that can't be read", () => {
  it.each([
    ["missing.onnx", "no such file or folder. Check the path."],
    ["", "expected a file, got a folder."],
    ["file/m.onnx", "a part of the path is a file, not a folder."],
    ["pipe", "expected a file, got a device, pipe or socket."],
  ])("%j", (name, message) => {
    writeFileSync(at("file"), "");
    execFileSync("mkfifo", [at("pipe")]);
    expect(() => loadModel(at(name))).toThrow(expect.objectContaining({ code: "bad-data" }));
    expect(() => loadModel(at(name))).toThrow(`${at(name)}: ${message}`);
  });

  it("a file that became shorter after it was opened", () => {
    writeFileSync(at("m.onnx"), encode(modelOf(5000)));
    const model = loadModel(at("m.onnx"));
    truncateSync(at("m.onnx"), 1000);
    expect(() => model.graph.initializers[0]?.tensor?.toNumbers()).toThrow("The file changed while it was read.");
  });
});

describe("saveModel", () => {
  const failing = async (path: string, options?: SaveOptions, model = modelOf(10)) => {
    const before = readdirSync(folder, { recursive: true });
    const error = await saveModel(model, path, options).then(
      () => expect.fail("saved"),
      (error: unknown) => error as Error,
    );
    expect(readdirSync(folder, { recursive: true }), "nothing left behind").toEqual(before);
    return error;
  };

  it.each([
    ["nowhere/m.onnx", "no such file or folder. Check the path."],
    ["file/m.onnx", "a part of the path is a file, not a folder."],
    ["folder", "expected a file or nothing there, got a folder or device."],
    [`${"n".repeat(300)}.onnx`, "the name is too long."],
  ])("to %s: one clear error", async (name, message) => {
    writeFileSync(at("file"), "");
    mkdirSync(at("folder"));
    const error = await failing(at(name));
    expect(error).toMatchObject({ code: "bad-data" });
    expect(error.message).toBe(`${at(name)}: can't be written: ${message}`);
  });

  it("does not begin when the place of the data file is taken by a folder", async () => {
    mkdirSync(at("m.onnx.data"));
    expect((await failing(at("m.onnx"), { external: "always" }, modelOf(1000))).message).toContain(
      "m.onnx.data: can't",
    );
  });

  it("says when the disk is full", async () => {
    const model = modelOf(10);
    model.graph.addInitializer(
      "w",
      computed((i) => {
        if (i === 8) throw Object.assign(new Error("write"), { code: "ENOSPC", syscall: "write" });
      }),
    );
    const error = await failing(at("m.onnx"), {}, model);
    expect(error.message).toBe(`${at("m.onnx")}: can't be written: the disk is full.`);
  });

  it("aborted before or on the way leaves nothing, not even a temporary file", async () => {
    expect(await failing(at("m.onnx"), { signal: AbortSignal.abort() })).toMatchObject({ code: "aborted" });
    const abort = new AbortController();
    const model = modelOf(10);
    model.graph.addInitializer(
      "w",
      computed((i) => {
        if (i === 60) abort.abort();
      }),
    );
    writeFileSync(at("m.onnx"), "old");
    expect(await failing(at("m.onnx"), { signal: abort.signal }, model)).toMatchObject({ code: "aborted" });
    expect(readFileSync(at("m.onnx"), "utf8")).toBe("old");
  });

  it("an error of a tensor's computation is passed on, and nothing is left", async () => {
    const model = modelOf(10);
    model.graph.addInitializer(
      "w",
      computed((i) => {
        if (i === 3) throw new RangeError("no");
      }),
    );
    expect(await failing(at("m.onnx"), {}, model)).toBeInstanceOf(RangeError);
  });

  it("streams computed tensors and reports progress up to the size of the file", async () => {
    const model = modelOf(10);
    model.graph.addInitializer("w", computed());
    const seen: [number, number][] = [];
    const { bytes } = await saveModel(model, at("m.onnx"), { onProgress: (...now) => seen.push(now) });
    expect(seen.at(-1)).toEqual([bytes, bytes]);
    expect(seen.length).toBeGreaterThan(10);
    expect(readFileSync(at("m.onnx")).length).toBe(bytes);
  });

  it.each(["never", "always"] as const)(
    "over the file that the model is read from (external data: %s)",
    async (external) => {
      await saveModel(modelOf(5000, 3000), at("m.onnx"), { external });
      const model = loadModel(at("m.onnx"));
      const expected = contents(modelOf(5000, 3000));
      model.graph.addInitializer("new", float32([1], [1]));
      await saveModel(model, at("m.onnx"), { external });
      expect(contents(loadModel(at("m.onnx"))).slice(0, 2)).toEqual(expected);
      expect(contents(model).slice(0, 2), "the loaded model still reads the old file").toEqual(expected);
    },
  );

  it("side by side to one path: either is whole", async () => {
    await Promise.all([1000, 2000, 3000].map((size) => saveModel(modelOf(size), at("m.onnx"))));
    expect([1000, 2000, 3000]).toContain(loadModel(at("m.onnx")).graph.initializers[0]?.tensor?.size);
    expect(readdirSync(folder)).toEqual(["m.onnx"]);
  });
});

describe("isSameFile", () => {
  it("sees through links, and needs both to exist", () => {
    for (const name of ["a", "b"]) writeFileSync(at(name), "same");
    linkSync(at("a"), at("hard"));
    symlinkSync("a", at("soft"));
    expect(["a", "hard", "soft", "b", "missing"].filter((name) => isSameFile(at("a"), at(name)))).toEqual([
      "a",
      "hard",
      "soft",
    ]);
    expect(isSameFile(at("missing"), at("missing"))).toBe(false);
  });
});
