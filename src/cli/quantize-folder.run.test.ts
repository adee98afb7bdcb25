/** @file `tersor quantize FOLDER --layout transformers.js`, as a process of the built program. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { filesIn, runCli, temporaryFolder } from "../../test/cli.ts";
import { encode } from "../../test/wire.ts";
import { parse } from "../ir/text/index.ts";
import { float32 } from "../tensor/tensor.ts";
import { Rng } from "../util/rng.ts";

/** One product, as a session named "model". */
function folderWithModel(first: number): string {
  const folder = temporaryFolder();
  const rng = new Rng(2, "folder");
  const w = float32(
    [32, 32],
    Float32Array.from({ length: 1024 }, (_, i) => (i === 0 ? first : rng.normal() / 8)),
  );
  const model = parse`<ir_version: 8, opset_import: ["": 17]>
    g (float[N,32] x) => (float[N,32] y) <float[32,32] w = ${w}> { y = MatMul(x, w) }`;
  mkdirSync(join(folder, "onnx"));
  writeFileSync(join(folder, "config.json"), "{}");
  writeFileSync(join(folder, "onnx/model.onnx"), encode(model));
  return folder;
}

const layout = ["--layout", "transformers.js", "--runs", "3"];

test("shows a table and what config.json may say", async () => {
  const folder = folderWithModel(0.1);
  const { code, stdout, stderr } = await runCli(["quantize", folder, ...layout, "--dtypes", "fp16,q8"]);
  expect([code, stderr]).toEqual([0, ""]);
  expect(stdout).toMatch(/onnx\/model_quantized\.onnx +[\d.]+ kB +−\d+ % +\d+\.\d dB +×\d/);
  expect(stdout).toContain('"dtype": "q8"');
  expect(filesIn(folder)).toEqual(["config.json", "onnx", "quantize_config.json"]);
});

test("ends with 1 when a file can't be made, with one JSON object", async () => {
  const folder = folderWithModel(Number.NaN);
  const { code, stdout } = await runCli(["quantize", folder, ...layout, "--dtypes", "fp16,q4", "--json"]);
  expect(code).toBe(1);
  expect(JSON.parse(stdout)).toMatchObject({ files: [{ status: "written" }, { dtype: "q4", status: "failed" }] });
  expect(filesIn(join(folder, "onnx"))).toEqual(["model.onnx", "model_fp16.onnx"]);
});

test.each([
  [["--dtypes", "q8"], "--dtypes: goes with --layout"],
  [["--layout", "gguf"], "--layout: expected"],
  [[...layout, "--bits", "4"], "--bits: does not go with --layout"],
  [[...layout, "--dtypes", "q5"], "dtypes: expected fp16"],
])("refuses %j", async (args, message) => {
  const { code, stderr } = await runCli(["quantize", temporaryFolder(), ...args]);
  expect(code).toBe(2);
  expect(stderr).toContain(message);
});
