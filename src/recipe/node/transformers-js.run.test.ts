/** @file A transformers.js folder in ONNX Runtime: every dtype of a small encoder is written, loads and runs. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { encode } from "../../../test/wire.ts";
import type { Model } from "../../ir/model.ts";
import { parse } from "../../ir/text/index.ts";
import { loadModel } from "../../node/load.ts";
import { float32 } from "../../tensor/tensor.ts";
import { Rng } from "../../util/rng.ts";
import { quantizeFolder } from "./transformers-js.ts";

const rng = new Rng(5, "transformers-js");
const normal = (...dims: number[]) =>
  float32(
    dims,
    Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => rng.normal() / 8),
  );

/** Token ids and mask to hidden states: a lookup, a product, a normalization and another product. */
const encoder = parse`<ir_version: 8, opset_import: ["": 17]>
  g (int64[batch_size,sequence_length] input_ids, int64[batch_size,sequence_length] attention_mask) => (float[batch_size,sequence_length,32] last_hidden_state)
  <float[40,64] words = ${normal(40, 64)}, float[64,64] w1 = ${normal(64, 64)}, float[64] gain = ${normal(64)}, float[64] shift = ${normal(64)}, float[64,32] w2 = ${normal(64, 32)}, int64[1] last = {-1}> {
    [embed] e = Gather(words, input_ids)
    mask = Cast<to = 1>(attention_mask)
    column = Unsqueeze(mask, last)
    masked = Mul(e, column)
    [first] a = MatMul(masked, w1)
    n = LayerNormalization<axis = -1>(a, gain, shift)
    [second] last_hidden_state = MatMul(n, w2)
  }`;

function modelFolder(models: Readonly<Record<string, Model>>, config: object = { model_type: "bert" }): string {
  const folder = mkdtempSync(join(tmpdir(), "tersor-test-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  mkdirSync(join(folder, "onnx"));
  writeFileSync(join(folder, "config.json"), JSON.stringify(config));
  for (const [name, model] of Object.entries(models))
    writeFileSync(join(folder, "onnx", `${name}.onnx`), encode(model));
  return folder;
}

const onnxFiles = (folder: string) => readdirSync(join(folder, "onnx")).sort();
const names = ["bnb4", "fp16", "int8", "q4", "q4f16", "quantized", "uint8"];
const opsOf = (folder: string, name: string) =>
  new Set(loadModel(join(folder, "onnx", name)).graph.nodes.map(({ opType }) => opType));

test("writes every dtype under its name, close to the original, which stays", async () => {
  const folder = modelFolder({ model: encoder });
  const before = readFileSync(join(folder, "onnx/model.onnx"));
  const { files, written, suggestion } = await quantizeFolder(folder, { runs: 5 });
  expect(files.map(({ status, reason }) => reason ?? status)).toEqual(Array(7).fill("written"));
  expect(onnxFiles(folder)).toEqual(["model.onnx", ...names.map((name) => `model_${name}.onnx`)].sort());
  expect(readFileSync(join(folder, "onnx/model.onnx"))).toEqual(before);
  expect(written).toHaveLength(8);
  const least = { fp16: 50, q8: 25, int8: 25, uint8: 25, q4: 12, q4f16: 12, bnb4: 12 };
  for (const [dtype, decibels] of Object.entries(least)) {
    const file = files.find((each) => each.dtype === dtype);
    expect(file?.sqnr, dtype).toBeGreaterThan(decibels);
    expect(file?.bytes, dtype).toBeLessThan(before.byteLength);
    expect(file?.latency?.ratio).toBeGreaterThan(0);
  }
  expect(opsOf(folder, "model_quantized.onnx")).toContain("MatMulInteger");
  expect(opsOf(folder, "model_q4.onnx")).toContain("MatMulNBits");
  expect(opsOf(folder, "model_bnb4.onnx")).toContain("MatMulBnb4");
  expect(opsOf(folder, "model_q4f16.onnx")).toContain("MatMulNBits");
  const config = JSON.parse(readFileSync(join(folder, "quantize_config.json"), "utf8"));
  expect(Object.keys(config.modes)).toEqual(["fp16", "q8", "int8", "uint8", "q4", "q4f16", "bnb4"]);
  expect(config.modes.q8.model).toMatchObject({ weight_type: "QInt8", per_channel: true, reduce_range: true });
  expect(suggestion).toEqual({ dtype: expect.stringMatching(/q8|int8|uint8|bnb4|q4/) });
});
