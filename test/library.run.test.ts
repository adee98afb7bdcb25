/** @file The programs of docs/library.md, as they stand in examples/library, on real models; and what the library refuses. */
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { distill, finetune, Model, prune, quantize, runtime, TersorError } from "tersor";
import { describe, expect, it } from "vitest";
import { shrink } from "../examples/library/bytes.ts";
import { pruned } from "../examples/library/prune.ts";
import { optimize } from "../examples/library/recipe.ts";
import { explained } from "../examples/library/report.ts";
import { calibrated } from "../examples/library/static.ts";
import { Rng } from "../src/util/rng.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const onnx = new Uint8Array(readFileSync(join(root, "test/fixtures/models/mlperf_resnet8_cifar10.onnx")));

const rng = new Rng(3, "library");
const picture = (at: number) => ({
  pixels: Float32Array.from({ length: 3 * 32 * 32 }, () => 128 + 40 * rng.normal()),
  label: at % 10,
});
const pictures = Array.from({ length: 24 }, (_, at) => picture(at));
const samples = pictures.map(({ pixels, label }) => ({ inputs: { input: pixels }, label }));

describe("the programs of docs/library.md", () => {
  it("stand there as they are run", () => {
    const page = readFileSync(join(root, "docs/library.md"), "utf8");
    const blocks = [...page.matchAll(/```ts\n(.*?)```/gs)].map(([, block = ""]) => block);
    const programs = readdirSync(join(root, "examples/library")).filter((name) => name.endsWith(".ts"));
    expect(programs).toHaveLength(6);
    for (const name of programs) {
      const [, ...lines] = readFileSync(join(root, "examples/library", name), "utf8").split("\n");
      expect(blocks, name).toContain(lines.join("\n"));
    }
  });

  it("compile as a browser's worker", () => {
    const tsc = join(root, "node_modules/typescript/bin/tsc");
    const run = () => execFileSync(process.execPath, [tsc, "-p", join(root, "examples/library")], { encoding: "utf8" });
    expect(run()).toBe("");
  });

  it("bytes in, bytes out", async () => {
    const small = await shrink(onnx);
    expect((small as Uint8Array).byteLength).toBeLessThan(onnx.byteLength * 0.4);
    expect(await shrink(new Uint8Array([1, 2, 3]))).toMatch(/^bad-model: /);
  });

  it("static, with samples and a metric of one's own", async () => {
    const { bytes, before, after } = await calibrated(onnx, pictures.slice(0, 16), pictures.slice(16));
    expect(bytes).toBeLessThan(onnx.byteLength * 0.4);
    expect(Math.abs((after as number) - (before as number))).toBeLessThan(0.1);
  });

  it("pruned and trained", async () => {
    expect(await pruned(onnx, samples, samples.slice(16))).toBeInstanceOf(Model);
  });

  it("several steps with progress, and stopped", async () => {
    const shown: string[] = [];
    const show = (text: string) => void shown.push(text);
    const small = await optimize(onnx, samples, { signal: new AbortController().signal, show });
    expect((small as Uint8Array).byteLength).toBeLessThan(onnx.byteLength * 0.4);
    expect(shown.some((text) => /^calibrating \d+\/24$/.test(text))).toBe(true);
    expect(await optimize(onnx, samples, { signal: AbortSignal.abort(), show })).toBeUndefined();
    const stopped = new AbortController();
    const stop = () => stopped.abort();
    expect(await optimize(onnx, samples, { signal: stopped.signal, show: stop })).toBeUndefined();
  });

  it("a report that is read", async () => {
    const [outputs, worst] = await explained(onnx);
    expect(outputs).toMatch(/^the outputs: (kept|low), -?[\d.]+ dB$/);
    expect(worst).toMatch(/: int4 .*, [\d.]+ dB$/);
  });
});

describe("what is wrong", () => {
  it.each<[string, () => Promise<unknown>, string]>([
    ["a value", () => quantize(onnx, { dtype: "int9" as never }), 'quantize: "dtype": expected one of int8, uint8'],
    [
      "a name",
      () => quantize(onnx, { dtyp: "int8" } as never),
      'quantize: unknown option "dtyp" (did you mean dtype?)',
    ],
    ["a mode", () => quantize(onnx, { mode: "statik" as never }), "(did you mean static?)"],
    ["a number", () => finetune(onnx, { epochs: -1 }), 'finetune: "epochs": too small'],
    ["a step without its data", () => finetune(onnx, { epochs: 1 }), "training: no data"],
    ["no samples", () => prune(onnx, { ratio: 0.3, calibrate: [] }), "samples: holds no samples"],
    ["no model", () => quantize(7 as never, {}), "expected the bytes of an .onnx file, a Blob or a Model, got number"],
    ["no teacher", () => distill(onnx, { teacher: "absent.onnx", data: samples }), "absent.onnx"],
  ])("%s is a TersorError that says so", async (_, call, message) => {
    const error: unknown = await call().catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(TersorError);
    expect((error as TersorError).message).toContain(message);
  });
});

it("gives the same bytes with a runtime that is handed in", async () => {
  const { toBytes } = await import("tersor");
  const own = runtime.inProcessRuntime("ort-node");
  const inWorker = await quantize(onnx, { mode: "static", calibrate: samples });
  const here = await quantize(onnx, { mode: "static", calibrate: samples }, { runtime: own });
  expect(toBytes(here.model)).toEqual(toBytes(inWorker.model));
});

it("sets options of a method, and refuses those that it does not have", async () => {
  const options = { dtype: "int4", calibrate: samples, asAsked: true } as const;
  const { toBytes } = await import("tersor");
  const bytes = async (method: object | "gptq") =>
    toBytes((await quantize(onnx, { ...options, method } as Parameters<typeof quantize>[1])).model);
  const plain = await bytes("gptq");
  expect(await bytes({ name: "gptq" })).toEqual(plain);
  expect(await bytes({ name: "gptq", damping: 0.5 })).not.toEqual(plain);
  await expect(bytes({ name: "gptq", actOrdr: true })).rejects.toThrow(
    'method gptq: unknown option "actOrdr" (did you mean actOrder?)',
  );
});
