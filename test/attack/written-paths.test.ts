/** @file Nothing that is read is written over, by whatever name; and only regular files are replaced. */
import { execFileSync } from "node:child_process";
import { linkSync, lstatSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { filesIn } from "../cli.ts";
import { contents, folderWith, isClear, model, tersor } from "./attack.ts";

const train = ["--epochs", "1", "--batch-size", "8"];
const finetune = (...more: string[]) => ["finetune", "m.onnx", "--data", "d.jsonl", "-o", "o.onnx", ...train, ...more];
const distill = (...more: string[]) => [
  ...["distill", "m.onnx", "--teacher", "t.onnx", "--data", "d.npy", "-o", "o.onnx"],
  ...[...train, ...more],
];
const inputs = ["m.onnx", "t.onnx", "d.jsonl", "d.npy", "options.json", "labels.txt", "classes.txt", "r.json"];

const recipeOf = (step: object, output = "o.onnx") =>
  JSON.stringify({ model: "m.onnx", output, data: "d.jsonl", steps: [step] });

const files = {
  "t.onnx": model,
  "options.json": "{}",
  "classes.txt": "a\nb",
  "labels.txt": "a\nb",
  "spec.json": '{"path":"d.jsonl","classes":"classes.txt"}',
};

/** By what is written over what. */
const attacks: Readonly<Record<string, readonly string[]>> = {
  "checkpoint, model": finetune("--checkpoint", "m.onnx"),
  "checkpoint, data": finetune("--checkpoint", "d.jsonl"),
  "checkpoint, hard link to the data": finetune("--checkpoint", "hard.jsonl"),
  "checkpoint, symbolic link to the data": finetune("--checkpoint", "soft.jsonl"),
  "checkpoint, data in another spelling": finetune("--checkpoint", "sub/../d.jsonl"),
  "checkpoint, data through a linked folder": finetune("--checkpoint", "here/d.jsonl"),
  "log, model": finetune("--log", "m.onnx"),
  "log, data": finetune("--log", "d.jsonl"),
  "log, symbolic link to the data": finetune("--log", "soft.jsonl"),
  "log, options of the data": finetune("--data-options", "options.json", "--log", "options.json"),
  "output, data": ["finetune", "m.onnx", "--data", "d.jsonl", "-o", "d.jsonl", ...train],
  "output, hard link to the data": ["finetune", "m.onnx", "--data", "d.jsonl", "-o", "hard.jsonl", ...train],
  "output, teacher": ["distill", "m.onnx", "--teacher", "t.onnx", "--data", "d.npy", "-o", "t.onnx", ...train],
  "output, data that is calibrated on": [
    "quantize",
    "m.onnx",
    "--calibrate",
    "d.npy",
    "--target",
    "any",
    "-o",
    "d.npy",
  ],
  "output, data that is judged on": ["quantize", "m.onnx", "--data", "d.npy", "-o", "d.npy"],
  "output, classes that a file of options names": ["quantize", "m.onnx", "--data", "spec.json", "-o", "classes.txt"],
  "manifest, options of the data": [
    ...["quantize", "m.onnx", "--data", "d.npy", "--data-options", "options.json", "-o", "options"],
  ],
  "cache, data": distill("--cache", "d.npy"),
  "cache, teacher": distill("--cache", "t.onnx"),
  "log, teacher": distill("--log", "t.onnx"),
  "recipe, output is the recipe": ["run", "r.json"],
  "log of a training between pruning": [
    ...["prune", "m.onnx", "--ratio", "0.5", "--structure", "weights", "-o", "o.onnx", "--finetune", "d.jsonl"],
    ...["--finetune-options", '{"log":"d.jsonl"}'],
  ],
};

describe("inputs are never overwritten", () => {
  for (const [what, args] of Object.entries(attacks))
    it(what, async () => {
      const folder = folderWith({ ...files, "r.json": recipeOf({ quantize: {} }, "r") });
      mkdirSync(join(folder, "sub"));
      linkSync(join(folder, "d.jsonl"), join(folder, "hard.jsonl"));
      symlinkSync("d.jsonl", join(folder, "soft.jsonl"));
      symlinkSync(".", join(folder, "here"));
      const before = contents(folder, inputs);
      const names = filesIn(folder);
      const result = await tersor(folder, args);
      expect(result.stderr).toMatch(/Inputs are never overwritten|manifest would replace|got a symbolic link/);
      expect({ code: result.code, clear: isClear(result) }).toEqual({ code: 2, clear: true });
      expect(contents(folder, inputs)).toEqual(before);
      expect(filesIn(folder)).toEqual(names);
    });

  it("a sample of a folder, and its labels", async () => {
    for (const output of ["images/a.png", "images/labels.txt"]) {
      const folder = folderWith({ "images/a.png": "x", "images/labels.txt": "1" });
      const log = join(folder, output);
      const before = readFileSync(log, "utf8");
      const result = await tersor(folder, ["finetune", "m.onnx", "--data", "images", "--log", output, ...train]);
      expect(result.stderr).toContain("Inputs are never overwritten");
      expect(readFileSync(log, "utf8")).toBe(before);
    }
  });

  it("what a later step reads", async () => {
    const steps = [
      { finetune: { data: "d.jsonl", epochs: 1, log: "later.jsonl" } },
      { finetune: { data: "later.jsonl" } },
    ];
    const recipe = JSON.stringify({ model: "m.onnx", output: "o.onnx", steps });
    const folder = folderWith({ "later.jsonl": "precious", "r.json": recipe });
    expect((await tersor(folder, ["run", "r.json"])).stderr).toContain("Inputs are never overwritten");
    expect(readFileSync(join(folder, "later.jsonl"), "utf8")).toBe("precious");
  });

  it("two results of one run are two files", async () => {
    for (const more of [
      ["--log", "o.onnx"],
      ["--log", "o.onnx.json"],
      ["--log", "c", "--checkpoint", "c"],
      ["--log", "c", "--checkpoint", "./c"],
    ]) {
      const result = await tersor(folderWith(), finetune(...more));
      expect(result).toMatchObject({ code: 2, stderr: expect.stringContaining("one would replace the other") });
    }
  });

  it("a manifest replaces nothing that Tersor did not write, and its own again", async () => {
    const folder = folderWith({ "package.json": '{"name":"precious"}' });
    const result = await tersor(folder, ["quantize", "m.onnx", "-o", "package"]);
    expect(result).toMatchObject({ code: 2, stderr: expect.stringContaining("manifest would replace") });
    expect(readFileSync(join(folder, "package.json"), "utf8")).toBe('{"name":"precious"}');
    for (let i = 0; i < 2; i++) expect((await tersor(folder, ["quantize", "m.onnx", "-o", "q.onnx"])).code).toBe(0);
  });

  it("a folder of transformers.js: no original, and not its configuration", async () => {
    const folder = folderWith({ "f/config.json": "{}", "f/onnx/model.onnx": model, "f/onnx/other.onnx": model });
    linkSync(join(folder, "f/onnx/other.onnx"), join(folder, "f/onnx/model_quantized.onnx"));
    const before = contents(folder, ["f/onnx/other.onnx"]);
    const result = await tersor(folder, ["quantize", "f", "--layout", "transformers.js", "--dtypes", "q8"]);
    expect(result.code).toBe(2);
    expect(contents(folder, ["f/onnx/other.onnx"])).toEqual(before);
  });
});

describe("only regular files are replaced", () => {
  const makers: Readonly<Record<string, (path: string) => unknown>> = {
    "a pipe": (path) => execFileSync("mkfifo", [path]),
    "a device": (path) => execFileSync("cp", ["-a", "/dev/null", path]),
    "a link to a device": (path) => symlinkSync("/dev/null", path),
    "a link to a file": (path) => symlinkSync("d.npy", path),
    "a link to nothing": (path) => symlinkSync("nothing", path),
    "a folder": (path) => mkdirSync(path),
  };
  const writers: Readonly<Record<string, (path: string) => readonly string[]>> = {
    output: (path) => ["quantize", "m.onnx", "-o", path],
    manifest: () => ["quantize", "m.onnx", "-o", "node"],
    log: (path) => finetune("--log", path),
    checkpoint: (path) => finetune("--checkpoint", path),
    cache: (path) => distill("--cache", path),
  };
  for (const [what, make] of Object.entries(makers))
    for (const [writer, args] of Object.entries(writers))
      it(`${writer}: ${what}`, async () => {
        const folder = folderWith(files);
        const name = writer === "manifest" ? "node.json" : what === "a folder" && writer === "output" ? "d" : "node";
        const path = join(folder, name);
        if (name === "d") {
          // A folder as the output means a file in it.
          mkdirSync(join(path, "m.int8.onnx"), { recursive: true });
        } else make(path);
        const before = lstatSync(path);
        const result = await tersor(folder, args(name), { deadline: 20_000 });
        expect(result.stderr).toMatch(/expected a file or nothing there, got|Inputs are never overwritten/);
        expect({ code: result.code, clear: isClear(result) }).toEqual({ code: 2, clear: true });
        const after = lstatSync(path);
        expect([after.ino, after.mode]).toEqual([before.ino, before.mode]);
      });

  it("a socket, and stdout", async () => {
    const folder = folderWith();
    const server = createServer().listen(join(folder, "s"));
    const socket = await tersor(folder, ["quantize", "m.onnx", "-o", "s"]);
    expect(socket).toMatchObject({ code: 2, stderr: expect.stringContaining("got a device, pipe or socket") });
    expect(statSync(join(folder, "s")).isSocket()).toBe(true);
    server.close();
    const stdout = await tersor(folder, ["quantize", "m.onnx", "-o", "-"]);
    expect(stdout).toMatchObject({ code: 2, stderr: expect.stringContaining("got stdout") });
  });

  it("probe writes no other kind either", async () => {
    const folder = folderWith();
    writeFileSync(join(folder, "t.json"), "{}");
    symlinkSync("/dev/null", join(folder, "null.json"));
    const result = await tersor(folder, ["probe", "-o", "null.json"]);
    expect(result).toMatchObject({ code: 2, stderr: expect.stringContaining("got a symbolic link") });
  });
});
