/** @file `tersor quantize FOLDER --layout transformers.js`, and then transformers.js itself on the folder, without network. */
import { readFileSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { AutoModelForCausalLM, AutoTokenizer, env, pipeline } from "@huggingface/transformers";
import { beforeEach, expect, test } from "vitest";
import { fidelityOf } from "../src/evaluate/fidelity.ts";
import { quantizeFolder } from "../src/recipe/node/transformers-js.ts";
import { filesIn, runCli, temporaryFolder } from "./cli.ts";
import { writeTinyTransformer } from "./tiny-transformers.ts";

/** Least SQNR of the logits against fp32, in dB. */
const dtypes = { fp16: 50, q8: 20, int8: 20, uint8: 20, q4: 12, q4f16: 12, bnb4: 12 } as const;
type DType = keyof typeof dtypes;
const names = Object.keys(dtypes) as DType[];

let folder: string;

beforeEach(() => {
  folder = temporaryFolder();
  Object.assign(env, { allowRemoteModels: false, localModelPath: dirname(folder), useFSCache: false });
});

async function quantized(name: Parameters<typeof writeTinyTransformer>[0]): Promise<void> {
  writeTinyTransformer(name, folder);
  const args = ["--layout", "transformers.js", "--dtypes", names.join(), "--runs", "0", "--json"];
  const { code, stdout, stderr } = await runCli(["quantize", folder, ...args]);
  expect([code, stderr]).toEqual([0, ""]);
  const { files, suggestion } = JSON.parse(stdout);
  expect(files.map(({ dtype, status }: { dtype: string; status: string }) => `${dtype} ${status}`)).toEqual(
    names.map((dtype) => `${dtype} written`),
  );
  takeSuggestion(suggestion);
}

/** What the command suggests is what the library reads. */
function takeSuggestion(suggestion: object): void {
  const path = join(folder, "config.json");
  const config = JSON.parse(readFileSync(path, "utf8"));
  writeFileSync(path, JSON.stringify({ ...config, "transformers.js_config": suggestion }));
}

test("a classifier of texts runs in every dtype, and in the suggested one by default", async () => {
  await quantized("bert");
  const suffixes = ["bnb4", "fp16", "int8", "q4", "q4f16", "quantized", "uint8"];
  expect(filesIn(join(folder, "onnx"))).toEqual(["model.onnx", ...suffixes.map((each) => `model_${each}.onnx`)].sort());
  const logitsOf = async (dtype?: DType | "fp32") => {
    const classify = await pipeline("text-classification", basename(folder), { ...(dtype && { dtype }) });
    const tokens = await classify.tokenizer(["the cat sat", "cat"], { padding: true });
    const { logits } = await classify.model(tokens);
    const [best] = await classify("the cat sat");
    await classify.dispose();
    return { logits: logits.data as Float32Array, best };
  };
  const whole = await logitsOf("fp32");
  expect(whole.logits).toHaveLength(4);
  for (const dtype of names) {
    const { logits, best } = await logitsOf(dtype);
    expect(fidelityOf(whole.logits, logits).sqnr, dtype).toBeGreaterThan(dtypes[dtype]);
    expect(best, dtype).toMatchObject({ label: (whole.best as { label: string }).label });
  }
  const chosen = await logitsOf();
  expect(chosen.logits).not.toEqual(whole.logits);
});

test("external data in several files is found by the names in the suggestion", async () => {
  writeTinyTransformer("bert", folder);
  const { suggestion } = await quantizeFolder(folder, { dtypes: "fp16", runs: 0 }, { maxBytes: 10_000 });
  expect(suggestion).toEqual({ dtype: "fp16", use_external_data_format: { "model_fp16.onnx": 2 } });
  takeSuggestion(suggestion);
  const found: string[] = [];
  const progress_callback = (about: { readonly status: string; readonly file?: string }) => {
    if (about.status === "initiate" && about.file) found.push(about.file);
  };
  const classify = await pipeline("text-classification", basename(folder), { progress_callback });
  expect(await classify("the cat sat")).toMatchObject([{ score: expect.any(Number) }]);
  await classify.dispose();
  expect(found).toEqual(expect.arrayContaining(["", "_data", "_data_1"].map((part) => `onnx/model_fp16.onnx${part}`)));
});

test("a decoder with a cache writes text in every dtype", async () => {
  await quantized("gpt2");
  const tokenizer = await AutoTokenizer.from_pretrained(basename(folder));
  const inputs = await tokenizer("the cat", { add_special_tokens: false });
  const run = async (dtype: DType | "fp32") => {
    const model = await AutoModelForCausalLM.from_pretrained(basename(folder), { dtype });
    const { logits } = await model(inputs);
    const written = await model.generate({ ...inputs, max_new_tokens: 5, do_sample: false });
    await model.dispose();
    return { logits: logits.data as Float32Array, written: String((written as { data: ArrayLike<bigint> }).data) };
  };
  const whole = await run("fp32");
  for (const dtype of names) {
    const { logits, written } = await run(dtype);
    // The library's own rule for decoders, 8-bit signed weights, saturates on processors without VNNI.
    const least = dtype === "q8" || dtype === "int8" ? 5 : dtypes[dtype];
    expect(fidelityOf(whole.logits, logits).sqnr, dtype).toBeGreaterThan(least);
    expect(written.split(","), dtype).toHaveLength(7);
    if (dtype === "fp16") expect(written).toBe(whole.written);
  }
});
