/** @file What never begins or never ends: pipes are refused at once, and Ctrl-C ends the process whatever is under way. */
import { execFileSync } from "node:child_process";
import { symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { parse } from "../../src/ir/text/index.ts";
import { encode } from "../wire.ts";
import { folderWith, isClear, model, tersor } from "./attack.ts";

const image = encode(
  parse`<ir_version: 10, opset_import: ["": 21]> g (float[N,3,8,8] x) => (float[N,3,8,8] y) { y = Relu(x) }`,
);
const ids = encode(
  parse`<ir_version: 10, opset_import: ["": 21]> g (int64[N,T] input_ids) => (float[N,T] y) { y = Cast<to: int = 1>(input_ids) }`,
);

const train = ["--epochs", "1", "-o", "o.onnx"];
const measure = (...flags: string[]) => ["compare", "m.onnx", "m.onnx", "--runs", "0", ...flags];

/** Where a pipe may stand in for a file: the name of the pipe, and what reads it. */
const readers: Readonly<Record<string, readonly [pipe: string, args: readonly string[]]>> = {
  model: ["p.onnx", ["inspect", "p.onnx"]],
  "second model": ["p.onnx", ["compare", "m.onnx", "p.onnx"]],
  ".npy": ["p.npy", measure("--data", "p.npy")],
  ".npz": ["p.npz", measure("--data", "p.npz")],
  ".jsonl": ["p.jsonl", measure("--data", "p.jsonl")],
  ".csv": ["p.csv", measure("--data", "p.csv")],
  ".txt": ["p.txt", measure("--data", "p.txt")],
  ".bin": ["p.bin", measure("--data", '{"path":"p.bin","dtype":"float32","dims":[4]}')],
  module: ["p.mjs", measure("--data", "p.mjs")],
  "an image": ["images/p.png", ["compare", "image.onnx", "image.onnx", "--runs", "0", "--data", "images"]],
  "a recording": ["sound/p.wav", measure("--data", '{"path":"sound","format":"audio"}')],
  "labels of a folder": ["images/labels.txt", ["compare", "image.onnx", "image.onnx", "--data", "images"]],
  "options as data": ["p.json", measure("--data", "p.json")],
  "options of data": ["p.json", measure("--data", "d.npy", "--data-options", "p.json")],
  "header of raw data": ["r.bin.json", measure("--data", "r.bin")],
  tokenizer: ["p.json", measure("--data", '{"path":"t.txt","tokenizer":"p.json"}')],
  classes: ["p.txt", measure("--data", '{"path":"d.jsonl","classes":"p.txt"}')],
  metric: ["p.mjs", measure("--data", "d.jsonl", "--metric", "p.mjs")],
  target: ["p.json", ["quantize", "m.onnx", "--calibrate", "d.npy", "--target", "p.json"]],
  recipe: ["p.json", ["run", "p.json"]],
  teacher: ["p.onnx", ["distill", "m.onnx", "--teacher", "p.onnx", "--data", "d.npy", ...train]],
  checkpoint: ["p", ["finetune", "m.onnx", "--data", "d.jsonl", "--checkpoint", "p", "--resume", ...train]],
};

describe("only regular files are read", () => {
  const makers: Readonly<Record<string, (path: string) => unknown>> = {
    "a pipe": (path) => execFileSync("mkfifo", [path]),
    "a link to an endless device": (path) => symlinkSync("/dev/zero", path),
  };
  for (const [kind, make] of Object.entries(makers))
    for (const [what, [name, args]] of Object.entries(readers))
      it(`${what}: ${kind}`, async () => {
        const folder = folderWith({
          "image.onnx": image,
          "t.txt": "a",
          "r.bin": "abcd",
          "images/.keep": "",
          "sound/.keep": "",
        });
        make(join(folder, name));
        if (name === "images/labels.txt") writeFileSync(join(folder, "images/a.png"), "x");
        const result = await tersor(folder, args, { deadline: 15_000 });
        expect(result.stderr).toMatch(/device, pipe or socket|symbolic link|no such file/);
        expect([2, 3]).toContain(result.code);
        expect(isClear(result)).toBe(true);
      });

  it("a socket", async () => {
    const folder = folderWith();
    const server = createServer().listen(join(folder, "s.npy"));
    expect((await tersor(folder, measure("--data", "s.npy"))).code).toBe(3);
    server.close();
  });
});

/** A regular expression that tries 2^n ways. */
const tokenizer = JSON.stringify({
  version: "1.0",
  truncation: null,
  padding: null,
  added_tokens: [],
  normalizer: null,
  pre_tokenizer: { type: "Split", pattern: { Regex: "(a+)+$" }, behavior: "Isolated", invert: false },
  post_processor: null,
  decoder: null,
  model: { type: "WordLevel", vocab: { a: 0, "[UNK]": 1 }, unk_token: "[UNK]" },
});
/** A Loop whose condition is always true, of 2^63 − 1 rounds. */
const endless = encode(parse`<ir_version: 10, opset_import: ["": 21]> g (float[1,4] x) => (float[1,4] y)
  <int64 rounds = {9223372036854775807}, bool go = {1}> {
    y = Loop<body: graph = body (int64 i, bool c, float[1,4] s) => (bool d, float[1,4] t) { d = Identity(c)  t = Sin(s) }>(rounds, go, x) }`);

const files = {
  "text.onnx": ids,
  "t.txt": `${"a".repeat(60)}!`,
  "t.json": tokenizer,
  "endless.onnx": endless,
  "loop.mjs": "export default function* () { for (;;); }",
};
const runaways: Readonly<Record<string, readonly string[]>> = {
  "a regular expression of a tokenizer": [
    ...["compare", "text.onnx", "text.onnx", "--runs", "0"],
    ...["--data", '{"path":"t.txt","tokenizer":"t.json"}'],
  ],
  "a loop in ONNX Runtime": ["compare", "endless.onnx", "endless.onnx", "--runs", "0"],
  "a module of the user's": measure("--data", "loop.mjs"),
};

describe("Ctrl-C", () => {
  for (const [what, args] of Object.entries(runaways))
    for (const signal of ["SIGINT", "SIGTERM"] as const) {
      it(`twice (${signal}) ends ${what} at once`, async () => {
        const folder = folderWith(files);
        let second = 0;
        await tersor(folder, args, {
          deadline: 20_000,
          onStart: async (kill) => {
            await wait(3000);
            kill(signal);
            await wait(700);
            second = performance.now();
            kill(signal);
          },
        });
        expect(performance.now() - second).toBeLessThan(1500);
      });
    }

  for (const [what, args] of Object.entries(runaways))
    it(`once ends ${what} soon`, async () => {
      const folder = folderWith(files);
      let first = 0;
      const { stdout } = await tersor(folder, args, {
        deadline: 25_000,
        onStart: async (kill) => {
          await wait(3000);
          first = performance.now();
          kill("SIGINT");
        },
      });
      expect(performance.now() - first).toBeLessThan(9000);
      expect(stdout).toBe("");
    });

  it("is not in the way of a command that ends by itself", async () => {
    const result = await tersor(folderWith({ "m.onnx": model }), ["inspect", "m.onnx"]);
    expect(result).toMatchObject({ code: 0, stderr: "" });
  });
});
