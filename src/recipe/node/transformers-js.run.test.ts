/** @file A transformers.js folder in ONNX Runtime: every dtype of a small encoder is written, loads and runs. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { encode } from "../../../test/wire.ts";
import type { Model } from "../../ir/model.ts";
import { parse } from "../../ir/text/index.ts";
import { loadModel } from "../../node/load.ts";
import { saveModel } from "../../node/save.ts";
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
  expect(config).toMatchObject({ per_channel: true, reduce_range: true, block_size: null, quant_type: 1 });
  expect(config.modes).toEqual(["fp16", "q8", "int8", "uint8", "q4", "q4f16", "bnb4"]);
  expect(config.tersor.modes.q8.model).toMatchObject({ weight_type: "QInt8", per_channel: true, reduce_range: true });
  expect(suggestion).toEqual({ dtype: expect.stringMatching(/q8|int8|uint8|bnb4|q4/) });
});

test("skips what nothing in the model fits, and says what can't be made", async () => {
  const conv = parse`<ir_version: 8, opset_import: ["": 17]>
    g (float[N,4,8,8] pixel_values) => (float[N,4,8,8] logits) <float[4,4,3,3] w = ${normal(4, 4, 3, 3)}> {
      [conv] logits = Conv<pads = [1,1,1,1]>(pixel_values, w)
    }`;
  const damaged = float32([32, 32], normal(32, 32).toFloat32().fill(Number.NaN, 5, 6));
  const nan = parse`<ir_version: 8, opset_import: ["": 17]>
    g (float[N,32] x) => (float[N,32] y) <float[32,32] w = ${damaged}> { y = MatMul(x, w) }`;
  const folder = modelFolder({ conv, nan });
  const { files } = await quantizeFolder(folder, { runs: 0, dtypes: "q4,fp16,bnb4,q8" });
  expect(files.map(({ session, dtype, status }) => `${session} ${dtype} ${status}`)).toEqual([
    "conv fp16 written",
    "conv q8 written",
    "conv q4 skipped",
    "conv bnb4 skipped",
    "nan fp16 written",
    "nan q8 failed",
    "nan q4 failed",
    "nan bnb4 failed",
  ]);
  // Written files are judged, and inputs that were made up end no command.
  for (const { status, verdict } of files)
    expect(verdict).toEqual(status === "written" ? expect.stringMatching(/^(kept|low)$/) : undefined);
  expect(files[1]?.settings).toMatchObject({ op_types: ["Conv"], weight_type: "QUInt8" });
  expect(files[2]?.reason).toBe("nothing fits: no MatMul has constant weights");
  expect(files[6]?.reason).toMatch(/NaN/);
  expect(onnxFiles(folder).filter((name) => /nan_(q|b)|conv_q4|tersor/.test(name))).toEqual([]);
});

test("replaces its own files only, and goes on with the record", async () => {
  const folder = modelFolder({ model: encoder }, { architectures: ["GPT2LMHeadModel"], model_type: "gpt2" });
  await quantizeFolder(folder, { runs: 0, dtypes: "q4" });
  await quantizeFolder(folder, { runs: 0, dtypes: "q8,q4" });
  const { modes, per_channel, tersor } = JSON.parse(readFileSync(join(folder, "quantize_config.json"), "utf8"));
  expect(modes).toEqual(["q4", "q8"]);
  expect([per_channel, tersor.modes.q8.model.per_channel]).toEqual([false, false]);
  expect(tersor.files).toEqual(["onnx/model_q4.onnx", "onnx/model_quantized.onnx"]);
  writeFileSync(join(folder, "onnx/model_fp16.onnx"), "another's");
  await expect(quantizeFolder(folder, { dtypes: "fp16" })).rejects.toMatchObject({ code: "bad-recipe" });
  expect(readFileSync(join(folder, "onnx/model_fp16.onnx"), "utf8")).toBe("another's");
});

test("leaves nothing behind when it is interrupted", async () => {
  const folder = modelFolder({ model: encoder });
  const control = new AbortController();
  let begun = 0;
  const progress = () => {
    if (++begun === 4) control.abort();
    return { update: () => {}, end: () => {} };
  };
  const run = quantizeFolder(folder, { runs: 0 }, { signal: control.signal, progress });
  await expect(run).rejects.toMatchObject({ code: "aborted" });
  expect(begun).toBe(4);
  expect(readdirSync(folder).sort()).toEqual(["config.json", "onnx"]);
  expect(onnxFiles(folder)).toEqual(["model.onnx"]);
});

test.each([
  ["no folder", "absent", {}, /expected a folder/],
  ["no original", "", {}, /no float32 model/],
  ["an unknown dtype", "", { dtypes: "q8,q5" }, /dtypes: expected fp16.*got "q5"/],
])("refuses %s", async (_, inner, options, message) => {
  const folder = modelFolder({ model_q4: encoder });
  await expect(quantizeFolder(join(folder, inner), options)).rejects.toMatchObject({ code: "bad-recipe", message });
});

test("asks for config.json, and for shapes of inputs that there are", async () => {
  const folder = modelFolder({ model: encoder });
  const run = quantizeFolder(folder, { runs: 0, dtypes: "q4", shapes: { pixels: [1] } });
  await expect(run).rejects.toMatchObject({ code: "bad-recipe", message: /pixels/ });
  expect(onnxFiles(folder)).toEqual(["model.onnx"]);
  rmSync(join(folder, "config.json"));
  await expect(quantizeFolder(folder)).rejects.toMatchObject({ message: /no config.json/ });
});

test("external data is named as transformers.js looks for it, and goes when it is needed no more", async () => {
  const folder = modelFolder({});
  await saveModel(encoder, join(folder, "onnx/model.onnx"), { external: "always", dataSuffix: "_data" });
  const original = ["model.onnx", "model.onnx_data"];
  expect(onnxFiles(folder)).toEqual(original);
  const options = { runs: 0, dtypes: "q8" };
  const small = await quantizeFolder(folder, options, { maxBytes: 4500 });
  expect(small.files).toMatchObject([{ status: "written", dataFiles: 3 }]);
  const data = ["", "_1", "_2"].map((part) => `model_quantized.onnx_data${part}`);
  expect(onnxFiles(folder)).toEqual([...original, "model_quantized.onnx", ...data]);
  expect(small.suggestion).toMatchObject({
    use_external_data_format: { "model.onnx": true, "model_quantized.onnx": 3 },
  });
  const whole = await quantizeFolder(folder, options);
  expect(whole.files).toMatchObject([{ status: "written", dataFiles: 0 }]);
  expect(onnxFiles(folder)).toEqual([...original, "model_quantized.onnx"]);
  expect(whole.suggestion).toMatchObject({ use_external_data_format: { "model.onnx": true } });
  writeFileSync(join(folder, "onnx/model_quantized.onnx_data_1"), "another's");
  await expect(quantizeFolder(folder, options)).rejects.toMatchObject({ message: /onnx_data_1": is there already/ });
});
