import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { tinyTokenizer } from "../../../test/tiny-tokenizer.ts";
import { hostTensor } from "../../tensor/host-tensor.ts";
import { collect, skippedSamples } from "../dataset.ts";
import type { InputInfo } from "../fit-input.ts";
import { encodeNpy, encodeNpz } from "../npy.ts";
import { type DataSpec, openData } from "./open-data.ts";

const folder = mkdtempSync(join(tmpdir(), "tersor-data-"));
afterAll(() => rmSync(folder, { recursive: true }));

function write(path: string, content: string | Uint8Array): string {
  mkdirSync(dirname(join(folder, path)), { recursive: true });
  writeFileSync(join(folder, path), content);
  return path;
}

/** A picture of 4×2: the left half one colour, the right half another. */
async function picture(path: string, left: readonly number[], right: readonly number[]): Promise<void> {
  const row = [left, left, right, right].flat();
  const raw = { width: 4, height: 2, channels: 3 } as const;
  write(
    path,
    await sharp(Uint8Array.from([...row, ...row]), { raw })
      .png()
      .toBuffer(),
  );
}

const open = (spec: DataSpec, inputs: readonly InputInfo[]) => openData(spec, { inputs, folder });
const samples = async (spec: DataSpec, inputs: readonly InputInfo[]) => collect(await open(spec, inputs));
const failure = (spec: DataSpec, inputs: readonly InputInfo[]) =>
  samples(spec, inputs).then(
    () => "no error",
    (error: Error & { code?: string }) => `${error.code} ${error.message}`,
  );

const vector: InputInfo = { name: "x", dtype: "float32", dims: ["N", 2] };
const image = (...dims: InputInfo["dims"]): InputInfo => ({ name: "x", dtype: "float32", dims });

describe("images", () => {
  const red = [255, 0, 0];
  const blue = [0, 0, 255];
  beforeAll(async () => {
    await picture("pets/dog/1.png", red, red);
    await picture("pets/cat/2.png", red, blue);
    await picture("lines/images/a.png", blue, blue);
    write("lines/labels.json", '["hello"]');
  });

  it("are labelled by sub-folders in order of name, or of the given classes", async () => {
    const read = await samples("pets", [image("N", 3, 2, 4)]);
    expect(read.map(({ id, label }) => [id, label])).toEqual([
      ["cat/2.png", 0],
      ["dog/1.png", 1],
    ]);
    expect(read[0]?.inputs.x).toEqual(
      hostTensor("float32", [1, 3, 2, 4], [1, 1, 0, 0, 1, 1, 0, 0, ...Array(8).fill(0), 0, 0, 1, 1, 0, 0, 1, 1]),
    );
    const classes = ["bird", "dog", "cat"];
    expect((await samples({ path: "pets", classes }, [image("N", 3, 2, 4)])).map(({ label }) => label)).toEqual([2, 1]);
    expect(await failure({ path: "pets", classes: ["dog"] }, [image("N", 3, 2, 4)])).toMatch(
      /^bad-data .*sub-folder "cat": label out of range/,
    );
  });

  it("are parted by skip and take, and skip leaves something", async () => {
    const [first, second] = await samples("pets", [image("N", 3, 2, 4)]);
    const inputs = [image("N", 3, 2, 4)];
    expect(await samples({ path: "pets", skip: 1 }, inputs)).toEqual([second]);
    expect(await samples({ path: "pets", take: 1 }, inputs)).toEqual([first]);
    expect(await failure({ path: "pets", skip: 2 }, inputs)).toBe(
      'bad-data data "pets": nothing is left behind skip: expected less than its 2 samples, got 2.',
    );
  });

  it("follow the layout, colour order, scale, mean and std", async () => {
    const options = { path: "pets", take: 1, layout: "nhwc", colour: "bgr", scale: 1, mean: [0, 1, 55], std: 2 };
    const [read] = await samples(options, [image(1, "H", "W", 3)]);
    expect(read?.inputs.x?.dims).toEqual([1, 2, 4, 3]);
    expect(Array.from(read?.inputs.x?.data.slice(0, 3) as Float32Array)).toEqual([0, -0.5, 100]);
  });

  it("give bytes to a model of bytes, and grey to one of one channel", async () => {
    const [bytes] = await samples("lines", [{ name: "x", dtype: "uint8", dims: [1, 2, 4, 3] }]);
    expect(bytes).toMatchObject({ id: "images/a.png", label: "hello" });
    expect(Array.from(bytes?.inputs.x?.data.slice(0, 3) as Uint8Array)).toEqual(blue);
    const [grey] = await samples("lines", [image(1, 1, 2, 4)]);
    const [copied] = await samples({ path: "lines/images", colour: "grey" }, [image(1, 3, 2, 4)]);
    const once = Array.from(grey?.inputs.x?.data as Float32Array);
    expect(once).toHaveLength(8);
    expect(Array.from(copied?.inputs.x?.data as Float32Array)).toEqual([...once, ...once, ...once]);
    expect(copied?.label).toBe("hello");
  });

  it("of colours become grey as PIL makes them, from every kind of file", async () => {
    const colours = Array.from({ length: 16 }, (_, i) => [(i * 97) % 256, (i * 57 + 11) % 256, 255 - i * 13]);
    const luma = colours.map(([r = 0, g = 0, b = 0]) => (r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16);
    const raw = { width: 4, height: 4, channels: 3 } as const;
    const made = sharp(Uint8Array.from(colours.flat()), { raw });
    const few = colours.map((_, i) => (i % 2 ? [200, 30, 60] : [10, 180, 240]));
    write("luma/rgb.png", await made.clone().png().toBuffer());
    write("luma/rgba.png", await made.clone().ensureAlpha(0.3).png().toBuffer());
    write("luma/rgb.tiff", await made.clone().tiff({ compression: "lzw" }).toBuffer());
    write("luma/wide.png", await made.clone().toColourspace("rgb16").png().toBuffer());
    write("luma/palette.png", await sharp(Uint8Array.from(few.flat()), { raw }).png({ palette: true }).toBuffer());
    const read = await samples("luma", [{ name: "x", dtype: "uint8", dims: [1, 1, 4, 4] }]);
    const values = Object.fromEntries(read.map(({ id, inputs }) => [id, Array.from(inputs.x?.data as Uint8Array)]));
    const ofFew = few.map(([r = 0, g = 0, b = 0]) => (r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16);
    expect(values).toEqual({
      "palette.png": ofFew,
      "rgb.png": luma,
      "rgb.tiff": luma,
      "rgba.png": luma,
      "wide.png": luma,
    });
    const [copied] = await samples({ path: "luma/rgb.png", colour: "grey" }, [
      { name: "x", dtype: "uint8", dims: [1, 3, 4, 4] },
    ]);
    expect(Array.from(copied?.inputs.x?.data as Uint8Array)).toEqual([...luma, ...luma, ...luma]);
  });

  it("that are grey already keep their values", async () => {
    const levels = Uint8Array.from({ length: 16 }, (_, i) => i * 17);
    const grey = sharp(levels, { raw: { width: 4, height: 4, channels: 1 } }).toColourspace("b-w");
    write("levels/grey.png", await grey.clone().png().toBuffer());
    write("levels/wide.png", await grey.clone().toColourspace("grey16").png().toBuffer());
    const twice = Array.from(levels).flatMap((level) => [level, level, level]);
    write(
      "levels/equal.png",
      await sharp(Uint8Array.from(twice), { raw: { width: 4, height: 4, channels: 3 } })
        .png()
        .toBuffer(),
    );
    for (const { inputs } of await samples("levels", [{ name: "x", dtype: "uint8", dims: [1, 1, 4, 4] }]))
      expect(Array.from(inputs.x?.data as Uint8Array)).toEqual(Array.from(levels));
  });

  it("in sub-folders of which one is empty have no classes, until they are named", async () => {
    await picture("holes/b/1.png", red, red);
    await picture("holes/c/2.png", blue, blue);
    mkdirSync(join(folder, "holes/a"), { recursive: true });
    const inputs = [image("N", 3, 2, 4)];
    expect(await failure("holes", inputs)).toMatch(
      /^bad-data .*holes: sub-folder "a": a class without images: expected/,
    );
    const named = await samples({ path: "holes", classes: ["a", "b", "c"] }, inputs);
    expect(named.map(({ label }) => label)).toEqual([1, 2]);
    write("holes/a/readme.md", "nothing");
    expect(await failure("holes", inputs)).toMatch(/sub-folder "a": a class without images/);
    write("holes/labels.json", "[5, 6]");
    expect((await samples("holes", inputs)).map(({ label }) => label)).toEqual([5, 6]);
  });

  it("say which sub-folder has which number", async () => {
    const data = await open({ path: "pets", take: 1 }, [image("N", 3, 2, 4)]);
    expect(data.classes).toEqual(["cat", "dog"]);
    expect((await open("lines", [image("N", 3, 2, 4)])).classes).toBeUndefined();
    const named = await open({ path: "pets", classes: ["dog", "cat"] }, [image("N", 3, 2, 4)]);
    expect(named.classes).toBeUndefined();
  });

  it.each([
    ["to the model's size", {}, [1, 3, 6, 6], [6, 6]],
    ["to the model's height, keeping the aspect", {}, ["N", 3, 4, "W"], [4, 8]],
    ["to a size", { resize: [3, 5] }, ["N", 3, "H", "W"], [5, 3]],
    ["by the shortest side", { resize: { shortest: 4 } }, ["N", 3, "H", "W"], [4, 8]],
    ["then cropped", { resize: { shortest: 4 }, crop: [4, 4] }, ["N", 3, 4, 4], [4, 4]],
    ["not at all", {}, ["N", 3, "H", "W"], [2, 4]],
  ])("are resized %s", async (_, options, dims, size) => {
    const [read] = await samples({ path: "pets", ...options }, [image(...dims)]);
    expect(read?.inputs.x?.dims).toEqual([1, 3, ...size]);
  });

  it("take the middle when cropped", async () => {
    const [read] = await samples({ path: "pets", crop: [2, 2] }, [image(1, 3, 2, 2)]);
    expect(Array.from(read?.inputs.x?.data.slice(0, 4) as Float32Array)).toEqual([1, 0, 1, 0]);
  });

  it.each([
    ["list.csv", "file,label\na.png,7\n", 7],
    ["list.txt", "a.png some text\n", "some text"],
    ["byname.json", '{"images/a.png": "x"}', "x"],
  ])("are labelled by %s", async (name, content, label) => {
    write(name, content);
    expect((await samples({ path: "lines", labels: name }, [image(1, 3, 2, 4)]))[0]?.label).toBe(label);
  });

  it("that are corrupt are named, or left out and counted", async () => {
    write("pets-bad/cat/bad.png", "not a picture");
    await picture("pets-bad/cat/good.png", red, red);
    const inputs = [image(1, 3, 2, 4)];
    expect(await failure("pets-bad", inputs)).toMatch(/^bad-data .*bad\.png: not a readable image: /);
    const data = await open({ path: "pets-bad", skipBad: true }, inputs);
    expect((await collect(data)).map(({ id }) => id)).toEqual(["cat/good.png"]);
    expect([...(data.skipped?.keys() ?? [])]).toEqual(["cat/bad.png"]);
  });

  it("say what is wrong with a folder", async () => {
    mkdirSync(join(folder, "empty"));
    expect(await failure("empty", [image(1, 3, 2, 4)])).toMatch(/^bad-data .*empty: no images/);
    expect(await failure("nowhere", [image(1, 3, 2, 4)])).toMatch(/nowhere: cannot be read: there is no such file/);
    expect(await failure("pets", [vector])).toMatch(/input "x" is not an image: .* got float32 \[N, 2\]/);
    write("two.json", '["a", "b"]');
    expect(await failure({ path: "lines", labels: "two.json" }, [image(1, 3, 2, 4)])).toMatch(
      /expected one for each of 1 images, .* got 2/,
    );
    expect(await failure({ path: "pets", crop: [9, 9] }, [image(1, 3, 9, 9)])).toMatch(/smaller than the crop/);
  });
});

describe("arrays", () => {
  const x = hostTensor("float64", [3, 2], [1, 2, 3, 4, 5, 6]);

  it("come from .npy, row by row, in the model's type", async () => {
    write("x.npy", encodeNpy(x));
    write("y.npy", encodeNpy(hostTensor("uint8", [3], [7, 8, 9])));
    expect((await samples({ path: "x.npy", labels: "y.npy" }, [vector]))[1]).toEqual({
      id: "x.npy#1",
      inputs: { x: hostTensor("float32", [1, 2], [3, 4]) },
      label: 8,
    });
  });

  it("come from .npz by name, with labels, normalization and layout", async () => {
    const arrays = { x: hostTensor("uint8", [1, 1, 2, 3], [0, 1, 2, 3, 4, 5]), y: hostTensor("int64", [1], [1]) };
    write("a.npz", encodeNpz(arrays, { compress: true }));
    const options = { path: "a.npz", stored: "nhwc", layout: "nchw", scale: 2, classes: ["no", "yes"] };
    const [read] = await samples(options, [image("N", 3, 1, 2)]);
    expect(read).toMatchObject({ inputs: { x: hostTensor("float32", [1, 3, 1, 2], [0, 6, 2, 8, 4, 10]) }, label: 1 });
    const two = [image("N", 1, 2, 3), { ...vector, name: "z" }];
    expect(await failure("a.npz", two)).toMatch(/wrong arrays: expected one for each input \(x, z\), got x/);
    expect(await failure({ path: "a.npz", labels: "t" }, [vector])).toMatch(/no array of labels "t": it holds x, y/);
  });

  it("come from raw files with options, a header beside them, or a file of options", async () => {
    write("raw/x.bin", Uint8Array.of(99, 10, 20, 30, 40));
    write("raw/y.bin", Uint8Array.of(1, 0));
    const header = {
      dtype: "uint8",
      dims: [2],
      offset: 1,
      zeroPoint: 10,
      scale: 0.1,
      labels: { path: "y.bin", dtype: "uint8" },
    };
    const wanted = [
      { inputs: { x: hostTensor("float32", [1, 2], [0, 1]) }, label: 1 },
      { inputs: { x: hostTensor("float32", [1, 2], [2, 3]) }, label: 0 },
    ];
    const inline = { ...header, path: "raw/x.bin", labels: { path: "raw/y.bin", dtype: "uint8" } };
    expect(await samples(inline, [vector])).toMatchObject(wanted);
    expect(await samples(JSON.stringify(inline), [vector])).toMatchObject(wanted);
    write("raw/data.json", JSON.stringify({ path: "x.bin", ...header }));
    expect(await samples("raw/data.json", [vector])).toMatchObject(wanted);
    write("raw/x.bin.json", JSON.stringify(header));
    expect(await samples("raw/x.bin", [vector])).toMatchObject(wanted);
  });

  it("come from several raw files", async () => {
    write("a.bin", Uint8Array.of(1, 2));
    write("b.bin", Uint8Array.of(3, 4));
    const more = [{ path: "b.bin", input: "b", dtype: "uint8", dims: [] }];
    const scalars = ["a", "b"].map((name): InputInfo => ({ name, dtype: "uint8", dims: ["N"] }));
    const [, second] = await samples({ path: "a.bin", dtype: "uint8", input: "a", more }, scalars);
    expect(second?.inputs).toEqual({ a: hostTensor("uint8", [1], [2]), b: hostTensor("uint8", [1], [4]) });
  });

  it("become next-token windows", async () => {
    write("t.bin", new Uint8Array(Int16Array.of(1, 5, 6, 1, 7, -1).buffer));
    const ids: InputInfo = { name: "input_ids", dtype: "int64", dims: ["B", "T"] };
    const read = await samples({ path: "t.bin", dtype: "int16", dims: [3], nextToken: { padding: -1 } }, [ids]);
    expect(read.map(({ inputs, label }) => [inputs.input_ids, label])).toEqual([
      [hostTensor("int64", [1, 2], [1, 5]), hostTensor("int64", [1, 2], [5, 6])],
      [hostTensor("int64", [1, 2], [1, 7]), hostTensor("int64", [1, 2], [7, -1])],
    ]);
  });

  it("say what does not fit", async () => {
    write("five.bin", Uint8Array.of(1, 2, 3, 4, 5));
    const two = { path: "five.bin", dtype: "uint8", dims: [2] };
    expect(await failure(two, [vector])).toMatch(
      /five.bin: wrong length: expected a whole number of rows of 2 bytes .* got 5/,
    );
    expect(await failure({ ...two, dims: [1], labels: { path: "a.bin", dtype: "uint8" } }, [vector])).toMatch(
      /a.bin: wrong number of rows: expected 5 as in five.bin, got 2/,
    );
    expect(await failure({ ...two, dims: [5] }, [vector])).toMatch(
      /five.bin#0: input "x": wrong shape: expected float32 \[N, 2\], got uint8 \[5\]/,
    );
    write("none.bin", "");
    expect(await failure({ ...two, path: "none.bin" }, [vector])).toMatch(/none.bin: holds no samples/);
  });
});

describe("JSON lines", () => {
  it("hold inputs and labels", async () => {
    write("a.jsonl", '{"inputs": {"x": [1, 2]}, "label": "b"}\n\n{"id": "me", "inputs": {"x": [3, 4]}}\n');
    expect(await samples({ path: "a.jsonl", classes: ["a", "b"] }, [vector])).toEqual([
      { id: "a.jsonl:1", inputs: { x: hostTensor("float32", [1, 2], [1, 2]) }, label: 1 },
      { id: "me", inputs: { x: hostTensor("float32", [1, 2], [3, 4]) } },
    ]);
  });

  it.each([
    ["no JSON", "{", /:1: not readable as JSON/],
    ["a wrong key", '{"inputs": {}, "lable": 1}', /:1: unknown option "lable"/],
    ["a wrong shape", '{"inputs": {"x": [1]}}', /:1: input "x": wrong shape/],
    ["text without a tokenizer", '{"text": "hi"}', /:1: text needs a tokenizer/],
  ])("refuse %s", async (_, line, message) => {
    write("bad.jsonl", line);
    expect(await failure("bad.jsonl", [vector])).toMatch(message);
  });
});

describe("texts", () => {
  const ids: InputInfo = { name: "input_ids", dtype: "int64", dims: ["B", "T"] };
  const wanted = hostTensor("int64", [1, 4], [2, 4, 5, 3]);
  const tokenizer = "tokenizer.json";
  beforeAll(() => void write(tokenizer, tinyTokenizer));

  it.each([
    ["two columns", "a.tsv", "the cat\t1\n", {}],
    ["columns by number", "b.csv", 'yes,"the cat"\n', { textColumn: 1, labelColumn: 0, classes: ["no", "yes"] }],
    ["columns by name", "c.csv", "score,text\n1,the cat\n", { textColumn: "text", labelColumn: "score" }],
    ["JSON lines", "d.jsonl", '{"text": "the cat", "label": 1}', {}],
  ])("come from %s", async (_, path, content, options) => {
    write(path, content);
    const [read] = await samples({ path, tokenizer, ...options }, [ids]);
    expect(read).toMatchObject({ inputs: { input_ids: wanted }, label: 1 });
  });

  it("come from lines, or in windows", async () => {
    write("t.txt", "the cat\nsat\n");
    expect((await samples({ path: "t.txt", tokenizer }, [ids]))[0]?.inputs.input_ids).toEqual(wanted);
    const [first] = await samples({ path: "t.txt", tokenizer, window: 3 }, [ids]);
    expect(first?.label).toEqual(hostTensor("int64", [1, 3], [4, 5, 6]));
  });

  it("say what is missing", async () => {
    write("e.csv", "text,label\nthe,1\n");
    expect(await failure("e.csv", [ids])).toMatch(/text needs a tokenizer/);
    expect(await failure({ path: "e.csv", tokenizer, labelColumn: "score" }, [ids])).toMatch(
      /has no column "score": expected one of text, label/,
    );
    expect(await failure({ path: "e.csv", tokenizer, labelColumn: 5 }, [ids])).toMatch(/record 1: no column 5/);
  });
});

describe("modules", () => {
  it.each([
    ["a function", "export default async function* () { yield { inputs: { x: [1, 2] }, label: 0 } }"],
    ["a function of the inputs", "export default ({ inputs }) => [{ inputs: { [inputs[0].name]: [1, 2] }, label: 0 }]"],
    ["an array", "export default [{ inputs: { x: new Float32Array([1, 2]) }, label: 0 }]"],
  ])("give samples by %s, again and again", async (name, code) => {
    const path = write(`${name.replaceAll(" ", "-")}.mjs`, code);
    const data = await open(path, [vector]);
    const read = await collect(data);
    expect(read).toEqual([{ id: `${path}#0`, inputs: { x: hostTensor("float32", [1, 2], [1, 2]) }, label: 0 }]);
    expect(await collect(data)).toEqual(read);
  });

  it.each([
    ["a number", "export default 1", /no samples: .* got a value of type number/],
    ["a function that gives nothing", "export default () => {}", /returns something else/],
    ["no samples", "export default []", /gave 0 samples/],
    ["something else", "export default [1]", /#0: expected a sample/],
    ["a syntax error", "export default {", /cannot be loaded/],
  ])("that export %s are refused", async (name, code, message) => {
    expect(await failure(write(`bad-${name.replaceAll(" ", "-")}.mjs`, code), [vector])).toMatch(message);
  });

  it("that export a generator that has run are refused the second time", async () => {
    write("once.mjs", "export default (function* () { yield { inputs: { x: [1, 2] } } })()");
    const data = await open("once.mjs", [vector]);
    await collect(data);
    await expect(collect(data)).rejects.toThrowError("Give the generator function itself");
  });
});

describe("options", () => {
  it("that are wrong are named", async () => {
    write("x.npy", encodeNpy(hostTensor("float32", [1, 2], [1, 2])));
    expect(await failure({ path: "x.npy", resize: [1, 1] }, [vector])).toMatch(
      /data "x.npy" \(npy\): unknown option "resize"/,
    );
    expect(await failure({ path: "x.npy", take: 0 }, [vector])).toMatch(/"take"/);
    expect(await failure({}, [vector])).toMatch(/"path"/);
    expect(await failure("{", [vector])).toMatch(/not readable as JSON/);
    write("x.xyz", "");
    expect(await failure("x.xyz", [vector])).toMatch(/unknown format: expected a folder of images or of .wav files/);
  });

  it("shuffle, then take", async () => {
    write(
      "ten.npy",
      encodeNpy(
        hostTensor(
          "float32",
          [10, 2],
          Array.from({ length: 20 }, (_, i) => i),
        ),
      ),
    );
    const ids = async (spec: DataSpec) => (await samples(spec, [vector])).map(({ id }) => id);
    const four = await ids({ path: "ten.npy", shuffle: true, seed: 3, take: 4 });
    expect(four).toHaveLength(4);
    expect(four).toEqual((await ids({ path: "ten.npy", shuffle: true, seed: 3 })).slice(0, 4));
    expect(four).not.toEqual(await ids({ path: "ten.npy", take: 4 }));
  });
});

describe("unreadable samples are left out and named", () => {
  const number: InputInfo = { name: "x", dtype: "int64", dims: ["N", 1] };
  const three: InputInfo = { name: "input_ids", dtype: "int64", dims: ["N", 3] };
  const values = hostTensor("float32", [3, 1], [1, 1.5, 2]);
  const raw = new Uint8Array(Float32Array.of(1, 1.5, 2).buffer);
  write("skip/tokenizer.json", tinyTokenizer);
  const tokenizer = "skip/tokenizer.json";

  it.each<[string, string | Uint8Array, InputInfo, Record<string, unknown>, string]>([
    ["s.npy", encodeNpy(values), number, {}, "s.npy#1"],
    ["s.npz", encodeNpz({ x: values }), number, {}, "s.npz#1"],
    ["s.bin", raw, number, { dtype: "float32", dims: [1] }, "s.bin#1"],
    ["s.jsonl", '{"inputs": {"x": [1]}}\nnonsense\n{"inputs": {"x": [2]}}', number, {}, "s.jsonl:2"],
    ["s.csv", "label,text\n1,the\n2\n3,cat\n", three, { tokenizer, textColumn: "text" }, "s.csv#1"],
    ["s.tsv", "the\nthe cat\ncat\n", three, { tokenizer, header: false }, "s.tsv#1"],
    ["s.txt", "the\nthe cat\ncat\n", three, { tokenizer }, "s.txt#1"],
    ["w.txt", "the cat sat on the cat the", three, { tokenizer, window: 3 }, "w.txt#2"],
    ["s.mjs", "export default [[1], [1.5], [2]].map((x) => ({ inputs: { x } }));", number, {}, "s.mjs#1"],
  ])("in %s", async (name, content, input, options, bad) => {
    const path = write(`skip/${name}`, content);
    expect(await failure({ path, ...options }, [input])).toMatch(/^bad-data /);
    const data = await open({ path, ...options, skipBad: true }, [input]);
    expect(await collect(data)).toHaveLength(2);
    expect(skippedSamples(data)).toEqual([{ id: bad, reason: expect.stringContaining(name) }]);
  });
});
