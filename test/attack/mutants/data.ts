/** @file Samples in every format that are mutated, each with a model that takes them, and ways to damage a file. */
import sharp from "sharp";
import { encodeNpy, encodeNpz } from "../../../src/data/npy.ts";
import { encodeWave } from "../../../src/data/wave.ts";
import { parse } from "../../../src/ir/text/index.ts";
import { hostTensor } from "../../../src/tensor/host-tensor.ts";
import { float32 } from "../../../src/tensor/tensor.ts";
import { Rng } from "../../../src/util/rng.ts";
import { tinyTokenizer } from "../../tiny-tokenizer.ts";
import { encode } from "../../wire.ts";
import { type Bytewise, bytewise } from "./mutations.ts";
import { pick } from "./parts.ts";

/** Files by their path; the one that is damaged first. */
export interface DataSubject {
  readonly files: Readonly<Record<string, Uint8Array>>;
  readonly model: Uint8Array;
  /** What follows `--data`. */
  readonly data: readonly string[];
}

const rng = new Rng(29, "data");
const floats = (count: number) => Float32Array.from({ length: count }, () => rng.normal());
const text = (value: string) => new TextEncoder().encode(value);

const ROWS = 6;
const rows = encode(parse`<ir_version: 10, opset_import: ["": 21]> g (float[N,8] x) => (float[N,4] y)
  <float[8,4] w = ${float32([8, 4], floats(32))}> { y = MatMul(x, w) }`);
const pictures = encode(parse`<ir_version: 10, opset_import: ["": 21]> g (float[N,3,8,8] x) => (float[N,3] y)
  <int64[2] axes = {2, 3}> { y = ReduceMean<keepdims = 0>(x, axes) }`);
const sounds = encode(parse`<ir_version: 10, opset_import: ["": 21]> g (float[N,T,8] x) => (float[N,8] y)
  <int64[1] axes = {1}> { y = ReduceMean<keepdims = 0>(x, axes) }`);
const words = encode(parse`<ir_version: 10, opset_import: ["": 21]> g (int64[N,T] input_ids) => (float[N,T,4] y)
  <float[7,4] w = ${float32([7, 4], floats(28))}> { y = Gather(w, input_ids) }`);

const table = hostTensor("float32", [ROWS, 8], floats(ROWS * 8));
const labels = hostTensor(
  "int64",
  [ROWS],
  Array.from({ length: ROWS }, (_, i) => i % 4),
);
const lines = Array.from({ length: ROWS }, (_, i) => `{"inputs": {"x": [${floats(8).join(", ")}]}, "label": ${i % 4}}`);
const sentences = ["the cat sat", "sat, the", "cat"];
const pixels = sharp(Buffer.from(Array.from({ length: 3 * 10 * 12 }, () => rng.int(256))), {
  raw: { width: 10, height: 12, channels: 3 },
});
const wave = encodeWave({ sampleRate: 8000, samples: floats(900).map((x) => x / 8) });
const withOptions = (path: string, options: object) => [path, "--data-options", JSON.stringify(options)];
const tokenizer = { "tokenizer.json": text(tinyTokenizer) };
const rawHeader = { dtype: "float32", dims: [8], labels: { path: "labels.bin", dtype: "uint8" } };

const image = (name: string, bytes: Uint8Array): DataSubject => ({
  files: { [`images/1/${name}`]: bytes, "images/0/other.png": png },
  model: pictures,
  data: ["images"],
});
const png = await pixels.clone().png().toBuffer();

export const dataSubjects: Readonly<Record<string, DataSubject>> = {
  npy: { files: { "d.npy": encodeNpy(table) }, model: rows, data: ["d.npy"] },
  "npy labels": {
    files: { "labels.npy": encodeNpy(labels), "d.npy": encodeNpy(table) },
    model: rows,
    data: withOptions("d.npy", { labels: "labels.npy" }),
  },
  npz: { files: { "d.npz": encodeNpz({ x: table, labels }) }, model: rows, data: ["d.npz"] },
  "npz, deflated": {
    files: { "d.npz": encodeNpz({ x: table, labels }, { compress: true }) },
    model: rows,
    data: ["d.npz"],
  },
  jsonl: { files: { "d.jsonl": text(lines.join("\n")) }, model: rows, data: ["d.jsonl"] },
  csv: {
    files: { "d.csv": text(`text,label\n${sentences.map((s, i) => `"${s}",${i}`).join("\n")}`), ...tokenizer },
    model: words,
    data: withOptions("d.csv", { textColumn: "text", labelColumn: "label", tokenizer: "tokenizer.json" }),
  },
  tsv: {
    files: { "d.tsv": text(sentences.map((s, i) => `${s}\t${i}`).join("\n")), ...tokenizer },
    model: words,
    data: withOptions("d.tsv", { textColumn: 0, labelColumn: 1, tokenizer: "tokenizer.json" }),
  },
  "lines of text": {
    files: { "d.txt": text(sentences.join("\n")), ...tokenizer },
    model: words,
    data: withOptions("d.txt", { tokenizer: "tokenizer.json" }),
  },
  tokenizer: {
    files: { ...tokenizer, "d.txt": text(sentences.join("\n")) },
    model: words,
    data: withOptions("d.txt", { tokenizer: "tokenizer.json" }),
  },
  raw: {
    files: {
      "d.bin": new Uint8Array(floats(ROWS * 8).buffer),
      "labels.bin": new Uint8Array(ROWS),
      "d.bin.json": text(JSON.stringify(rawHeader)),
    },
    model: rows,
    data: ["d.bin"],
  },
  "raw header": {
    files: {
      "d.bin.json": text(JSON.stringify(rawHeader)),
      "d.bin": new Uint8Array(floats(ROWS * 8).buffer),
      "labels.bin": new Uint8Array(ROWS),
    },
    model: rows,
    data: ["d.bin"],
  },
  wav: {
    files: { "wav/1/a.wav": wave, "wav/0/b.wav": wave },
    model: sounds,
    data: withOptions("wav", { sampleRate: 8000 }),
  },
  png: image("a.png", png),
  jpeg: image("a.jpg", await pixels.clone().jpeg().toBuffer()),
  webp: image("a.webp", await pixels.clone().webp().toBuffer()),
  gif: image("a.gif", await pixels.clone().gif().toBuffer()),
  "options in a file": {
    files: {
      "o.json": text(JSON.stringify({ path: "d.npy", layout: "nchw", mean: 0.5, std: [1], take: 4 })),
      "d.npy": encodeNpy(table),
    },
    model: rows,
    data: ["o.json"],
  },
};

const odd = [
  "-1",
  "0",
  "1e999",
  "1e15",
  "4294967295",
  "9007199254740993",
  "99999999999999999999",
  "null",
  "[]",
  '"a"',
  "true",
];
const headers = [
  "(4294967296, 8)",
  "(8,)",
  "()",
  "(-1, 8)",
  "(1, 2, 3, 4, 5, 6)",
  "True",
  "'>f8'",
  "'|O'",
  "'<U9'",
  "__proto__",
];

/** Ways to damage a file of any kind: its bytes, or a number, a word or a line in its text. */
export const fileDamage: Readonly<Record<string, Bytewise>> = {
  ...bytewise,
  "flipped bits near the begin": (bytes, random) => {
    const out = bytes.slice();
    for (let i = 1 + random.int(3); i > 0; i--) {
      const at = random.int(Math.min(out.length, 96));
      out[at] = (out[at] as number) ^ (1 << random.int(8));
    }
    return out;
  },
  "a number of four bytes": (bytes, random) => {
    const out = bytes.slice();
    const at = random.int(Math.max(1, Math.min(out.length, 200) - 4));
    if (out.length > at + 4)
      new DataView(out.buffer).setUint32(at, [0, 1, 0x7fffffff, 0xffffffff, 0x10000][random.int(5)] as number, true);
    return out;
  },
  "a number in its text": (bytes, random) => replaced(bytes, /-?\d+(\.\d+)?/g, odd, random),
  "a word in its text": (bytes, random) =>
    replaced(bytes, /\w+/g, [...odd, ...headers, "", "x".repeat(70_000)], random),
  "a part of its header": (bytes, random) => replaced(bytes, /\([^)]*\)|'[^']*'|True|False|"[^"]*"/g, headers, random),
  "a line twice, or less": (bytes, random) =>
    replaced(bytes, /[^\n]*\n/g, ["", "\n\n\n", '{"inputs":{}}\n', '"open\n'], random),
  empty: () => new Uint8Array(0),
  "all zeros": (bytes) => new Uint8Array(bytes.length),
  "another kind of file": (_, random) => {
    const { files } = pick(Object.values(dataSubjects), random) as DataSubject;
    return Object.values(files)[0] as Uint8Array;
  },
  "itself twice": (bytes) => Buffer.concat([bytes, bytes]),
};

/** One match of a pattern becomes something else. Latin-1, so that other bytes stay as they are. */
function replaced(bytes: Uint8Array, pattern: RegExp, by: readonly string[], random: Rng): Uint8Array {
  const latin = Buffer.from(bytes).toString("latin1");
  const match = pick([...latin.matchAll(pattern)], random);
  if (!match) return bytes;
  const { index } = match;
  return Buffer.from(
    latin.slice(0, index) + (pick(by, random) as string) + latin.slice(index + match[0].length),
    "latin1",
  );
}
